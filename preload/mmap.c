/* SPDX-License-Identifier: MIT
 * Anonymous mmap, interposed: memory that a program takes from the kernel by itself.
 *
 * Counted are anonymous mappings that can be read or written, when the program or a library of its own asks. What libc and the loader map for
 * themselves does not pass here (they do not call by name); what an interpreter's arena or an allocator behind malloc maps is
 * counted above, block by block, and masked or left out by the caller's address.
 *
 * A range that is unmapped, or mapped over, may hold several mappings or a part of one: core/unmap.h forgets just that, and puts it
 * back where the kernel refuses. What is reserved without access and made usable with mprotect is not seen.
 *
 * What the allocator behind malloc does holds its locks, and a fork takes ours first: it is let through unseen.
 *
 * Invariants: a mapping is forgotten before the kernel may give its address to another thread.
 * Context: any thread.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "core/hot.h"
#include "core/maps.h"
#include "core/resident.h"
#include "core/sample.h"
#include "core/spans.h"
#include "core/sys.h"
#include "core/unmap.h"
#include "preload/malloc.h"
#include "preload/mmap.h"

#define PAGE ((uintptr_t)4096)
#define ADDRESSES ((uintptr_t)1 << 56) /* a process has no higher ones */

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
    if (!any_region || !mp_resident_begin()) {
        return 0;
    }
    for (int i = 0; i < REGIONS; i++) {
        uintptr_t low = __atomic_load_n(&regions[i].start, __ATOMIC_RELAXED);
        uintptr_t high = __atomic_load_n(&regions[i].end, __ATOMIC_RELAXED);
        if (low != 0 && high > low && high - low <= REGION_MAX) {
            bytes += mp_resident_bytes(low, high);
        }
    }
    mp_resident_end();
    return bytes;
}

/* The kernel does not look at the descriptor. */
static bool is_anonymous(int flags, size_t size, const void *caller)
{
    return (flags & MAP_ANONYMOUS) != 0 && size != 0 && !mp_malloc_is_allocator(caller);
}

/* A shared one has a file of the kernel's own. */
static bool is_anonymous_at(uint64_t address)
{
    static const char shared[] = "/dev/zero (deleted)";
    struct mp_maps maps;
    struct mp_mapping now;
    char name[sizeof shared + 1];
    return mp_maps_find(&maps, address, &now, name, sizeof name) && (!now.file || strcmp(name, shared) == 0);
}

/* Programs jump out of a signal's handler that came in mmap (a time limit), and cancel threads there. Nobody may come in between while
 * something is put down. */
static uint64_t quiet(void)
{
    uint64_t all = UINT64_MAX, mask = 0;
    mp_sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof all, 0, 0);
    return mask;
}

static void loud(uint64_t mask)
{
    mp_sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask, 0, 0);
}

/* Whether what is unmapped, or mapped over, may have been sampled. What the kernel refuses is left alone. */
static bool may_forget(const void *address, size_t size, const void *caller)
{
    uintptr_t low = (uintptr_t)address;
    return mp_spans_any() && (low & (PAGE - 1)) == 0 && size != 0 && size <= ADDRESSES - low && low < ADDRESSES &&
           !mp_malloc_is_allocator(caller);
}

static void forget(const void *address, size_t size, struct mp_unmapped *lost)
{
    mp_unmap((uintptr_t)address, (uintptr_t)address + size, lost);
}

static void *map(void *address, size_t size, int protection, int flags, int fd, long offset, const void *caller)
{
    uint32_t due = 0;
    bool anonymous = is_anonymous(flags, size, caller);
    bool own = is_mimalloc(flags, caller);
    bool region = anonymous && size > REGION_MIN && (own || mp_hot_masked()); /* also one that is to be made usable piece by piece */
    if (anonymous && !own && protection != PROT_NONE && mp_hot_count(size)) {
        due = mp_sample_due(size);
    }
    bool over = (flags & MAP_FIXED) != 0 && may_forget(address, size, caller);
    uint64_t mask = over || due != 0 ? quiet() : 0;
    struct mp_unmapped lost;
    lost.count = 0;
    if (over) {
        forget(address, size, &lost);
    }
    long result = mp_sys_call(SYS_mmap, (long)address, (long)size, protection, flags, fd, offset);
    void *block = result_of(result);
    if (block == MAP_FAILED) {
        mp_unmap_undo(&lost);
    } else if (due != 0) {
        mp_sample_add(block, size, MP_DOMAIN_MMAP, due);
    }
    if (region && block != MAP_FAILED) {
        keep_region((uintptr_t)block, size);
    }
    if (over || due != 0) {
        loud(mask);
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
    bool careful = may_forget(address, size, __builtin_return_address(0));
    uint64_t mask = careful ? quiet() : 0;
    struct mp_unmapped lost;
    lost.count = 0;
    if (careful) {
        forget(address, size, &lost);
    }
    if (MP_UNLIKELY(__atomic_load_n(&any_region, __ATOMIC_RELAXED))) {
        cut_regions((uintptr_t)address, (uintptr_t)address + size);
    }
    long result = mp_sys_call(SYS_munmap, (long)address, (long)size, 0, 0, 0, 0);
    if (result < 0) {
        mp_unmap_undo(&lost);
    }
    if (careful) {
        loud(mask);
    }
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return 0;
}

/* As a realloc: the old record out, one draw on the whole new size, whether the old was drawn or not. */
MP_EXPORT void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    void *wish = NULL;
    if (flags & MREMAP_FIXED) {
        va_list rest;
        va_start(rest, flags);
        wish = va_arg(rest, void *);
        va_end(rest);
    }
    const void *caller = __builtin_return_address(0);
    bool counts = size != 0 && !mp_malloc_is_allocator(caller);
    uint32_t due = counts && mp_hot_count(size) ? mp_sample_due(size) : 0;
    bool moves = may_forget(old, old_size, caller), over = wish != NULL && may_forget(wish, size, caller);
    bool careful = due != 0 || moves || over;
    uint64_t mask = careful ? quiet() : 0;
    struct mp_unmapped lost;
    lost.count = 0;
    if (moves) {
        forget(old, old_size, &lost);
    }
    if (due != 0 && lost.count == 0 && !is_anonymous_at((uintptr_t)old)) {
        due = 0;
    }
    if (over) {
        forget(wish, size, &lost);
    }
    void *block = result_of(
        mp_sys_call(SYS_mremap, (long)old, (long)old_size, (long)size, flags, (long)wish, 0));
    if (block == MAP_FAILED) {
        mp_unmap_undo(&lost);
    } else if (due != 0) {
        mp_sample_add(block, size, MP_DOMAIN_MMAP, due);
    }
    if (careful) {
        loud(mask);
    }
    return block;
}
