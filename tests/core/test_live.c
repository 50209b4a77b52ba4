/* SPDX-License-Identifier: MIT
 * The live samples against a model, and their filter: it never says no to a live address, while it grows as well and
 * while other threads insert and remove, and not when it was replaced; counters that reached the bottom stay there; memory that is refused;
 * how often it says "maybe" for nothing.
 */
#include "suite.h"

#include <pthread.h>
#include <string.h>

#include "core/hot.h"
#include "core/lock.h"

/* White box: a new table begins with the filter of the beginning. */
#include "core/live.c"

static struct mp_live live;

static int fresh(void **state)
{
    (void)state;
    return mp_live_init(&live);
}

static int done(void **state)
{
    mp_vec_release(&live.rows);
    mp_index_release(&live.index);
    if (live.next_filter != NULL) {
        mp_sys_unmap(live.next_filter, filter_bytes(live.next_filter->mask + 1));
    }
    if ((const void *)mp_live_filter != (const void *)&filter_empty) {
        mp_sys_unmap(filter_now(), filter_bytes(filter_now()->mask + 1));
    }
    mp_live_filter = (const struct mp_filter *)(const void *)&filter_empty;
    return suite_memory_is_back(state);
}

static struct mp_live_row row_of(uint64_t address, uint32_t site)
{
    return (struct mp_live_row){.address = address, .size = address ^ site, .site = site, .depth = 7};
}

static bool first_maybe(uint64_t address)
{
    return mp_hot_maybe_sampled((const void *)(uintptr_t)address);
}

static bool maybe(uint64_t address)
{
    return first_maybe(address) && mp_live_maybe(address);
}

/* Each counter says the number of live rows below `end` that map to it, or stands at the bottom. */
static void expect_exact(const struct mp_filter *filter, uint32_t end)
{
    uint64_t size = filter->mask + 1 + second_size(filter->mask + 1);
    uint32_t *counts = test_calloc(size, sizeof *counts);
    for (uint32_t i = 1; i < end; i++) {
        const struct mp_live_row *row = mp_vec_at(&live.rows, i);
        counts[mp_filter_slot(row->address) & filter->mask] += row->address != 0;
        if (filter->second != 0) {
            counts[second_slot(filter, row->address)] += row->address != 0;
        }
    }
    for (uint64_t slot = 0; slot < size; slot++) {
        uint32_t said = MP_FILTER_NONE - filter->counts[slot];
        if (said != counts[slot] && filter->counts[slot] != 0) {
            fail_msg("slot %lu: %u, not %u", (unsigned long)slot, said, counts[slot]);
        }
    }
    test_free(counts);
}

static void nothing_is_live_at_first(void **state)
{
    (void)state;
    struct mp_live_row row;
    done(state);
    for (uint64_t address = 0; address < 1 << 20; address += 16) {
        assert_false(maybe(address));
    }
    assert_false(maybe(UINT64_MAX));
    assert_int_equal(fresh(state), MP_OK);
    assert_false(maybe(16));
    assert_false(mp_live_remove(&live, 16, &row));
}

static void random_life_is_as_the_model_says(void **state)
{
    (void)state;
    enum { ADDRESSES = 60000 };
    static uint32_t model[ADDRESSES]; /* site; 0: not live */
    uint64_t seed = 11, lives = 0;
    memset(model, 0, sizeof model);
    for (uint32_t step = 1; step <= 600000; step++) {
        uint32_t which = suite_below(&seed, ADDRESSES);
        uint64_t address = 0x7F1234560000ull + (uint64_t)which * 16;
        bool shrink = step > 400000 && suite_below(&seed, 3) != 0;
        struct mp_live_row row, old = {0};
        if (suite_below(&seed, 3) != 0 && !shrink) {
            row = row_of(address, step);
            int result = mp_live_insert(&live, &row, &old);
            assert_int_equal(result, model[which] != 0);
            if (result == 1) {
                assert_int_equal(old.site, model[which]);
                assert_true(old.address == address && old.size == (address ^ model[which]));
            }
            lives += model[which] == 0;
            model[which] = step;
            assert_true(maybe(address));
        } else {
            assert_int_equal(mp_live_remove(&live, address, &row), model[which] != 0);
            if (model[which] != 0) {
                assert_true(row.site == model[which] && row.size == (address ^ model[which]) && row.depth == 7);
                lives--;
            }
            model[which] = 0;
        }
        if (step % 50000 == 0) {
            for (uint32_t i = 0; i < ADDRESSES; i++) {
                assert_true(model[i] == 0 || maybe(0x7F1234560000ull + (uint64_t)i * 16));
            }
            expect_exact(filter_now(), live.rows.count);
        }
        assert_int_equal(live.index.rows, lives);
    }
    assert_true(live.rows.count <= ADDRESSES + 1); /* rows are used again */
}

