/* SPDX-License-Identifier: MIT
 * The mathematics against libm and against theory: logarithm, exponential, weights; the distances' distribution for fixed
 * seeds, and the two draws at its ends.
 */
#include "suite.h"

#include <math.h>
#include <stdlib.h>

#include "core/maths.h"

#define GOLDEN 0x9E3779B97F4A7C15ull
#define RELATIVE 1e-14

static void expect_near(double got, double want, const char *what, double x)
{
    if (!(fabs(got - want) <= RELATIVE * fabs(want))) {
        fail_msg("%s of %.17g: %.17g, not %.17g", what, x, got, want);
    }
}

static void log_is_libm_s(void **state)
{
    (void)state;
    for (int exponent = -1022; exponent <= 1023; exponent++) {
        for (int i = 0; i < 64; i++) {
            double x = ldexp(1.0 + (double)i / 64.0, exponent);
            expect_near(mp_log(x), log(x), "log", x);
        }
    }
    for (int k = 1; k <= 52; k++) { /* near 1, where the result is small */
        expect_near(mp_log(1.0 + ldexp(1.0, -k)), log1p(ldexp(1.0, -k)), "log", 1.0 + ldexp(1.0, -k));
        expect_near(mp_log(1.0 - ldexp(1.0, -k - 1)), log1p(-ldexp(1.0, -k - 1)), "log",
                    1.0 - ldexp(1.0, -k - 1));
    }
    assert_true(mp_log(1.0) == 0.0);
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        double x = (double)((suite_random(&seed) >> 11) + 1) * 0x1p-53;
        expect_near(mp_log(x), log(x), "log", x);
    }
}

static void exponential_is_libm_s(void **state)
{
    (void)state;
    assert_true(mp_one_minus_exp_neg(0.0) == 0.0);
    for (double x = 1e-300; x < 1e300; x *= 1.0137) {
        expect_near(mp_one_minus_exp_neg(x), -expm1(-x), "1 - exp(-x)", x);
    }
    for (double x = 0.0001; x < 45.0; x += 0.0007) { /* across every k ln2 */
        expect_near(mp_one_minus_exp_neg(x), -expm1(-x), "1 - exp(-x)", x);
    }
    for (int k = 1; k < 116; k++) { /* the edges between them */
        double edge = (double)k * 0.5 * M_LN2;
        for (int ulp = -3; ulp <= 3; ulp++) {
            double x = edge + (double)ulp * edge * 0x1p-52;
            expect_near(mp_one_minus_exp_neg(x), -expm1(-x), "1 - exp(-x)", x);
        }
    }
}

static void weights_are_inverse_probabilities(void **state)
{
    (void)state;
    static const uint64_t rates[] = {2, 3, 16, 1000, 16 << 10, 128 << 10, 1ull << 30, 1ull << 40};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (uint64_t size = 1; size < 1ull << 50; size += size / 7 + 1) {
            double want = -1.0 / expm1(-(double)size / (double)rates[r]);
            expect_near(mp_weight(size, rates[r]), want, "weight", (double)size);
            assert_true(mp_weight(size, rates[r]) >= 1.0);
        }
        assert_true(mp_weight(0, rates[r]) == mp_weight(1, rates[r]));
        assert_true(mp_weight(UINT64_MAX, rates[r]) == 1.0);
    }
    for (uint64_t size = 0; size < 100; size++) {
        assert_true(mp_weight(size, 0) == 1.0);
        assert_true(mp_weight(size, 1) == 1.0);
    }
}

static void generator_is_splitmix64(void **state)
{
    (void)state;
    static const uint64_t known[] = {6457827717110365317ull, 3203168211198807973ull, 9817491932198370423ull,
                                     4593380528125082431ull, 16408922859458223821ull};
    uint64_t seed = 1234567;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_true(mp_random_next(&seed) == known[i]);
    }
}

/* The odd number that multiplied with odd is 1 (Newton: each step doubles the good bits). */
static uint64_t inverse(uint64_t odd)
{
    uint64_t x = odd;
    for (int i = 0; i < 6; i++) {
        x *= 2 - odd * x;
    }
    return x;
}

static uint64_t undo_shift(uint64_t z, int shift)
{
    uint64_t x = z;
    for (int i = 0; i < 64; i += shift) {
        x = z ^ (x >> shift);
    }
    return x;
}

/* The state from which the generator's next number is this. */
static uint64_t state_before(uint64_t number)
{
    uint64_t z = undo_shift(number, 31) * inverse(0x94D049BB133111EBull);
    z = undo_shift(z, 27) * inverse(0xBF58476D1CE4E5B9ull);
    return undo_shift(z, 30) - GOLDEN;
}

