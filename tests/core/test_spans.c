/* SPDX-License-Identifier: MIT
 * The ordered list of where sampled mappings begin, against a plain table of flags.
 */
#include "suite.h"

#include "core/maths.h"
#include "core/spans.h"
#include "core/sys.h"

enum { SLOTS = 3000 };

static void against_flags(void **state)
{
    (void)state;
    static bool flags[SLOTS];
    uint64_t random = 7;
    uint32_t count = 0;
    for (int step = 0; step < 40000; step++) {
        uint32_t slot = 1 + (uint32_t)(mp_random_next(&random) % (SLOTS - 1));
        if (mp_random_next(&random) % 8 != 0) {
            assert_int_equal(mp_spans_add(slot * 4096ull), MP_OK);
            count += !flags[slot];
            flags[slot] = true;
        } else {
            mp_spans_remove(slot * 4096ull);
            count -= flags[slot];
            flags[slot] = false;
        }
        assert_int_equal(mp_spans_count, count);
        uint32_t asked = 1 + (uint32_t)(mp_random_next(&random) % (SLOTS - 1)), from = asked, below = asked - 1;
        while (from < SLOTS && !flags[from]) {
            from++;
        }
        while (below > 0 && !flags[below]) {
            below--;
        }
        assert_int_equal(mp_spans_from(asked * 4096ull), from < SLOTS ? from * 4096ull : 0);
        assert_int_equal(mp_spans_below(asked * 4096ull), below * 4096ull);
    }
    assert_true(count > 512); /* it grew */
}

static void without_memory(void **state)
{
    (void)state;
    int result = MP_OK;
    mp_sys_map_fail_after(0);
    for (uint64_t start = 1; start < 100000 && result == MP_OK; start++) {
        result = mp_spans_add(start << 30);
    }
    mp_sys_map_fail_after(-1);
    assert_int_equal(result, MP_ERR_MEMORY);
    uint32_t count = mp_spans_count;
    assert_int_equal(mp_spans_add(3ull << 30), MP_OK); /* there */
    assert_int_equal(mp_spans_count, count);
    for (uint64_t start = 1; result != MP_ERR_FULL && start < 200000; start++) {
        result = mp_spans_add(start << 30 | 1);
    }
    assert_int_equal(result, MP_ERR_FULL);
    assert_int_equal(mp_spans_count, MP_SPANS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_flags),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
