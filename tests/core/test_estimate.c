/* SPDX-License-Identifier: MIT
 * The estimates are true. Known streams of allocations go through the hot path again and again, with fixed seeds: the mean of
 * the estimates is within 5 of its own standard errors of the truth, their spread is the one that the formula says, and
 * single estimates are within two of their stated standard errors as often as they should be.
 */
#include "fresh.h"

#include <math.h>
#include <pthread.h>

#define RATE 1024

/* What repeated estimates of one stream come to. */
struct outcome {
    int runs, within;           /* two stated standard errors, bytes and blocks alike */
    double blocks, bytes;       /* sums over the runs */
    double blocks_2, bytes_2;   /* of squares */
    double stated_var;          /* sum of stated variances of the bytes */
};

/* One run: `count` blocks of each of these sizes, in turn; each run has a site of its own. */
static void run_once(struct outcome *outcome, const size_t *sizes, int kinds, int count, double true_blocks,
                     double true_bytes)
{
    static uint32_t run;
    uint32_t before = mp_vec_count(&mp_profile.sites.rows);
    fresh_frame(++run);
    for (int i = 0; i < count; i++) {
        for (int kind = 0; kind < kinds; kind++) {
            uint64_t address = 0x10000 + ((uint64_t)i * (uint64_t)kinds + (uint64_t)kind) * 16;
            if (fresh_alloc(address, sizes[kind])) {
                fresh_free(address);
            }
        }
    }
    static const struct mp_site nothing;
    bool any = mp_vec_count(&mp_profile.sites.rows) > before;
    const struct mp_site *site = any ? fresh_site(before) : &nothing;
    outcome->runs++;
    outcome->blocks += site->alloc_blocks;
    outcome->bytes += site->alloc_bytes;
    outcome->blocks_2 += site->alloc_blocks * site->alloc_blocks;
    outcome->bytes_2 += site->alloc_bytes * site->alloc_bytes;
    outcome->stated_var += site->alloc_bytes_var;
    outcome->within += fabs(site->alloc_bytes - true_bytes) <= 2.0 * sqrt(site->alloc_bytes_var) &&
                       fabs(site->alloc_blocks - true_blocks) <= 2.0 * sqrt(site->alloc_blocks_var);
}

/* The truth, and what theory says of the spread of one estimate. */
struct truth {
    double blocks, bytes, blocks_var, bytes_var;
};

static struct truth truth_of(const size_t *sizes, int kinds, int count)
{
    struct truth truth = {0};
    for (int kind = 0; kind < kinds; kind++) {
        double s = (double)sizes[kind], p = -expm1(-(s > 0.0 ? s : 1.0) / RATE);
        truth.blocks += count;
        truth.bytes += count * s;
        truth.blocks_var += count * (1.0 - p) / p;
        truth.bytes_var += count * (1.0 - p) / p * s * s;
    }
    return truth;
}

static struct outcome repeat(const size_t *sizes, int kinds, int count, int runs)
{
    struct outcome outcome = {0};
    struct truth truth = truth_of(sizes, kinds, count);
    assert_int_equal(fresh_profile(RATE, 128), MP_OK);
    while (outcome.runs < runs) {
        run_once(&outcome, sizes, kinds, count, truth.blocks, truth.bytes);
    }
    double n = runs;
    assert_true(fabs(outcome.blocks / n - truth.blocks) <= 5.0 * sqrt(truth.blocks_var / n) + 1e-9);
    assert_true(fabs(outcome.bytes / n - truth.bytes) <= 5.0 * sqrt(truth.bytes_var / n) + 1e-9);
    assert_int_equal(mp_profile.live.index.rows, 0);
    return outcome;
}

/* About 64 samples are expected of each stream, so that two standard errors mean something. */
static void one_size(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        int count;
    } streams[] = {{0, 65536}, {1, 65536}, {16, 4096}, {512, 163}, {RATE, 101}};
    const int runs = 500;
    for (size_t i = 0; i < MP_COUNT(streams); i++) {
        struct truth truth = truth_of(&streams[i].size, 1, streams[i].count);
        struct outcome outcome = repeat(&streams[i].size, 1, streams[i].count, runs);
        assert_in_range(outcome.within, runs * 92 / 100, runs * 98 / 100); /* 95.4 +- 3 standard errors */
        double mean = outcome.blocks / runs, var = outcome.blocks_2 / runs - mean * mean;
        /* A variance from n runs is known to sqrt(2/n) = 6.3 %. */
        assert_true(fabs(var / truth.blocks_var - 1.0) < 0.3);
        assert_true(truth.bytes_var == 0.0 ||
                    fabs(outcome.stated_var / runs / truth.bytes_var - 1.0) < 0.1);
    }
}