static void extreme_draws_stay_in_range(void **state)
{
    (void)state;
    static const uint64_t rates[] = {2, 3, 512, 128 << 10, 1ull << 40};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (int bit = -1; bit < 64; bit++) { /* no bit, or one */
            uint64_t number = bit < 0 ? 0 : 1ull << bit;
            uint64_t before = state_before(number), check = before;
            assert_true(mp_random_next(&check) == number);
            assert_true(mp_distance_draw(rates[r], &before) < 37 * rates[r]);
            before = state_before(~number);
            assert_true(mp_distance_draw(rates[r], &before) <= 37 * rates[r]);
        }
        uint64_t zeros = state_before(0), ones = state_before(UINT64_MAX);
        assert_true(mp_distance_draw(rates[r], &zeros) >= 36 * rates[r]);
        assert_true(mp_distance_draw(rates[r], &ones) == 0);
    }
}

static void every_allocation_needs_no_draw(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int i = 0; i < 1000; i++) {
        assert_true(mp_distance_draw(0, &seed) == 0);
        assert_true(mp_distance_draw(1, &seed) == 0);
    }
}

/* The floor of an exponential variate is geometric: mean 1 / (exp(1/R) - 1). Within 5 standard errors. */
static void mean_distance_is_the_rate(void **state)
{
    (void)state;
    static const uint64_t rates[] = {2, 10, 512, 16 << 10, 128 << 10, 1ull << 30};
    const int draws = 200000;
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            uint64_t random = seed * 0xD1342543DE82EF95ull;
            double sum = 0.0, rate = (double)rates[r];
            for (int i = 0; i < draws; i++) {
                sum += (double)mp_distance_draw(rates[r], &random);
            }
            double want = 1.0 / expm1(1.0 / rate);
            double error = sqrt(want * (want + 1.0) / draws);
            assert_true(fabs(sum / draws - want) < 5.0 * error);
        }
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov: the largest distance of the two distributions, times sqrt(n), is above 1.95 once in 1000. */
static void distances_are_exponential(void **state)
{
    (void)state;
    enum { DRAWS = 50000 };
    static double sorted[DRAWS];
    const double rate = 128 << 10;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t random = seed;
        for (int i = 0; i < DRAWS; i++) {
            sorted[i] = ((double)mp_distance_draw(128 << 10, &random) + 0.5) / rate;
        }
        qsort(sorted, DRAWS, sizeof sorted[0], compare);
        double largest = 0.0;
        for (int i = 0; i < DRAWS; i++) {
            double want = -expm1(-sorted[i]);
            largest = fmax(largest, fmax(want - (double)i / DRAWS, (double)(i + 1) / DRAWS - want));
        }
        assert_true(largest * sqrt(DRAWS) < 1.95);
    }
}

/* Small rates, where the floor is felt: chi-square over 0 .. 29 and the rest; 30 degrees are above 59.7 once in 1000. */
static void small_distances_are_geometric(void **state)
{
    (void)state;
    enum { BINS = 31, DRAWS = 100000 };
    for (uint64_t rate = 4; rate <= 8; rate++) {
        uint64_t random = rate * GOLDEN;
        int seen[BINS] = {0};
        for (int i = 0; i < DRAWS; i++) {
            uint64_t distance = mp_distance_draw(rate, &random);
            seen[distance < BINS - 1 ? distance : BINS - 1]++;
        }
        double chi2 = 0.0;
        for (int bin = 0; bin < BINS; bin++) {
            double p = exp(-(double)bin / (double)rate);
            p -= bin < BINS - 1 ? exp(-(double)(bin + 1) / (double)rate) : 0.0;
            chi2 += pow(seen[bin] - p * DRAWS, 2.0) / (p * DRAWS);
        }
        assert_true(chi2 < 59.7);
    }
}

/* What the header promises: a block of n bytes is sampled with probability 1 - exp(-n / rate). */
static void probability_is_exact(void **state)
{
    (void)state;
    const int draws = 400000;
    static const uint64_t sizes[] = {1, 2, 16, 100, 1000};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        uint64_t random = 77 + s;
        int sampled = 0;
        for (int i = 0; i < draws; i++) {
            sampled += mp_distance_draw(100, &random) < sizes[s];
        }
        double p = -expm1(-(double)sizes[s] / 100.0);
        assert_true(fabs(sampled - draws * p) <= 5.0 * sqrt(draws * p * (1.0 - p)) + 1.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_is_libm_s),
        cmocka_unit_test(exponential_is_libm_s),
        cmocka_unit_test(weights_are_inverse_probabilities),
        cmocka_unit_test(generator_is_splitmix64),
        cmocka_unit_test(extreme_draws_stay_in_range),
        cmocka_unit_test(every_allocation_needs_no_draw),
        cmocka_unit_test(mean_distance_is_the_rate),
        cmocka_unit_test(distances_are_exponential),
        cmocka_unit_test(small_distances_are_geometric),
        cmocka_unit_test(probability_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
