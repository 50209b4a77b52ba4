/* SPDX-License-Identifier: MIT
 * What of a thread's stack can be read, as the kernel says: wrong unwind information must not make us touch what is not there.
 *
 * Context: hook.
 */
#ifndef MP_PRELOAD_WINDOW_H
#define MP_PRELOAD_WINDOW_H

#include "core/base.h"

/* The part of the address space that was proven readable, for one walk. */
struct mp_window {
    uintptr_t low, high;
    bool refused; /* there was no way to ask (a seccomp filter): what lies outside is not known */
};

/* Around the stack pointer of the calling thread, upwards. */
struct mp_window mp_window_begin(uintptr_t sp);
/* The eight bytes at this address can be read; the window grows to them, or begins anew there. */
bool mp_window_reaches(struct mp_window *window, uintptr_t address);

#endif
