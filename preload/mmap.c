/* SPDX-License-Identifier: MIT
 * Anonymous mmap, interposed: memory that a program takes from the kernel by itself.
 *
 * Counted are anonymous mappings that can be read or written, when the program or a library of its own asks. What libc and the loader map for
 * themselves does not pass here (they do not call by name); what an interpreter's arena or an allocator behind malloc maps is
 * counted above, block by block, and masked or left out by the caller's address.
 *
 * A mapping is known by where it begins. When its beginning is unmapped the rest stays counted; holes and cut ends are not
 * seen: programs that unmap piecemeal are over-counted until the beginning goes.
 *
 * What the allocator behind malloc does holds its locks, and a fork takes ours first: it is let through unseen.
 *
 * Invariants: a mapping is forgotten before the kernel may give its address to another thread.
 * Context: any thread.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "core/hot.h"
#include "core/sample.h"
#include "core/sys.h"
#include "preload/malloc.h"
#include "preload/mmap.h"

static void *result_of(long result)
{
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return MAP_FAILED;
    }
    return (void *)result;
}

/* The interpreter's own mimalloc reserves a gibibyte at a time; what it gives out of it is counted block by block. */
static bool is_mimalloc(int flags, const void *caller)
{
    return (flags & MAP_NORESERVE) != 0 && mp_malloc_is_interpreter(caller);
}

/* Allocators below Python's objects (mimalloc) map regions inside a request that was counted: these. Other masked mappings are pymalloc's
 * arenas, of 1 MiB at most. Written without a lock: the writer may read half of a change, and be wrong by that region once. */
#define REGIONS 64
#define REGION_MIN ((size_t)1 << 20)
#define REGION_MAX ((size_t)64 << 30) /* more would take too long to look at */

static struct {
    uintptr_t start, end; /* start 0: free */
} regions[REGIONS];
static bool any_region;

static void keep_region(uintptr_t start, size_t size)
{
    for (int i = 0; i < REGIONS; i++) {
        uintptr_t none = 0;
        if (__atomic_compare_exchange_n(&regions[i].start, &none, start, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            __atomic_store_n(&regions[i].end, start + size, __ATOMIC_RELAXED);
            __atomic_store_n(&any_region, true, __ATOMIC_RELAXED);
            return;
        }
    }
}

/* Whole, or an end that was cut off to align it. */
static MP_COLD void cut_regions(uintptr_t start, uintptr_t end)
{
    for (int i = 0; i < REGIONS; i++) {
        uintptr_t low = __atomic_load_n(&regions[i].start, __ATOMIC_RELAXED);
        uintptr_t high = __atomic_load_n(&regions[i].end, __ATOMIC_RELAXED);
        if (low == 0 || start >= high || end <= low) {
            continue;
        }
        if (start <= low) {
            __atomic_store_n(&regions[i].start, end < high ? end : 0, __ATOMIC_RELAXED);
        } else if (end >= high) {
            __atomic_store_n(&regions[i].end, start, __ATOMIC_RELAXED);
        }
    }
}

uint64_t mp_mmap_regions_resident(void)
{
    uint64_t bytes = 0;
    for (int i = 0; i < REGIONS; i++) {
        uintptr_t low = __atomic_load_n(&regions[i].start, __ATOMIC_RELAXED);
        uintptr_t high = __atomic_load_n(&regions[i].end, __ATOMIC_RELAXED);
        if (low != 0 && high > low && high - low <= REGION_MAX) {
            bytes += mp_sys_resident(low, high);
        }
    }
    return bytes;
}

static bool is_anonymous(int flags, int fd, size_t size, const void *caller)
{
    return (flags & MAP_ANONYMOUS) != 0 && fd == -1 && size != 0 && !mp_malloc_is_allocator(caller);
}

static MP_COLD void forget_range(uintptr_t address, size_t size)
{
    struct mp_live_row row;
    if (mp_sample_forget((const void *)address, &row) && row.size > size) {
        row.address += size; /* the rest lives on, under the stack that mapped the whole */
        row.size -= size;
        mp_sample_restore(&row);
    }
}

static void *map(void *address, size_t size, int protection, int flags, int fd, long offset, const void *caller)
{
    if ((flags & MAP_FIXED) != 0 && mp_hot_maybe_sampled(address) && !mp_malloc_is_allocator(caller)) {
        forget_range((uintptr_t)address, size);
    }
    uint32_t due = 0;
    bool anonymous = is_anonymous(flags, fd, size, caller);
    bool own = is_mimalloc(flags, caller);
    bool region = anonymous && size > REGION_MIN && (own || mp_hot_masked()); /* also one that is to be made usable piece by piece */
    if (anonymous && !own && protection != PROT_NONE && mp_hot_count(size)) {
        due = mp_sample_due(size);
    }
    void *block = result_of(mp_sys_call(SYS_mmap, (long)address, (long)size, protection, flags, fd, offset));
    if (region && block != MAP_FAILED) {
        keep_region((uintptr_t)block, size);
    }
    if (due != 0 && block != MAP_FAILED) {
        mp_sample_add(block, size, MP_DOMAIN_MMAP, due);
    }
    return block;
}

MP_EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return map(address, size, protection, flags, fd, offset, __builtin_return_address(0));
}

MP_EXPORT void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return map(address, size, protection, flags, fd, offset, __builtin_return_address(0));
}

MP_EXPORT int munmap(void *address, size_t size)
{
    if (mp_hot_maybe_sampled(address) && !mp_malloc_is_allocator(__builtin_return_address(0))) {
        forget_range((uintptr_t)address, size);
    }
    if (MP_UNLIKELY(__atomic_load_n(&any_region, __ATOMIC_RELAXED))) {
        cut_regions((uintptr_t)address, (uintptr_t)address + size);
    }
    long result = mp_sys_call(SYS_munmap, (long)address, (long)size, 0, 0, 0, 0);
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return 0;
}

MP_EXPORT void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    void *wish = NULL;
    if (flags & MREMAP_FIXED) {
        va_list rest;
        va_start(rest, flags);
        wish = va_arg(rest, void *);
        va_end(rest);
    }
    struct mp_live_row row;
    bool forgotten = mp_hot_maybe_sampled(old) && !mp_malloc_is_allocator(__builtin_return_address(0)) &&
                     mp_sample_forget(old, &row);
    /* As a realloc: the old record out, one draw on the whole new size, where the mapping was one that counts. */
    uint32_t due = forgotten && mp_hot_count(size) ? mp_sample_due(size) : 0;
    void *block = result_of(
        mp_sys_call(SYS_mremap, (long)old, (long)old_size, (long)size, flags, (long)wish, 0));
    if (block == MAP_FAILED) {
        if (forgotten) {
            mp_sample_restore(&row);
        }
    } else if (due != 0) {
        mp_sample_add(block, size, MP_DOMAIN_MMAP, due);
    }
    return block;
}
