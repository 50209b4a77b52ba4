/* SPDX-License-Identifier: MIT
 * Interned strings: each once, unchanged and in place for ever; long ones, ones that meet a chunk's edge, ones with zeros in
 * them; memory that is refused.
 */
#include "suite.h"

#include <stdio.h>
#include <string.h>

#include "core/strtab.h"

static struct mp_strtab strtab;

static int fresh(void **state)
{
    (void)state;
    return mp_strtab_init(&strtab);
}

static int done(void **state)
{
    mp_vec_release(&strtab.rows);
    mp_index_release(&strtab.index);
    return suite_memory_is_back(state);
}

static int64_t intern(const char *text)
{
    return mp_strtab_intern(&strtab, text, (uint32_t)strlen(text));
}

static void expect_text(int64_t id, const char *text, uint32_t length)
{
    uint32_t got = UINT32_MAX;
    assert_true(id >= 0);
    const char *stored = mp_strtab_get(&strtab, (uint32_t)id, &got);
    assert_int_equal(got, length);
    assert_memory_equal(stored, text, length);
}

static void each_text_once(void **state)
{
    (void)state;
    enum { TEXTS = 30000 };
    static int64_t ids[TEXTS];
    static const char *places[TEXTS];
    char text[32];
    uint32_t length;
    assert_int_equal(intern(""), 0);
    expect_text(0, "", 0);
    for (int i = 0; i < TEXTS; i++) {
        snprintf(text, sizeof text, "name %d", i);
        ids[i] = intern(text);
        assert_int_equal(ids[i], i + 1);
        places[i] = mp_strtab_get(&strtab, (uint32_t)ids[i], &length);
    }
    for (int i = 0; i < TEXTS; i++) {
        snprintf(text, sizeof text, "name %d", i);
        assert_int_equal(intern(text), ids[i]);
        expect_text(ids[i], text, (uint32_t)strlen(text));
        assert_ptr_equal(mp_strtab_get(&strtab, (uint32_t)ids[i], &length), places[i]);
    }
    assert_int_equal(mp_vec_count(&strtab.rows), TEXTS + 1);
}

static void every_byte_counts(void **state)
{
    (void)state;
    char text[64], other[64];
    for (uint32_t length = 1; length <= sizeof text; length++) {
        memset(text, 'x', length);
        int64_t id = mp_strtab_intern(&strtab, text, length);
        for (uint32_t i = 0; i < length; i++) {
            memcpy(other, text, length);
            other[i] = '\0'; /* zeros are bytes as others are */
            int64_t changed = mp_strtab_intern(&strtab, other, length);
            assert_true(changed > 0 && changed != id);
            expect_text(changed, other, length);
        }
        expect_text(id, text, length);
    }
}

static void long_texts_fill_chunks_to_the_brim(void **state)
{
    (void)state;
    static char text[MP_STRING_MAX];
    memset(text, 'a', sizeof text);
    size_t before = mp_sys_mapped();
    for (uint32_t i = 0; i < 64; i++) { /* 16 fill a chunk of 64 KiB with no byte left */
        memcpy(text, &i, sizeof i);
        assert_int_equal(mp_strtab_intern(&strtab, text, MP_STRING_MAX), i + 1);
    }
    assert_int_equal(mp_sys_mapped() - before, 64 * MP_STRING_MAX);
    assert_int_equal(strtab.chunk_left, 0);
    assert_int_equal(mp_strtab_intern(&strtab, "one more", 8), 65);
    for (uint32_t i = 0; i < 64; i++) {
        memcpy(text, &i, sizeof i);
        expect_text(i + 1, text, MP_STRING_MAX);
    }
    for (uint32_t length = MP_STRING_MAX; length > 3000; length -= 7) { /* and past the brim, by every size */
        expect_text(mp_strtab_intern(&strtab, text, length), text, length);
    }
    expect_text(65, "one more", 8);
}

static void memory_refused_leaves_it_whole(void **state)
{
    done(state);
    char text[600];
    memset(text, 'm', sizeof text);
    for (int granted = 0; granted < 12; granted++) {
        mp_sys_map_fail_after(granted);
        if (mp_strtab_init(&strtab) == MP_OK) {
            assert_true(granted >= 2);
            int64_t refused = 0;
            for (int i = 0; i < 3000; i++) {
                int length = snprintf(text, sizeof text, "%d", i);
                text[length] = 'm';
                int64_t id = mp_strtab_intern(&strtab, text, sizeof text);
                assert_true(id > 0 || id == MP_ERR_MEMORY);
                refused += id < 0;
            }
            assert_true(refused > 0);
            mp_sys_map_fail_after(-1);
            int64_t known = mp_vec_count(&strtab.rows) - 1;
            assert_int_equal(known, 3000 - refused);
            for (int i = 0; i < 3000; i++) { /* those it took keep their ids; the others get one now */
                int length = snprintf(text, sizeof text, "%d", i);
                text[length] = 'm';
                expect_text(mp_strtab_intern(&strtab, text, sizeof text), text, sizeof text);
            }
            assert_int_equal(mp_vec_count(&strtab.rows), 3001);
        }
        mp_sys_map_fail_after(-1);
        mp_vec_release(&strtab.rows);
        mp_index_release(&strtab.index);
    }
    assert_int_equal(fresh(state), MP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_text_once, fresh, done),
        cmocka_unit_test_setup_teardown(every_byte_counts, fresh, done),
        cmocka_unit_test_setup_teardown(long_texts_fill_chunks_to_the_brim, fresh, done),
        cmocka_unit_test_setup_teardown(memory_refused_leaves_it_whole, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
