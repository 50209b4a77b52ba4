/* SPDX-License-Identifier: MIT
 * The line decoders: known tables, and damaged ones.
 *
 * The damaged ones are given in blocks of exactly their size, so that an address sanitizer sees a
 * read past the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pyshim/walk.h"

typedef int decoder(const uint8_t *table, size_t size, int firstline, int instr);

/* Decodes from a copy that ends where its block ends. */
static int decode(decoder *lines, const uint8_t *table, size_t size, int firstline, int instr)
{
    uint8_t *copy = malloc(size != 0 ? size : 1);
    int line;

    assert_non_null(copy);
    memcpy(copy, table, size);
    line = lines(copy, size, firstline, instr);
    free(copy);
    return line;
}

#define DECODE(lines, table, firstline, instr)                                                     \
    decode(lines, table, sizeof(table), firstline, instr)

static void lnotab_follows_the_notes(void **state)
{
    /* Objects/lnotab_notes.txt: bytes 0, 6, 50, 350, 361 on lines 1, 2, 7, 207, 208 */
    static const uint8_t table[] = {0, 0, 6, 1, 44, 5, 255, 0, 45, 127, 0, 73, 11, 1};

    (void)state;
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, -1), 1);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 0), 1);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 5), 1);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 6), 2);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 49), 2);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 50), 7);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 349), 7);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 350), 207);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, 361), 208);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 1, INT32_MAX), 208);
}

static void lnotab_goes_backwards(void **state)
{
    static const uint8_t table[] = {2, 10, 2, 0xf8 /* -8 */, 2, 0x80 /* -128: a step as any */};

    (void)state;
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 200, 2), 210);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 200, 4), 202);
    assert_int_equal(DECODE(mp_py_lines_lnotab, table, 200, 6), 74);
}

static void linetable_follows_the_notes(void **state)
{
    /* Ends and line deltas; -128: no line, and the next counts on from before it. */
    static const uint8_t table[] = {6, 0, 44, 1, 0, 5, 200, 127, 10, 0x80, 4, 0xff /* -1 */};

    (void)state;
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, -1), 10);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 0), 10);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 5), 10);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 6), 11);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 50), 143);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 249), 143);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 250), -1);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 260), 142);
    assert_int_equal(DECODE(mp_py_lines_linetable, table, 10, 264), -1);
}

/* The head of a location entry. */
#define ENTRY(kind, units) (0x80 | (kind) << 3 | ((units)-1))

