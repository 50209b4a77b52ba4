/* SPDX-License-Identifier: MIT
 * How much room a signal handler's own stack has left.
 *
 * A program may give its handlers a stack of a few kilobytes (sigaltstack), of which the kernel takes 3 for the registers. Behind its
 * end there is no guard: what a sample writes too far would land in the program's memory.
 *
 * Context: hook.
 */
#ifndef MP_PRELOAD_ALTSTACK_H
#define MP_PRELOAD_ALTSTACK_H

#include "core/base.h"

/* Bytes below the caller on the alternate stack that it runs on; SIZE_MAX where it runs on none. */
size_t mp_altstack_room(void);

#endif
