/* SPDX-License-Identifier: MIT
 * Modules and native frames: rows that stay, functions once each by module and symbol, whatever the cache of those seen before
 * says; long names cut at the end that says less; memory that is refused.
 */
#include "fresh.h"

#include <string.h>

#include "core/modules.c"

static int fresh(void **state)
{
    (void)state;
    mp_vec_release(&rows); /* of the last profile, as are the functions that are known */
    rows = (struct mp_vec){.item_size = sizeof(struct mp_module), .first_log2 = 8};
    memset(known, 0, sizeof known);
    return fresh_profile(4096, 128);
}

static int done(void **state)
{
    fresh_release();
    return suite_memory_is_back(state);
}

static const char *text_of(uint32_t id, uint32_t *ret_length)
{
    return mp_strtab_get(&mp_profile.strings, id, ret_length);
}

static bool is_text(uint32_t id, const char *text)
{
    uint32_t length;
    const char *found = text_of(id, &length);
    return length == strlen(text) && memcmp(found, text, length) == 0;
}

static void rows_are_as_they_were_added(void **state)
{
    (void)state;
    assert_int_equal(mp_module_count(), 0);
    int64_t first = mp_module_add("/usr/lib/libone.so", "0123abcd", 0x1000, 0x5000, 0x1000);
    int64_t again = mp_module_add("/usr/lib/libone.so", "0123abcd", 0x9000, 0xd000, 0x9000);
    int64_t bare = mp_module_add("", "", 1, 2, 0);
    assert_true(first == 1 && again == 2 && bare == 3);
    assert_int_equal(mp_module_count(), 4);
    const struct mp_module *row = mp_module_get((uint32_t)first);
    assert_true(is_text(row->path, "/usr/lib/libone.so") && is_text(row->build_id, "0123abcd"));
    assert_true(row->start == 0x1000 && row->end == 0x5000 && row->bias == 0x1000);
    assert_int_equal(mp_module_get((uint32_t)again)->path, row->path);
    assert_int_equal(mp_module_get((uint32_t)bare)->path, 0);
    assert_int_equal(mp_module_get((uint32_t)bare)->build_id, 0);
}

static uint32_t function_at(int64_t node)
{
    return ((const struct mp_node *)mp_vec_at(&mp_profile.tree.nodes, (uint32_t)node))->function;
}

/* More symbols than the cache has places: what was driven out of it comes back as the same function. */
static void functions_are_one_a_symbol(void **state)
{
    (void)state;
    enum { SYMBOLS = 10000 };
    static uint32_t first[SYMBOLS];
    uint32_t module = (uint32_t)mp_module_add("/lib/a.so", "", 0, 1u << 20, 0);
    char name[32] = "symbol-00000";
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < SYMBOLS; i++) {
            for (uint32_t digit = 0, rest = i; digit < 5; digit++, rest /= 10) {
                name[11 - digit] = (char)('0' + rest % 10);
            }
            struct mp_native_frame frame = {.address = i * 16, .module = module, .symbol = i + 1, .tag = MP_NATIVE};
            int64_t node = mp_module_node(0, &frame, name);
            assert_true(node > 0);
            if (turn == 0) {
                first[i] = function_at(node);
                assert_true(i == 0 || first[i] != first[i - 1]);
            }
            assert_int_equal(function_at(node), first[i]);
            const struct mp_function *function = mp_vec_at(&mp_profile.tree.functions, first[i]);
            assert_true(is_text(function->name, name) && is_text(function->file, "/lib/a.so"));
            assert_true(function->firstline == MP_FIRSTLINE_NATIVE);
        }
    }
}

/* Code in no module has no file; the same symbol number of another module is another function. */
static void modules_are_told_apart(void **state)
{
    (void)state;
    uint32_t one = (uint32_t)mp_module_add("/lib/b.so", "", 0, 1, 0);
    uint32_t two = (uint32_t)mp_module_add("/lib/c.so", "", 2, 3, 0);
    struct mp_native_frame frame = {.address = 8, .module = one, .symbol = 5, .tag = MP_NATIVE};
    int64_t in_one = mp_module_node(0, &frame, "f");
    frame.module = two;
    int64_t in_two = mp_module_node(0, &frame, "f");
    frame.module = 0;
    int64_t in_none = mp_module_node((uint32_t)in_two, &frame, "[code in no module]");
    assert_true(in_one > 0 && in_two > 0 && in_none > in_two);
    assert_true(function_at(in_one) != function_at(in_two));
    const struct mp_function *none = mp_vec_at(&mp_profile.tree.functions, function_at(in_none));
    assert_int_equal(none->file, 0);
    const struct mp_node *node = mp_vec_at(&mp_profile.tree.nodes, (uint32_t)in_none);
    assert_true(node->parent == in_two && node->line == 8);
}

static void long_names_are_cut(void **state)
{
    (void)state;
    static char text[2 * MP_STRING_MAX + 1];
    memset(text, 'm', sizeof text - 1);
    text[0] = 'b';
    text[sizeof text - 2] = 'e';
    uint32_t module = (uint32_t)mp_module_add(text, "", 0, 1, 0);
    struct mp_native_frame frame = {.address = 1, .module = module, .symbol = 1, .tag = MP_NATIVE};
    int64_t node = mp_module_node(0, &frame, text);
    assert_true(node > 0);
    uint32_t length;
    const char *path = text_of(mp_module_get(module)->path, &length);
    assert_true(length == MP_STRING_MAX && path[0] == 'm' && path[length - 1] == 'e');
    const struct mp_function *function = mp_vec_at(&mp_profile.tree.functions, function_at(node));
    const char *name = text_of(function->name, &length);
    assert_true(length == MP_STRING_MAX && name[0] == 'b' && name[length - 1] == 'm');
    assert_true(mp_profile.counts[MP_NOTE_NAMES_CUT] == 2);
}

/* Every mapping refused from the N-th on: an error or a whole row, never half of one; later it works again. */
static void memory_refused_is_said(void **state)
{
    (void)state;
    char name[32] = "refused-00000";
    for (int after = 0; after < 3; after++) {
        int refused = 0;
        mp_sys_map_fail_after(after);
        for (uint32_t i = 0; i < 60000; i++) {
            for (uint32_t digit = 0, rest = i + (uint32_t)after * 60000; digit < 6; digit++, rest /= 10) {
                name[13 - digit] = (char)('0' + rest % 10);
            }
            int64_t row = mp_module_add(name, name + 7, i, i + 1, 0);
            assert_true(row > 0 || row == MP_ERR_MEMORY || row == MP_ERR_FULL);
            refused += row < 0;
            struct mp_native_frame frame = {.address = i, .module = row > 0 ? (uint32_t)row : 0, .symbol = i + 1};
            int64_t node = mp_module_node(0, &frame, name);
            assert_true(node > 0 || node == MP_ERR_MEMORY || node == MP_ERR_FULL);
            assert_true(row < 0 || is_text(mp_module_get((uint32_t)row)->path, name));
        }
        mp_sys_map_fail_after(-1);
        assert_true(suite_sanitized || refused > 0);
        assert_true(mp_module_add("back", "", 0, 1, 0) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_as_they_were_added, fresh, done),
        cmocka_unit_test_setup_teardown(functions_are_one_a_symbol, fresh, done),
        cmocka_unit_test_setup_teardown(modules_are_told_apart, fresh, done),
        cmocka_unit_test_setup_teardown(long_names_are_cut, fresh, done),
        cmocka_unit_test_setup_teardown(memory_refused_is_said, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