/* Sixteen times the rate: a block in nine million is missed, and each stands for just above one. */
static void large_blocks_are_all_there(void **state)
{
    (void)state;
    const size_t size = 16 * RATE;
    struct outcome outcome = repeat(&size, 1, 1000, 100);
    assert_true(fabs(outcome.blocks / 1e5 - 1.0) < 1e-4);
    assert_true(fabs(outcome.bytes / 1e5 / (double)size - 1.0) < 1e-4);
}

/* One line that makes small and large blocks: the case that averaging first gets wrong. */
static void mixed_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16, 48, 200, 512, 700, RATE, 5000, 16 * RATE};
    const int runs = 500;
    struct outcome outcome = repeat(sizes, MP_COUNT(sizes), 300, runs);
    double mean = outcome.bytes / runs, var = outcome.bytes_2 / runs - mean * mean;
    assert_true(fabs(outcome.stated_var / runs / var - 1.0) < 0.3);
}

/* Live blocks weigh the same as what was ever allocated, and what stays is estimated too. */
static void what_is_live_is_estimated(void **state)
{
    (void)state;
    double sum = 0.0;
    const int runs = 300, blocks = 2000;
    assert_int_equal(fresh_profile(RATE, 128), MP_OK);
    for (int run = 0; run < runs; run++) {
        for (int i = 0; i < blocks; i++) {
            fresh_alloc(0x10000 + (uint64_t)i * 64, 48);
        }
        for (int i = 0; i < blocks; i += 2) {
            fresh_free(0x10000 + (uint64_t)i * 64);
        }
        sum += (double)mp_profile.sites.live_bytes;
        for (int i = 1; i < blocks; i += 2) {
            fresh_free(0x10000 + (uint64_t)i * 64);
        }
        assert_true(mp_profile.sites.live_bytes == 0);
    }
    double p = -expm1(-48.0 / RATE);
    double error = 48.0 * sqrt(blocks / 2 * (1.0 - p) / p / runs);
    assert_true(fabs(sum / runs - 48.0 * blocks / 2) < 5.0 * error + 0.5 * p * blocks);
}

/* A rate that changes under way: every sample is weighed with the rate that it was drawn at. */
static void a_change_of_rate_keeps_it_true(void **state)
{
    (void)state;
    const int runs = 400, blocks = 4000;
    double sum = 0.0, squares = 0.0;
    assert_int_equal(fresh_profile(512, 128), MP_OK);
    for (int run = 0; run < runs; run++) {
        fresh_frame((uint32_t)run + 1);
        uint32_t site = mp_vec_count(&mp_profile.sites.rows);
        for (int i = 0; i < blocks; i++) {
            if (i % 500 == 0) {
                mp_profile_set_rate(512u << (i / 500 % 4));
            }
            if (fresh_alloc(0x10000, 32)) {
                fresh_free(0x10000);
            }
        }
        sum += fresh_site(site)->alloc_blocks;
        squares += fresh_site(site)->alloc_blocks * fresh_site(site)->alloc_blocks;
    }
    double mean = sum / runs, error = sqrt((squares / runs - mean * mean) / runs);
    assert_int_equal(mp_profile.rate_count, 4);
    assert_true(fabs(mean - blocks) < 5.0 * error);
    assert_true(error < 0.01 * blocks);
}

enum { THREADS = 3, BLOCKS = 300000 };

static void *allocate(void *argument)
{
    uint64_t base = ((uint64_t)(uintptr_t)argument + 1) << 32;
    fresh_frame(1);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        if (fresh_alloc(base + i % 64 * 64, 40)) {
            fresh_free(base + i % 64 * 64);
        }
    }
    return NULL;
}

static void threads_together_are_true(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    assert_int_equal(fresh_profile(RATE, 128), MP_OK);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, allocate, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const struct mp_site *site = fresh_site(1);
    assert_true(fabs(site->alloc_blocks - (double)THREADS * BLOCKS) < 5.0 * sqrt(site->alloc_blocks_var));
    assert_true(fabs(site->alloc_bytes - 40.0 * THREADS * BLOCKS) < 5.0 * sqrt(site->alloc_bytes_var));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_size, fresh_done),
        cmocka_unit_test_teardown(large_blocks_are_all_there, fresh_done),
        cmocka_unit_test_teardown(mixed_sizes, fresh_done),
        cmocka_unit_test_teardown(what_is_live_is_estimated, fresh_done),
        cmocka_unit_test_teardown(a_change_of_rate_keeps_it_true, fresh_done),
        cmocka_unit_test_teardown(threads_together_are_true, fresh_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
