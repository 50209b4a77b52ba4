/* SPDX-License-Identifier: MIT
 * What the program steers: changes of the rate under way, clearing, the peak begun anew, limits of frames.
 */
#include "fresh.h"

#include <math.h>

/* A rate that another thread changes is in force within MP_LOOK_BYTES, and no block is drawn twice: the sums stay right, whatever
 * the moment of the change. */
static void a_change_of_rate_is_noticed_and_unbiased(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1 << 20, 4096, 100000, 1, 512, 1 << 18};
    enum { ROUNDS = 4000, BLOCKS = 24, SIZE = 3000 };
    assert_int_equal(fresh_profile(rates[0], 128), MP_OK);
    uint64_t address = 0x1000;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        assert_int_equal(mp_profile_set_rate(rates[round % MP_COUNT(rates)]), MP_OK);
        for (int i = 0; i < BLOCKS; i++) {
            fresh_alloc(address += 4096, SIZE);
        }
        assert_int_equal(mp_profile.rates[mp_tls.rate], rates[round % MP_COUNT(rates)]);
    }
    double truth = (double)ROUNDS * BLOCKS * SIZE;
    double error = ((double)mp_profile.sites.live_bytes - truth) / sqrt(mp_profile.sites.live_var);
    assert_true(error > -4.0 && error < 4.0);
    assert_true(sqrt(mp_profile.sites.live_var) < truth / 20);
}

/* Rooms for the deepest stacks there may be, of which next to nothing is touched. */
static void rooms_count_as_far_as_they_are_used(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    uint64_t own = mp_profile_own_bytes();
    assert_int_equal(mp_steer_frames(65535), MP_OK);
    assert_int_equal(mp_profile_own_bytes(), own);
    fresh_stack.count = 1000;
    fresh_alloc(0x1000, 10);
    assert_in_range(mp_profile_own_bytes(), own + 16000, own + 200000);
}

static void cleared_of_all(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    for (uint32_t i = 1; i <= 5000; i++) {
        fresh_frame(i % 50);
        assert_true(fresh_alloc(i * 32, 10));
    }
    for (uint32_t i = 1; i <= 1000; i++) {
        fresh_free(i * 32);
    }
    uint64_t bytes = mp_steer_bytes(), peak = mp_steer_peak_bytes();
    assert_int_equal(bytes, 40000);
    assert_int_equal(peak, 50000);
    mp_steer_reset_peak();
    bytes = mp_steer_bytes();
    peak = mp_steer_peak_bytes();
    assert_int_equal(peak, 40000);
    struct mp_live_row row;
    assert_true(mp_steer_find((const void *)(2000 * 32), &row));
    assert_int_equal(row.size, 10);
    assert_false(mp_steer_find((const void *)32, &row));
    uint64_t own = mp_profile_own_bytes();
    assert_int_equal(mp_steer_clear(), 4000);
    assert_true(mp_profile_own_bytes() < own - 100000); /* memory is given back */
    assert_int_equal(mp_vec_count(&mp_profile.live.rows), 1);
    bytes = mp_steer_bytes();
    peak = mp_steer_peak_bytes();
    assert_int_equal(bytes, 0);
    assert_int_equal(peak, 0);
    assert_false(mp_steer_find((const void *)(2000 * 32), &row));
    assert_false(mp_hot_maybe_sampled((const void *)(2000 * 32)));
    for (uint32_t id = 1; id <= 50; id++) {
        double peak_bytes, peak_var;
        assert_int_equal(fresh_site(id)->alloc_samples, 0);
        mp_sites_peak(&mp_profile.sites, fresh_site(id), &peak_bytes, &peak_var);
        assert_true(peak_bytes == 0.0 && peak_var == 0.0);
    }
    assert_true(fresh_alloc(0x1000, 10)); /* as before */
    bytes = mp_steer_bytes();
    peak = mp_steer_peak_bytes();
    assert_int_equal(peak, 10);
}

static void frames_may_change(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 2), MP_OK);
    fresh_stack = (struct fresh_stack){.frames = {7, 8, 9}, .count = 3};
    assert_true(fresh_alloc(0x1000, 8));
    uint32_t cut = (uint32_t)fresh_count(MP_NOTE_STACKS_CUT);
    assert_int_equal(mp_steer_frames(1000), MP_OK);
    assert_true(fresh_alloc(0x2000, 8));
    assert_int_equal(fresh_count(MP_NOTE_STACKS_CUT), cut);
    mp_sys_map_fail_after(0);
    assert_int_equal(mp_steer_frames(2000), MP_ERR_MEMORY);
    mp_sys_map_fail_after(-1);
    assert_int_equal(mp_profile.frames_max, 1000);
    assert_int_equal(mp_steer_frames(1), MP_OK);
    assert_true(fresh_alloc(0x3000, 8));
    assert_int_equal(fresh_count(MP_NOTE_STACKS_CUT), cut + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_of_rate_is_noticed_and_unbiased, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(rooms_count_as_far_as_they_are_used, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(cleared_of_all, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(frames_may_change, fresh_exact, fresh_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
