/* SPDX-License-Identifier: MIT
 * Strings made by hand, in the layout of 3.12: as UTF-8, cut anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pyshim/walk.h"

/* The head of a str: what the layout of 3.12 says lies where. */
struct fake_str {
    int64_t refcount;
    const void *type;
    int64_t length, hash;
    uint32_t state, padding;
    uint8_t data[64]; /* an ASCII str's begin here, another's behind 16 bytes more */
};

#define COMPACT (1u << 5)
#define ASCII (1u << 6)
#define STATE(kind, bits) ((uint32_t)(kind) << 2 | (bits))

static const char type[1], other_type[1];

static struct fake_str make(unsigned kind, unsigned bits, int64_t length, const void *data)
{
    struct fake_str str = {1, type, length, -1, STATE(kind, bits), 0, {0}};

    memcpy(str.data + (bits & ASCII ? 0 : 16), data, (size_t)length * kind);
    return str;
}

static int to_utf8(const struct fake_str *str, char *dst, size_t capacity)
{
    const struct mp_py_layout *layout = mp_py_layout_find(12, false);

    assert_non_null(layout);
    assert_int_equal(layout->str.ascii_data, offsetof(struct fake_str, data));
    return mp_py_str_utf8_nopy(layout, type, (const char *)str, dst, capacity);
}

/* Every capacity: never a byte beyond it, and never half a character. */
static void expect(const struct fake_str *str, const char *utf8)
{
    size_t whole = strlen(utf8);

    for (size_t capacity = 0; capacity <= whole + 1; capacity++) {
        char *dst = malloc(capacity != 0 ? capacity : 1);
        size_t size = capacity < whole ? capacity : whole;

        assert_non_null(dst);
        while (size < whole && ((uint8_t)utf8[size] & 0xc0) == 0x80)
            size--;
        assert_int_equal(to_utf8(str, dst, capacity), size);
        assert_memory_equal(dst, utf8, size);
        free(dst);
    }
}

static void each_kind_becomes_utf8(void **state)
{
    static const uint8_t latin[] = {'a', 0x7f, 0x80, 0xff};
    static const uint16_t two[] = {'a', 0x7ff, 0x800, 0xd800, 0xdfff, 0xffff};
    static const uint32_t four[] = {0x10000, 'a', 0x10ffff, 0xdc80};
    struct fake_str str = make(1, COMPACT | ASCII, 3, "abc");

    (void)state;
    expect(&str, "abc");
    str = make(1, COMPACT, 4, latin);
    expect(&str, "a\x7f\xc2\x80\xc3\xbf");
    str = make(2, COMPACT, 6, two);
    expect(&str, "a\xdf\xbf\xe0\xa0\x80\xed\xa0\x80\xed\xbf\xbf\xef\xbf\xbf");
    str = make(4, COMPACT, 4, four);
    expect(&str, "\xf0\x90\x80\x80"
                 "a\xf4\x8f\xbf\xbf\xed\xb2\x80");
    str = make(1, COMPACT | ASCII, 0, "");
    expect(&str, "");
}

static void what_is_no_character_is_replaced(void **state)
{
    static const uint32_t four[] = {0x110000, 'a', 0xffffffff};
    struct fake_str str = make(4, COMPACT, 3, four);

    (void)state;
    expect(&str, "\xef\xbf\xbd"
                 "a\xef\xbf\xbd");
}

static void what_is_no_compact_str_is_refused(void **state)
{
    const struct mp_py_layout *layout = mp_py_layout_find(12, false);
    struct fake_str str = make(1, COMPACT | ASCII, 3, "abc");
    char dst[8];

    (void)state;
    assert_int_equal(mp_py_str_utf8_nopy(layout, type, NULL, dst, sizeof dst), -1);
    str.type = other_type;
    assert_int_equal(to_utf8(&str, dst, sizeof dst), -1);
    str.type = type;
    str.length = -1;
    assert_int_equal(to_utf8(&str, dst, sizeof dst), -1);
    str.length = 3;
    for (unsigned kind = 0; kind < 8; kind++) {
        str.state = STATE(kind, COMPACT);
        if (kind != 1 && kind != 2 && kind != 4)
            assert_int_equal(to_utf8(&str, dst, sizeof dst), -1);
        str.state = STATE(kind, 0);
        assert_int_equal(to_utf8(&str, dst, sizeof dst), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_becomes_utf8),
        cmocka_unit_test(what_is_no_character_is_replaced),
        cmocka_unit_test(what_is_no_compact_str_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
