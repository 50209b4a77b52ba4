/* SPDX-License-Identifier: MIT
 * A lock that sleeps in the kernel when it must, and belongs to no libc.
 *
 * pthread mutexes need a thread that libc knows; the writer is none. The holder is never interrupted by
 * code of ours that wants the same lock: hooks refuse to be re-entered, and a dump in a signal
 * handler checks that its own thread is not inside (preload/dump.c).
 *
 * Invariants: 0 free, 1 held, 2 held and somebody sleeps. All zero is a free lock.
 * Context: hook, writer. Hold it for microseconds; for milliseconds never.
 */
#ifndef MP_CORE_LOCK_H
#define MP_CORE_LOCK_H

#include <stdint.h>

/* Alone in its cache line: who waits for it reads it all the time, and what it guards is the holder's to write. */
struct mp_lock {
    _Alignas(64) uint32_t word;
};

void mp_lock_take(struct mp_lock *lock);
void mp_lock_release(struct mp_lock *lock);
/* The only thread left after a fork makes it free, whoever held it. */
void mp_lock_reset(struct mp_lock *lock);

#endif
