/* SPDX-License-Identifier: MIT
 * The budget: memory stops growing, sums stay true and state their errors, and it is said.
 */
#include "fresh.h"

#include <math.h>

#include "core/thin.c"

static int done(void **state)
{
    (void)state;
    fresh_release();
    memset(&thin, 0, sizeof thin);
    budget = 0;
    return 0;
}

/* Live blocks of mixed sizes on a few lines; what the program does after each allocation. */
static double allocate(uint64_t *address, uint32_t count)
{
    double truth = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        static const size_t sizes[] = {16, 64, 400, 3000};
        size_t size = sizes[i % MP_COUNT(sizes)];
        fresh_frame(i % 5);
        if (fresh_alloc(*address, size)) {
            mp_thin_look();
        }
        *address += 4096;
        truth += (double)size;
    }
    return truth;
}

struct fit {
    double errors, squares; /* in units of the stated error */
};

static void fit_add(struct fit *fit, double estimate, double variance, double truth)
{
    double error = (estimate - truth) / sqrt(variance);
    fit->errors += error;
    fit->squares += error * error;
}

static void assert_fits(const struct fit *fit, int rounds)
{
    assert_true(fabs(fit->errors / rounds) < 4.0 / sqrt(rounds));
    assert_true(fit->squares / rounds > 0.4 && fit->squares / rounds < 2.0);
}

/* Of what is alive, and of what was ever allocated: here the same blocks, but a sample that is forgotten stays in the latter. */
static void sums_stay_true(void **state)
{
    (void)state;
    struct fit live = {0}, allocated = {0};
    enum { ROUNDS = 40 };
    for (uint64_t round = 0; round < ROUNDS; round++) {
        assert_int_equal(fresh_profile(round % 2 == 0 ? 1 : 256, 128), MP_OK);
        mp_profile.seed += round;
        memset(&thin, 0, sizeof thin);
        mp_thin_budget(mp_profile_own_bytes() + (512u << 10));
        uint64_t address = 0x1000;
        double truth = allocate(&address, 60000);
        assert_true(fresh_count(MP_NOTE_THINNED) >= 1);
        assert_true(mp_profile.rates[mp_profile.rate] >= (round % 2 == 0 ? 128 : 512));
        fit_add(&live, (double)mp_profile.sites.live_bytes, mp_profile.sites.live_var, truth);
        double bytes = 0.0, variance = 0.0;
        for (uint32_t i = 1; i < mp_vec_count(&mp_profile.sites.rows); i++) {
            bytes += fresh_site(i)->alloc_bytes;
            variance += fresh_site(i)->alloc_bytes_var;
        }
        fit_add(&allocated, bytes, variance, truth);
    }
    assert_fits(&live, ROUNDS);
    assert_fits(&allocated, ROUNDS);
}

/* The heap grows a hundredfold; we do not: the table's rows, which are most of it, are used again. */
static void most_of_it_stays_within_the_budget(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    uint64_t given = mp_profile_own_bytes() + (16u << 20), address = 0x1000, highest = 0;
    mp_thin_budget(given);
    for (uint32_t i = 0; i < 300; i++) {
        allocate(&address, 10000);
        highest = mp_profile_own_bytes() > highest ? mp_profile_own_bytes() : highest;
    }
    assert_in_range(highest, given / 2, given);
    assert_in_range(fresh_count(MP_NOTE_THINNED), 3, 15);
}

/* The heap grows a hundredfold; we do not. */
static void memory_stays_near_the_budget(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    uint64_t given = mp_profile_own_bytes() + (1u << 20), address = 0x1000;
    mp_thin_budget(given);
    allocate(&address, 1000000); /* a million rows would be 60 MB */
    assert_true(mp_profile_own_bytes() < given + (1 + fresh_count(MP_NOTE_THINNED)) * given / 15);
    assert_in_range(fresh_count(MP_NOTE_THINNED), 3, 15);
    assert_int_equal(fresh_count(MP_LOST_MEMORY), 0);
}

static void frees_are_seen_as_before(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    uint64_t address = 0x1000;
    mp_thin_budget(mp_profile_own_bytes() + (512u << 10));
    allocate(&address, 100000);
    assert_true(fresh_count(MP_NOTE_THINNED) >= 1);
    for (uint64_t at = 0x1000; at < address; at += 4096) {
        fresh_free(at);
    }
    assert_int_equal(mp_profile.live.index.rows, 0);
    assert_true(mp_profile.sites.live_bytes == 0);
    for (uint32_t i = 1; i < mp_vec_count(&mp_profile.sites.rows); i++) {
        assert_true(fresh_site(i)->live_bytes == 0);
    }
}

static void no_budget_no_thinning(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    uint64_t address = 0x1000;
    mp_thin_budget(0);
    allocate(&address, 50000);
    assert_int_equal(fresh_count(MP_NOTE_THINNED), 0);
    assert_int_equal(mp_profile.live.index.rows, 50000);
    assert_int_equal(mp_profile.rates[mp_profile.rate], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: what other tests have mapped would be counted as the profile's own, and all of it as what cannot be given back. */
        cmocka_unit_test_teardown(most_of_it_stays_within_the_budget, done),
        cmocka_unit_test_teardown(sums_stay_true, done),
        cmocka_unit_test_teardown(memory_stays_near_the_budget, done),
        cmocka_unit_test_teardown(frees_are_seen_as_before, done),
        cmocka_unit_test_teardown(no_budget_no_thinning, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
