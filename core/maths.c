/* SPDX-License-Identifier: MIT
 * The mathematics of sampling: see maths.h.
 *
 * Context: any.
 */
#include "core/maths.h"

#include <string.h>

static const double ln2 = 0.693147180559945309417;

uint64_t mp_random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

/* x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(z), z = (m-1)/(m+1), |z| < 0.172, by its series. */
double mp_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)((bits >> 52) & 0x7FF) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.41421356237309504880) {
        m *= 0.5;
        exponent++;
    }
    double z = (m - 1.0) / (m + 1.0);
    double zz = z * z;
    static const double odd[] = {1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3};
    double sum = 0.0;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        sum = (sum + odd[i]) * zz;
    }
    return 2.0 * z * (1.0 + sum) + (double)exponent * ln2;
}

/* exp(r) - 1 for |r| <= ln2 / 2, by its series. */
static double expm1_small(double r)
{
    double sum = 0.0;
    for (int k = 15; k >= 2; k--) {
        sum = (sum + 1.0) * r / (double)k;
    }
    return r * (1.0 + sum);
}

double mp_one_minus_exp_neg(double x)
{
    if (x > 40.0) {
        return 1.0; /* exp(-40) is below half a unit in the last place of 1 */
    }
    int k = (int)(x / ln2 + 0.5);
    double scale = 1.0 / (double)(1ull << k); /* k <= 58 */
    double tail = expm1_small((double)k * ln2 - x);
    return (1.0 - scale) - scale * tail;
}

uint64_t mp_distance_draw(uint64_t rate, uint64_t *state)
{
    if (rate <= 1) {
        return 0;
    }
    /* Uniform on (0, 1], in steps of 2^-53: the logarithm is finite for every draw. */
    double u = (double)((mp_random_next(state) >> 11) + 1) * 0x1p-53;
    double distance = -mp_log(u) * (double)rate;
    return distance <= 0.0 ? 0 : (uint64_t)distance;
}

double mp_weight(uint64_t size, uint64_t rate)
{
    if (rate <= 1) {
        return 1.0;
    }
    double bytes = size > 0 ? (double)size : 1.0;
    return 1.0 / mp_one_minus_exp_neg(bytes / (double)rate);
}
