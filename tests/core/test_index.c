/* SPDX-License-Identifier: MIT
 * Linear hashing: at every size each row is in the chain of its hash and nowhere else, whatever was unlinked and
 * whenever the memory for another bucket was refused.
 */
#include "suite.h"

#include <string.h>

#include "core/index.h"

#define ROWS_MAX 60000

static struct row {
    uint32_t hash, link;
    bool in, seen;
} rows[ROWS_MAX];

static uint32_t row_hash(void *owner, uint32_t row)
{
    return ((struct row *)owner)[row].hash;
}

static uint32_t *row_link(void *owner, uint32_t row)
{
    return &((struct row *)owner)[row].link;
}

static const struct mp_index_rows access = {rows, row_hash, row_link};

/* How rows hash: well, all alike, by their low bits only, by their high bits only. */
static uint32_t hash_of(int kind, uint32_t row)
{
    switch (kind) {
    case 0: return mp_hash_u64(row);
    case 1: return 0xDEADBEEFu;
    case 2: return row & 7;
    default: return row << 20;
    }
}

/* Walks every bucket: each row that is in is found once, in the chain that its hash names. */
static void expect_whole(const struct mp_index *index, uint32_t count)
{
    uint32_t found = 0;
    for (uint32_t i = 1; i < count; i++) {
        rows[i].seen = false;
    }
    for (uint32_t bucket = 0; bucket < index->buckets.count; bucket++) {
        uint32_t *head = mp_vec_at(&index->buckets, bucket);
        for (uint32_t row = *head; row != 0; row = rows[row].link) {
            assert_true(row < count && rows[row].in && !rows[row].seen);
            assert_ptr_equal(mp_index_chain(index, rows[row].hash), head);
            rows[row].seen = true;
            found++;
        }
    }
    uint32_t in = 0;
    for (uint32_t i = 1; i < count; i++) {
        in += rows[i].in;
    }
    assert_int_equal(found, in);
    assert_int_equal(index->rows, in);
}

static void insert(struct mp_index *index, uint32_t row, int kind)
{
    rows[row] = (struct row){.hash = hash_of(kind, row), .in = true};
    mp_index_insert(index, &access, row, rows[row].hash);
}

static void unlink_row(struct mp_index *index, uint32_t row)
{
    uint32_t *link = mp_index_chain(index, rows[row].hash);
    while (*link != row) {
        assert_int_not_equal(*link, 0);
        link = &rows[*link].link;
    }
    mp_index_unlink(index, &access, link);
    rows[row].in = false;
}

static void chains_are_right_at_every_size(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct mp_index index;
        assert_int_equal(mp_index_init(&index, 4), MP_OK);
        for (uint32_t row = 1; row < 700; row++) {
            insert(&index, row, kind);
            expect_whole(&index, row + 1);
            assert_true(index.buckets.count <= row + 16);
        }
        for (uint32_t row = 699; row >= 1; row--) {
            unlink_row(&index, row * 346 % 699 + 1); /* every row once: 699 and 346 have no common factor */
            if (row % 10 == 0) {
                expect_whole(&index, 700);
            }
        }
        expect_whole(&index, 700);
        assert_int_equal(index.rows, 0);
        mp_index_release(&index);
    }
}

static void many_rows_come_and_go(void **state)
{
    (void)state;
    struct mp_index index;
    uint64_t seed = 42;
    assert_int_equal(mp_index_init(&index, 10), MP_OK);
    memset(rows, 0, sizeof rows);
    for (int step = 0; step < 400000; step++) {
        uint32_t row = 1 + suite_below(&seed, ROWS_MAX - 1);
        if (!rows[row].in) {
            insert(&index, row, 0);
        } else if (suite_below(&seed, 4) == 0) {
            unlink_row(&index, row);
        }
    }
    expect_whole(&index, ROWS_MAX);
    assert_true(index.buckets.count + 1 >= index.rows); /* chains of one, on average */
    mp_index_release(&index);
}

static void chains_grow_where_no_memory_is(void **state)
{
    (void)state;
    for (int granted = 0; granted <= 8; granted++) {
        struct mp_index index;
        mp_sys_map_fail_after(granted);
        int result = mp_index_init(&index, 4);
        assert_int_equal(result, granted == 0 ? MP_ERR_MEMORY : MP_OK);
        if (result == MP_OK) {
            for (uint32_t row = 1; row < 1000; row++) {
                insert(&index, row, 0);
            }
            assert_true(index.buckets.count <= 16u << (granted - 1));
            expect_whole(&index, 1000);
            mp_sys_map_fail_after(-1); /* it catches up, a bucket an insertion */
            for (uint32_t row = 1000; row < 3000; row++) {
                insert(&index, row, 0);
            }
            assert_true(index.buckets.count >= 2000);
            expect_whole(&index, 3000);
        }
        mp_sys_map_fail_after(-1);
        mp_index_release(&index);
    }
}

/* The mix behind most hashes: over consecutive numbers, aligned addresses and pairs no bucket of 1024 is crowded. */
static void hashes_spread(void **state)
{
    (void)state;
    static uint32_t counts[1024];
    for (int kind = 0; kind < 4; kind++) {
        memset(counts, 0, sizeof counts);
        for (uint64_t i = 0; i < 64 * 1024; i++) {
            uint64_t x = kind == 0   ? i
                         : kind == 1 ? 0x7F0000000000ull + i * 16
                         : kind == 2 ? i << 32 | 7
                                     : 0x550000000000ull + i * 4096;
            counts[mp_hash_u64(x) & 1023]++;
        }
        for (int bucket = 0; bucket < 1024; bucket++) {
            assert_in_range(counts[bucket], 16, 128); /* 64 expected; a binomial's six standard deviations: 48 */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_are_right_at_every_size),
        cmocka_unit_test(many_rows_come_and_go),
        cmocka_unit_test_teardown(chains_grow_where_no_memory_is, suite_memory_is_back),
        cmocka_unit_test(hashes_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
