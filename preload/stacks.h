/* SPDX-License-Identifier: MIT
 * How much of the stacks of the process's threads is resident, but for the main thread's, which the kernel says (VmStk).
 *
 * The kernel knows of each thread where its list of robust mutexes begins; libc keeps that in the thread's control block, at
 * the top of the thread's stack. So one system call finds any thread's stack, also one that never allocated, and nothing
 * of it is read: which mapping it lies in is looked up in /proc/self/maps, and what of it is resident is asked of the
 * kernel (core/resident.h). Threads that libc did not make have no such list and are left out.
 *
 * Context: writer.
 */
#ifndef MP_PRELOAD_STACKS_H
#define MP_PRELOAD_STACKS_H

#include <stdint.h>

/* At attach. */
void mp_stacks_init(void);
/* Bytes resident in the stacks of *ret_threads threads: fewer than there are where the kernel does not say, or where
 * there are too many for a short time. */
uint64_t mp_stacks_resident(uint32_t *ret_threads);

#endif
