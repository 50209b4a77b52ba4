/* SPDX-License-Identifier: MIT
 * Ranges that are unmapped: exact where every mapping is recorded, unbiased where they are drawn.
 */
#include "fresh.h"

#include <math.h>

#include "core/unmap.h"

#define BYTES 4096ull /* a page */

enum { PAGES = 600 };

static uint64_t live(void)
{
    return (uint64_t)mp_profile.sites.live_bytes;
}

static bool unmap(uint64_t low, uint64_t high)
{
    struct mp_unmapped lost = {0};
    mp_unmap(low, high, &lost);
    return lost.count != 0;
}

static void map_at(uint64_t page, uint64_t pages)
{
    fresh_alloc_in(MP_DOMAIN_MMAP, page * BYTES, pages * BYTES);
}

static void in_all_positions(void **state)
{
    (void)state;
    struct mp_live_row row;
    for (uint64_t low = 8; low < 22; low++) {
        for (uint64_t high = low + 1; high < 24; high++) {
            map_at(10, 10);
            uint64_t first = low > 10 ? low : 10, last = high < 20 ? high : 20;
            uint64_t lost = last > first ? last - first : 0;
            assert_int_equal(unmap(low * BYTES, high * BYTES), lost != 0);
            assert_int_equal(live(), (10 - lost) * BYTES);
            assert_int_equal(mp_steer_find((void *)(10 * BYTES), &row), first > 10 || lost == 0);
            assert_true(lost == 0 || mp_steer_find((void *)(last * BYTES), &row) == (last < 20));
            unmap(1 * BYTES, 100 * BYTES);
            assert_int_equal(live(), 0);
            assert_int_equal(mp_spans_count, 0);
        }
    }
}

/* A size that is no multiple of a page takes whole pages; blocks of others between mappings are left alone. */
static void pages_are_whole(void **state)
{
    (void)state;
    fresh_alloc_in(MP_DOMAIN_MMAP, 10 * BYTES, 5000);
    fresh_alloc_in(MP_DOMAIN_MALLOC, 12 * BYTES + 16, 100);
    map_at(14, 1);
    assert_false(unmap(12 * BYTES, 14 * BYTES));
    assert_int_equal(live(), 5000 + 100 + BYTES);
    assert_true(unmap(11 * BYTES, 11 * BYTES + 1));
    assert_int_equal(live(), BYTES + 100 + BYTES);
    assert_true(unmap(10 * BYTES, 15 * BYTES));
    assert_int_equal(live(), 100);
    assert_false(unmap(10 * BYTES, 15 * BYTES));
}

static void against_a_table_of_pages(void **state)
{
    (void)state;
    static bool mapped[PAGES + 40];
    uint64_t random = 3;
    for (int step = 0; step < 20000; step++) {
        uint64_t page = 1 + mp_random_next(&random) % PAGES, pages = 1 + mp_random_next(&random) % 30;
        bool map = mp_random_next(&random) % 2;
        unmap(page * BYTES, (page + pages) * BYTES); /* as MAP_FIXED does, too */
        if (map) {
            map_at(page, pages);
        }
        memset(&mapped[page], map, pages);
        uint64_t count = 0;
        for (int i = 0; i < PAGES + 40; i++) {
            count += mapped[i];
        }
        assert_int_equal(live(), count * BYTES);
    }
    assert_int_equal(mp_profile.counts[MP_NOTE_REPLACED], 0);
    assert_int_equal(mp_spans_count, mp_profile.live.index.rows);
}

/* Half of each of many small mappings goes: what is left is estimated without bias, and within the error that is stated. */
static void unbiased_when_drawn(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(64 * 1024, 128), MP_OK);
    enum { MAPPINGS = 20000, SIZE = 8, LEFT = 3 };
    for (uint64_t i = 0; i < MAPPINGS; i++) {
        map_at(1 + 10 * i, SIZE);
    }
    for (uint64_t i = 0; i < MAPPINGS; i++) {
        if (i % 2 != 0) {
            unmap((1 + 10 * i) * BYTES, (1 + 10 * i + SIZE - LEFT) * BYTES);
        } else {
            unmap((1 + 10 * i + LEFT) * BYTES, (1 + 10 * i + SIZE) * BYTES);
        }
    }
    double truth = (double)MAPPINGS * LEFT * BYTES, error = (double)live() - truth;
    assert_true(fabs(error) < 4 * sqrt(mp_profile.sites.live_var));
    assert_true(sqrt(mp_profile.sites.live_var) < truth / 20);
}

/* What the kernel refused is as it was: exactly where every mapping is recorded. */
static void undone(void **state)
{
    (void)state;
    uint64_t random = 9;
    for (int round = 0; round < 300; round++) {
        for (uint64_t i = 0; i < 6; i++) {
            map_at(10 + 10 * i, 1 + mp_random_next(&random) % 10);
        }
        uint64_t before = live(), rows = mp_profile.live.index.rows;
        uint64_t low = 8 + mp_random_next(&random) % 40, high = low + 1 + mp_random_next(&random) % 40;
        struct mp_unmapped lost = {0};
        mp_unmap(low * BYTES, high * BYTES, &lost);
        assert_true((live() < before) == (lost.count != 0));
        mp_unmap_undo(&lost);
        assert_int_equal(live(), before);
        assert_int_equal(mp_profile.live.index.rows, rows);
        assert_int_equal(mp_spans_count, rows);
        unmap(BYTES, 1000 * BYTES);
        assert_int_equal(live(), 0);
    }
}

/* Of more mappings than there is room for, as many are put back as there is. */
static void undone_in_part(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        map_at(10 + i, 1);
    }
    struct mp_unmapped lost = {0};
    mp_unmap(10 * BYTES, 30 * BYTES, &lost);
    assert_int_equal(lost.count, 20);
    mp_unmap_undo(&lost);
    assert_int_equal(live(), MP_UNMAP_ROWS * BYTES);
}

static void thinned_and_cleared_rows_leave_no_trap(void **state)
{
    (void)state;
    struct mp_live_row row;
    map_at(10, 10);
    map_at(30, 10);
    assert_true(mp_live_remove(&mp_profile.live, 10 * BYTES, &row));
    mp_sample_account_locked(&row, -1, 0);
    assert_false(unmap(12 * BYTES, 14 * BYTES));
    assert_int_equal(mp_spans_count, 1);
    mp_steer_clear();
    assert_false(unmap(30 * BYTES, 40 * BYTES));
    assert_int_equal(mp_spans_count, 0);
    map_at(10, 10);
    mp_tls.inside = true;
    assert_false(unmap(10 * BYTES, 20 * BYTES));
    mp_tls.inside = false;
    assert_int_equal(mp_profile.counts[MP_LOST_FREES], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_all_positions, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(pages_are_whole, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(against_a_table_of_pages, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(unbiased_when_drawn, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(undone, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(undone_in_part, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(thinned_and_cleared_rows_leave_no_trap, fresh_exact, fresh_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