/* Every insertion while the filter grows: the old one and the part of the new one are exact. */
static void the_filter_grows_in_small_steps(void **state)
{
    (void)state;
    uint64_t seed = 5;
    uint32_t growing = 0;
    for (uint32_t i = 1; i <= 210000; i++) {
        struct mp_live_row old, row = row_of((uint64_t)i * 4096 + 64, i);
        assert_int_equal(mp_live_insert(&live, &row, &old), MP_OK);
        bool before = live.next_filter != NULL;
        growing += before;
        if (suite_below(&seed, 3) == 0) { /* one goes that may be counted in both, in one, or be gone */
            mp_live_remove(&live, (uint64_t)(1 + suite_below(&seed, i)) * 4096 + 64, &old);
        }
        if (live.next_filter != NULL && live.filled > 1 && (growing < 896 ? growing % 16 == 0 : growing % 1024 == 0)) { /* small filters, and the largest */
            expect_exact(live.next_filter, live.filled);
            expect_exact(filter_now(), live.rows.count);
        }
    }
    assert_true(growing > 4000);
    assert_true(filter_now()->mask + 1 > FILTER_LARGE);
    assert_true((uint64_t)live.index.rows * 4 <= filter_now()->mask);
    expect_exact(filter_now(), live.rows.count);
    for (uint32_t i = 1; i < live.rows.count; i++) {
        const struct mp_live_row *row = mp_vec_at(&live.rows, i);
        assert_true(row->address == 0 || maybe(row->address));
    }
}

/* A free that read the filter's address, and goes on when larger ones have long replaced it. */
static void a_replaced_filter_takes_no_memory_and_says_maybe(void **state)
{
    (void)state;
    const uint64_t never = 0x7F1234567890;
    const struct mp_filter *first = filter_now();
    assert_false(maybe(never));
    int replaced = 0;
    for (uint32_t i = 1; i <= 40000; i++) {
        const struct mp_filter *before = filter_now();
        size_t mapped = mp_sys_mapped(), its = filter_bytes(before->mask + 1);
        struct mp_live_row old, row = row_of((uint64_t)i * 4096, i);
        assert_int_equal(mp_live_insert(&live, &row, &old), MP_OK);
        if (filter_now() != before) {
            replaced++;
            assert_int_equal(mp_sys_mapped(), mapped - its);
        }
    }
    assert_int_equal(replaced, 3);
    assert_false(maybe(never));
    const struct mp_filter *now = mp_live_filter;
    mp_live_filter = first;
    assert_true(maybe(never) && maybe(UINT64_MAX));
    mp_live_filter = now;
}

/* malloc's arenas begin at multiples of 64 MiB: threads that do the same work have their blocks at the same places in them. */
static void arenas_do_not_share_counters(void **state)
{
    (void)state;
    const uint64_t first = 0x7F1200000000, arena = 64 << 20;
    for (uint64_t block = 0; block < 100; block++) {
        struct mp_live_row old, row = row_of(first + 0x8D0 + block * 272, 1);
        assert_int_equal(mp_live_insert(&live, &row, &old), MP_OK);
    }
    for (uint64_t other = 1; other <= 16; other++) {
        for (uint64_t block = 0; block < 100; block++) {
            assert_false(first_maybe(first + other * arena + 0x8D0 + block * 272));
        }
    }
}

/* Up to 16,000 samples, 2 GiB at the usual rate. */
static void few_frees_look_further(void **state)
{
    (void)state;
    enum { FREES = 100000 };
    uint64_t seed = 23;
    for (uint32_t i = 1; i <= 16000; i++) {
        struct mp_live_row old, row = row_of((uint64_t)suite_below(&seed, 1u << 27) * 16, i);
        assert_true(mp_live_insert(&live, &row, &old) >= 0);
        if (i % 1000 == 0 && live.next_filter == NULL) {
            uint32_t further = 0, lock_takers = 0;
            for (uint32_t n = 0; n < FREES; n++) {
                uint64_t address = (uint64_t)suite_below(&seed, 1u << 27) * 16 + 8;
                further += first_maybe(address);
                lock_takers += maybe(address);
            }
            assert_in_range(further, 1, FREES / 15);
            assert_in_range(lock_takers, 0, FREES / 240);
        }
    }
    assert_true(filter_now()->mask + 1 < FILTER_LARGE || live.next_filter != NULL);
}

/* A pinned address is asked about in every filter. */
static void pins_stay(void **state)
{
    (void)state;
    const uint64_t pinned = 0x7F5500001230;
    mp_live_pin(pinned);
    for (uint32_t i = 1; i <= 140000; i++) {
        struct mp_live_row old, row = row_of((uint64_t)i * 4096, i);
        assert_true(maybe(pinned));
        assert_int_equal(mp_live_insert(&live, &row, &old), MP_OK);
    }
    assert_true(filter_now()->second == 0);
    pin_count = 0;
}

