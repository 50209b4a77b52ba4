/* SPDX-License-Identifier: MIT
 * Forgetting what was mapped in a range: all of it, or a part of a mapping.
 *
 * What is left of a mapping lives on under the stack that mapped it, as if it had been mapped so: the sample is kept with the
 * probability that a mapping of the new size would have been drawn, given that the old one was, and stands for the new size. So the
 * estimate stays unbiased however a program unmaps.
 *
 * Context: hook, before the kernel unmaps: afterwards the addresses may be another thread's already.
 */
#ifndef MP_CORE_UNMAP_H
#define MP_CORE_UNMAP_H

#include "core/base.h"
#include "core/live.h"

#define MP_UNMAP_ROWS 8

/* What was forgotten, to be put back where the kernel refuses. Of more mappings than there are rows, the rest is lost. */
struct mp_unmapped {
    uint32_t count; /* mappings that lost something */
    struct mp_live_row rows[MP_UNMAP_ROWS];
};

/* From low, on a page boundary, to below high, which is rounded up to one; what it forgets is added to *ret. */
void mp_unmap(uint64_t low, uint64_t high, struct mp_unmapped *ret);
/* The mappings are as they were. */
void mp_unmap_undo(const struct mp_unmapped *what);

#endif
