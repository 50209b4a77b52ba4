/* SPDX-License-Identifier: MIT
 * The growing array: items keep their addresses and begin as zeros, every segment's edge, memory that is refused and
 * memory given back, the largest size.
 */
#include "suite.h"

#include <string.h>

#include "core/vec.h"

/* Odd on purpose: segments need not be whole pages. */
struct item {
    uint32_t number;
    char rest[9];
};

static void items_stay_where_they_are(void **state)
{
    (void)state;
    enum { ITEMS = 20000 };
    static struct item *where[ITEMS];
    for (uint32_t first_log2 = 4; first_log2 <= 16; first_log2 += 3) {
        size_t before = mp_sys_mapped();
        struct mp_vec vec;
        mp_vec_init(&vec, sizeof(struct item), first_log2);
        assert_int_equal(mp_vec_count(&vec), 0);
        assert_int_equal(mp_sys_mapped(), before);
        for (uint32_t i = 0; i < ITEMS; i++) {
            static const struct item zero;
            assert_int_equal(mp_vec_push(&vec), i);
            assert_int_equal(mp_vec_count(&vec), i + 1);
            where[i] = mp_vec_at(&vec, i);
            assert_memory_equal(where[i], &zero, sizeof zero);
            memset(where[i], 0xA5, sizeof zero);
            where[i]->number = i;
        }
        for (uint32_t i = 0; i < ITEMS; i++) {
            assert_ptr_equal(mp_vec_at(&vec, i), where[i]);
            assert_int_equal(where[i]->number, i);
        }
        mp_vec_release(&vec);
        assert_int_equal(mp_sys_mapped(), before);
        assert_int_equal(mp_vec_push(&vec), 0); /* usable again */
        mp_vec_release(&vec);
    }
}

static void memory_refused_changes_nothing(void **state)
{
    (void)state;
    enum { ITEMS = 5000 };
    for (int granted = 0; granted < 9; granted++) {
        struct mp_vec vec;
        mp_vec_init(&vec, sizeof(uint64_t), 4);
        mp_sys_map_fail_after(granted);
        uint32_t reached = 0;
        while (mp_vec_push(&vec) >= 0) {
            *(uint64_t *)mp_vec_at(&vec, reached) = reached;
            reached++;
        }
        assert_int_equal(reached, granted == 0 ? 0 : 16u << (granted - 1));
        assert_int_equal(mp_vec_push(&vec), MP_ERR_MEMORY);
        assert_int_equal(mp_vec_count(&vec), reached);
        mp_sys_map_fail_after(-1);
        for (uint32_t i = reached; i < ITEMS; i++) {
            assert_int_equal(mp_vec_push(&vec), i);
            *(uint64_t *)mp_vec_at(&vec, i) = i;
        }
        for (uint32_t i = 0; i < ITEMS; i++) {
            assert_true(*(uint64_t *)mp_vec_at(&vec, i) == i);
        }
        mp_vec_release(&vec);
    }
}

static void what_was_never_used_is_spare(void **state)
{
    (void)state;
    struct mp_vec vec;
    mp_vec_init(&vec, sizeof(struct item), 4);
    assert_int_equal(mp_vec_spare(&vec), 0);
    size_t before = mp_sys_mapped();
    for (uint32_t i = 1; i <= 3000; i++) {
        mp_vec_push(&vec);
        assert_int_equal(mp_vec_spare(&vec) + i * sizeof(struct item), mp_sys_mapped() - before);
    }
    mp_vec_release(&vec);
}

static void full_is_said(void **state)
{
    (void)state;
    struct mp_vec vec;
    mp_vec_init(&vec, 1, 4);
    vec.count = 16u << (MP_VEC_SEGMENTS - 1);
    assert_int_equal(mp_vec_push(&vec), MP_ERR_FULL);
    vec.count--;
    assert_int_equal(mp_vec_push(&vec), (16u << (MP_VEC_SEGMENTS - 1)) - 1);
    mp_vec_release(&vec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_stay_where_they_are),
        cmocka_unit_test_teardown(memory_refused_changes_nothing, suite_memory_is_back),
        cmocka_unit_test(what_was_never_used_is_spare),
        cmocka_unit_test(full_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
