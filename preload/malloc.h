/* SPDX-License-Identifier: MIT
 * The malloc family, interposed.
 *
 * Every block that any code of the process asks libc for passes through here, C++'s new and delete included (libstdc++
 * calls malloc). In a process without Python it costs a subtraction and a branch, and nothing is recorded.
 *
 * Context: any thread, from the loader's first steps to a thread's last.
 */
#ifndef MP_PRELOAD_MALLOC_H
#define MP_PRELOAD_MALLOC_H

#include "core/base.h"

/* True where the process's malloc is ours: nothing before us in the search order defines it. */
bool mp_malloc_is_ours(void);
/* Learns who serves malloc behind us; at attach. */
void mp_malloc_learn(void);
/* True where the code at this address belongs to the allocator behind us (or to us): what it maps is counted block by block. */
bool mp_malloc_is_allocator(const void *code);
/* Learns where the interpreter is, of which this is some code; at attach. */
void mp_malloc_learn_interpreter(const void *code);
bool mp_malloc_is_interpreter(const void *code);
/* True where the allocator behind us is glibc's own. */
bool mp_malloc_is_glibc(void);

#endif
