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

static bool counts(int protection, int flags, int fd, size_t size, const void *caller)
{
    return (flags & MAP_ANONYMOUS) != 0 && fd == -1 && protection != PROT_NONE && size != 0 &&
           !mp_malloc_is_allocator(caller) && !is_mimalloc(flags, caller);
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
    if (counts(protection, flags, fd, size, caller) && mp_hot_count(size)) {
        due = mp_sample_due(size);
    }
    void *block = result_of(mp_sys_call(SYS_mmap, (long)address, (long)size, protection, flags, fd, offset));
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
