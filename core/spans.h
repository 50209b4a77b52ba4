/* SPDX-License-Identifier: MIT
 * Where sampled mappings begin, in order of address.
 *
 * A block is freed by its address; a mapping is unmapped by a range, which may hold several, or a part of one. The live table
 * answers for addresses only, so beside it stands this list, of mappings alone: a process has some thousands of them at most (the kernel
 * allows 65,530), and unmapping is a system call anyway.
 *
 * Invariants: every live sample of a mapping is in the list, or MP_LOST_MEMORY was counted; an entry may have no live sample
 * any more (thinned, cleared).
 * Context: hook, under the profile's lock; mp_spans_any from anywhere.
 */
#ifndef MP_CORE_SPANS_H
#define MP_CORE_SPANS_H

#include "core/base.h"

#define MP_SPANS_MAX 65536u

extern uint32_t mp_spans_count __attribute__((visibility("hidden")));

/* Whether there are any. */
MP_INLINE bool mp_spans_any(void)
{
    return __atomic_load_n(&mp_spans_count, __ATOMIC_RELAXED) != 0;
}

/* MP_OK, also where it is known already; or a negative enum mp_err. */
int mp_spans_add(uint64_t start);
void mp_spans_remove(uint64_t start);
/* The lowest at or above the address, and the highest below it; 0: none. */
uint64_t mp_spans_from(uint64_t address);
uint64_t mp_spans_below(uint64_t address);

#endif
