/* SPDX-License-Identifier: MIT
 * The mathematics of sampling: random distances, and what a sample stands for.
 *
 * libm would be one more library in every preloaded process, so the two functions that are needed
 * are here; tests/core/test_maths.c compares them with libm's.
 *
 * Context: any. No state but the generator the caller owns.
 */
#ifndef MP_CORE_MATHS_H
#define MP_CORE_MATHS_H

#include <stdint.h>

/* Next number of the generator (splitmix64, Steele, Lea and Flood 2014): 64 random bits. */
uint64_t mp_random_next(uint64_t *state);

/* Natural logarithm of a positive, normal, finite x; relative error below 1e-14. */
double mp_log(double x);

/* 1 - exp(-x) for x >= 0; relative error below 1e-14. */
double mp_one_minus_exp_neg(double x);

/* Whole bytes until the next sample: floor of an exponential variate with mean `rate` bytes; 0 where every
 * allocation is recorded (rate 0 or 1). A block of n bytes is sampled if the result is below n, which has
 * probability 1 - exp(-n / rate) exactly, because n is whole. At most 37 times the rate. */
uint64_t mp_distance_draw(uint64_t rate, uint64_t *state);

/* How many blocks one sampled block of size bytes stands for: 1 / (1 - exp(-size / rate)), with size at least 1; 1
 * where every allocation is recorded. See FORMAT.md, "Estimates". */
double mp_weight(uint64_t size, uint64_t rate);

#endif
