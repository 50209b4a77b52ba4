/* SPDX-License-Identifier: MIT
 * Walks the native stack of the calling thread, with libunwind.
 *
 * What libunwind (1.6 to 1.8) is and is not used for. Its walk of the own process (unw_backtrace, unw_step on a local cursor) is
 * not for a guest: it keeps 256 kB for each thread that is ever walked; by default it holds a lock of its own while it
 * waits for the loader's, so that a thread that allocates inside dl_iterate_phdr deadlocks with one that samples; its caches do
 * not notice that another object was loaded at an address; and it proves addresses by writing to a pipe, whose descriptors
 * it goes on to read and write after a daemon has closed them and opened files of its own under their numbers.
 *
 * So its other half is used, made for other processes: it asks us for every word and for the unwind tables. That half
 * allocates nothing but from its own mmap'ed pools, takes a lock only around these (signals blocked, nothing called), never the
 * loader's. It needs several microseconds for a frame, so what it finds out is kept: nearly all code has frames whose
 * beginning is a register plus a number, with the caller's registers at fixed places below, and that is a rule of 32 bytes for
 * each address of a call.
 *
 * Every word of the stack is read only after the kernel said that its page is there.
 *
 * Context: attach for _load; hook for _walk.
 */
#ifndef MP_PRELOAD_UNWIND_H
#define MP_PRELOAD_UNWIND_H

#include "core/modules.h"

/* NULL, or why it cannot be had, one line. Loads the library: may allocate. */
const char *mp_unwind_load(void);
/* Says what a frame is, as flags of core/modules.h: address in this process, its object, where its function begins (0: not known). */
typedef uint32_t (*mp_unwind_classify)(uintptr_t address, uint32_t object, uintptr_t function);
/* Before the first walk. */
void mp_unwind_begin(mp_unwind_classify classify);

/* The frames of the calling thread from the caller of the outermost allocation function on, nearest first; how many. *ret_whole:
 * to the thread's first function. *ret_cut: there were more than max. The profiler's own frames are left out. */
uint32_t mp_unwind_walk(struct mp_native_frame *frames, uint32_t max, bool *ret_whole, bool *ret_cut);

#endif