static void locations_of_every_kind(void **state)
{
    static const uint8_t table[] = {
        ENTRY(13, 1), 0x03,                         /* 0: -1 */
        ENTRY(0, 2), 0x11,                          /* 2: the same */
        ENTRY(9, 1), 0x7f,                          /* 6 */
        ENTRY(10, 1), 1, 2,                         /* 8: the same */
        ENTRY(11, 1), 1, 2,                         /* 10: +1 */
        ENTRY(12, 1), 1, 2,                         /* 12: +2 */
        ENTRY(15, 3),                               /* 14: none */
        ENTRY(14, 8), 0x60, 0x07, 0x41, 0x01, 1, 2, /* 20: +(7 << 6 | 32) / 2 = 240 */
        ENTRY(13, 1), 0x41, 0x01,                   /* 36: -(64 / 2) */
    };
    static const struct {
        int instr, line;
    } cases[] = {{-5, 100}, {0, 99},   {1, 99},   {2, 99},   {5, 99},   {6, 99},   {8, 99},
                 {10, 100}, {12, 102}, {14, -1},  {19, -1},  {20, 342}, {35, 342}, {36, 310},
                 {37, 310}, {38, -1},  {9999, -1}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(DECODE(mp_py_lines_locations, table, 100, cases[i].instr), cases[i].line);
}

static void locations_damaged(void **state)
{
    static const uint8_t no_start[] = {0x11, ENTRY(0, 8), 0x11};
    static const uint8_t cut[] = {ENTRY(0, 1), 0x11, ENTRY(13, 8)};
    static const uint8_t cut_number[] = {ENTRY(13, 8), 0x7f, 0x7f};
    static const uint8_t broken_number[] = {ENTRY(13, 8), 0x7f, ENTRY(0, 8), 0x11};
    static const uint8_t long_number[] = {ENTRY(13, 8), 0x42, 0x40, 0x40, 0x40, 0x40, 0x40,
                                          0x40,         0x40, 0x40, 0x40, 0x40, 0x3f};
    static const uint8_t huge_number[] = {ENTRY(13, 8), 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x3f};

    (void)state;
    assert_int_equal(DECODE(mp_py_lines_locations, no_start, 7, 0), -1);
    assert_int_equal(DECODE(mp_py_lines_locations, cut, 7, 0), 7);
    assert_int_equal(DECODE(mp_py_lines_locations, cut, 7, 2), -1);
    assert_int_equal(DECODE(mp_py_lines_locations, cut_number, 7, 0), -1);
    assert_int_equal(DECODE(mp_py_lines_locations, broken_number, 7, 0), -1);
    assert_int_equal(DECODE(mp_py_lines_locations, long_number, 7, 0), 8);
    (void)DECODE(mp_py_lines_locations, huge_number, INT32_MAX, 0);
}

static void nothing_and_halves(void **state)
{
    static const uint8_t half[] = {9};

    (void)state;
    assert_int_equal(decode(mp_py_lines_lnotab, half, 0, 3, 0), 3);
    assert_int_equal(decode(mp_py_lines_lnotab, half, 1, 3, 100), 3);
    assert_int_equal(decode(mp_py_lines_linetable, half, 0, 3, 0), -1);
    assert_int_equal(decode(mp_py_lines_linetable, half, 1, 3, 0), -1);
    assert_int_equal(decode(mp_py_lines_locations, half, 0, 3, 0), -1);
    assert_int_equal(decode(mp_py_lines_locations, half, 1, 3, 0), -1);
}

/* Lines wrap at the ends of int, in every decoder; what comes out does not matter. */
static void lines_wrap(void **state)
{
    static const uint8_t up[] = {2, 127, 2, 127, 2, 127}, down[] = {2, 0x81, 2, 0x81, 2, 0x81};
    static const uint8_t locations[] = {ENTRY(12, 1), 1, 2, ENTRY(12, 1), 1, 2};

    (void)state;
    (void)DECODE(mp_py_lines_lnotab, up, INT32_MAX, 6);
    (void)DECODE(mp_py_lines_lnotab, down, INT32_MIN, 6);
    (void)DECODE(mp_py_lines_linetable, up, INT32_MAX, 5);
    (void)DECODE(mp_py_lines_linetable, down, INT32_MIN, 5);
    (void)DECODE(mp_py_lines_locations, locations, INT32_MAX, 3);
}

/* A code object made by hand: only the fields that are read. */
struct fake_code {
    int firstline;
    const void *table;
};

struct fake_bytes {
    int64_t size;
    uint8_t data[200];
};

static const struct mp_py_layout fake = {
    .lines = MP_PY_LINES_LINETABLE,
    .code = {.firstlineno = offsetof(struct fake_code, firstline),
             .linetable = offsetof(struct fake_code, table)},
    .bytes = {.size = offsetof(struct fake_bytes, size), .data = offsetof(struct fake_bytes, data)},
};

static void code_falls_back_on_its_first_line(void **state)
{
    struct fake_bytes table = {4, {2, 5, 2, 0x80}};
    struct fake_code code = {40, &table};

    (void)state;
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, 0), 45);
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, 2), 40);
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, 4), 40);
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, -1), 40);
    table.size = -1;
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, 0), 40);
    table.size = INT64_MAX;
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, 0), 40);
    code.table = NULL;
    assert_int_equal(mp_py_code_line_nopy(&fake, (char *)&code, 0), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lnotab_follows_the_notes),
        cmocka_unit_test(lnotab_goes_backwards),
        cmocka_unit_test(linetable_follows_the_notes),
        cmocka_unit_test(locations_of_every_kind),
        cmocka_unit_test(locations_damaged),
        cmocka_unit_test(nothing_and_halves),
        cmocka_unit_test(lines_wrap),
        cmocka_unit_test(code_falls_back_on_its_first_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
