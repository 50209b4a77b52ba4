/* SPDX-License-Identifier: MIT
 * A budget for the profiler's own memory.
 *
 * A sixteenth below it the rate is doubled, and of the live samples that were drawn at finer rates about half are forgotten: each stays with the
 * probability with which the new rate would have drawn it, given that the old one did, and then stands for as many blocks
 * more. That is what sampling at the new rate from the beginning would have given, so sums stay unbiased; their errors grow by
 * a root of two. The rows that were left are used again, so memory grows on only if the program's heap doubles. What
 * is stored of stacks and names is not forgotten.
 *
 * Context: hook (mp_thin_look), outside all locks.
 */
#ifndef MP_CORE_THIN_H
#define MP_CORE_THIN_H

#include <stdint.h>

/* Bytes; 0: no budget. At attach. */
void mp_thin_budget(uint64_t bytes);
/* After a sample: looks, now and then, whether the budget is used up, and thins a few live samples where it was. */
void mp_thin_look(void);

#endif