/* Addresses 2^36 apart share a counter of 2^16. */
static void counters_stick_at_the_bottom(void **state)
{
    (void)state;
    struct mp_live_row row;
    for (uint64_t i = 1; i <= 300; i++) {
        struct mp_live_row added = row_of(i << 36, (uint32_t)i);
        assert_int_equal(mp_live_insert(&live, &added, &row), MP_OK);
        uint8_t count = filter_now()->counts[0];
        assert_int_equal(count, i < MP_FILTER_NONE ? MP_FILTER_NONE - i : 0);
    }
    for (uint64_t i = 1; i <= 300; i++) {
        assert_true(maybe(i << 36));
        assert_true(mp_live_remove(&live, i << 36, &row));
        assert_int_equal(filter_now()->counts[0], 0);
    }
    assert_true(first_maybe(1ull << 36)); /* a "maybe" for nothing: the safe direction */
    assert_false(maybe(1ull << 36));
    assert_int_equal(live.index.rows, 0);
    for (uint64_t i = 1; i <= 20000; i++) { /* a larger filter counts anew */
        struct mp_live_row added = row_of(0x200000 + i * 16, 1);
        assert_int_equal(mp_live_insert(&live, &added, &row), MP_OK);
    }
    assert_true(filter_now()->mask > 0xFFFF);
    expect_exact(filter_now(), live.rows.count);
    assert_false(first_maybe(1ull << 36));
}

static void memory_refused_is_safe(void **state)
{
    done(state);
    for (int granted = 0; granted < 16; granted++) {
        struct mp_live_row old;
        mp_sys_map_fail_after(granted);
        if (mp_live_init(&live) == MP_OK) {
            assert_true(granted >= 3);
            uint32_t refused = 0;
            for (uint32_t i = 1; i <= 20000; i++) {
                struct mp_live_row row = row_of((uint64_t)i * 528, i);
                int result = mp_live_insert(&live, &row, &old);
                assert_true(result == MP_OK || result == MP_ERR_MEMORY);
                refused += result != MP_OK;
                assert_true(result != MP_OK || maybe(row.address));
            }
            assert_int_equal(live.index.rows, 20000 - refused);
            expect_exact(filter_now(), live.rows.count);
            for (uint32_t i = 1; i <= 20000; i++) {
                refused -= !mp_live_remove(&live, (uint64_t)i * 528, &old);
            }
            assert_int_equal(refused, 0);
            assert_int_equal(live.index.rows, 0);
        }
        done(state);
    }
    assert_int_equal(fresh(state), MP_OK);
}

enum { THREADS = 4, OWN = 8000 }; /* half of them live: the filter grows under way */

static struct mp_lock lock;
static uint32_t false_noes, wrong_rows;

/* Owns its blocks, as a program's thread does: looks without the lock, inserts and removes with it. */
static void *churn(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument, seed = number + 1;
    bool mine[OWN] = {false};
    for (uint32_t step = 0; step < 60000; step++) {
        uint32_t which = suite_below(&seed, OWN);
        uint64_t address = (number * OWN + which) * 64 + 0x10000;
        struct mp_live_row row = row_of(address, which), old;
        if (mine[which] && !maybe(address)) {
            __atomic_fetch_add(&false_noes, 1, __ATOMIC_RELAXED);
        }
        mp_lock_take(&lock);
        bool right = mine[which] ? mp_live_remove(&live, address, &old) && old.site == which
                                 : mp_live_insert(&live, &row, &old) == MP_OK;
        mp_lock_release(&lock);
        if (!right) {
            __atomic_fetch_add(&wrong_rows, 1, __ATOMIC_RELAXED);
        }
        mine[which] = !mine[which];
    }
    return NULL;
}

static void threads_get_no_false_no(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    false_noes = wrong_rows = 0;
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(false_noes, 0);
    assert_int_equal(wrong_rows, 0);
    assert_true(filter_now()->mask > 0xFFFF);
    expect_exact(filter_now(), live.rows.count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_live_at_first, fresh, done),
        cmocka_unit_test_setup_teardown(random_life_is_as_the_model_says, fresh, done),
        cmocka_unit_test_setup_teardown(the_filter_grows_in_small_steps, fresh, done),
        cmocka_unit_test_setup_teardown(a_replaced_filter_takes_no_memory_and_says_maybe, fresh, done),
        cmocka_unit_test_setup_teardown(arenas_do_not_share_counters, fresh, done),
        cmocka_unit_test_setup_teardown(few_frees_look_further, fresh, done),
        cmocka_unit_test_setup_teardown(pins_stay, fresh, done),
        cmocka_unit_test_setup_teardown(counters_stick_at_the_bottom, fresh, done),
        cmocka_unit_test_setup_teardown(memory_refused_is_safe, fresh, done),
        cmocka_unit_test_setup_teardown(threads_get_no_false_no, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
