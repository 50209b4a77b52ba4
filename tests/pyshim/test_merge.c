/* SPDX-License-Identifier: MIT
 * Tests of merging two stacks of one thread.
 *
 * A stack is written as letters, nearest first: native frames in lower case, `E` an evaluation loop, `p` one that only calls it; Python's
 * frames in upper case, `|` where a loop ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pyshim/merge.h"

#define FRAMES_MAX 64

static struct mp_py_frame python_frames[FRAMES_MAX];
static struct mp_native_frame native_frames[FRAMES_MAX];
static bool matched;
static uint32_t depth;

static struct mp_py_side python_side(const char *text)
{
    struct mp_py_side side = {.frames = python_frames};
    memset(python_frames, 0, sizeof python_frames);
    for (; *text != '\0'; text++) {
        if (*text != '|') {
            python_frames[side.count++].code = text;
        } else if (side.count == 0) {
            side.evals_before++;
        } else {
            python_frames[side.count - 1].evals++;
        }
    }
    side.depth = side.count;
    return side;
}

static struct mp_native_side native_side(const char *text)
{
    struct mp_native_side side = {.frames = native_frames, .whole = true};
    for (; *text != '\0'; text++) {
        uint32_t flags = *text == 'E' ? MP_NATIVE_EVAL : *text == 'p' ? MP_NATIVE_PLUMBING : 0;
        native_frames[side.count++] = (struct mp_native_frame){.symbol = (uint32_t)*text, .tag = MP_NATIVE | flags};
    }
    return side;
}

static const char *merge_sides(const struct mp_py_side *python, const struct mp_native_side *native, uint32_t max)
{
    static char text[2 * FRAMES_MAX];
    struct mp_native_frame out[2 * FRAMES_MAX];
    uint32_t count = mp_py_merge(python, native, out, max, &depth, &matched);
    for (uint32_t i = 0; i < count; i++) {
        struct mp_py_frame frame;
        memcpy(&frame, &out[i], sizeof frame);
        text[i] = out[i].tag & MP_NATIVE ? (char)out[i].symbol : *frame.code;
    }
    text[count] = '\0';
    return text;
}

static const char *merge(const char *python, const char *native)
{
    struct mp_py_side a = python_side(python);
    struct mp_native_side b = native_side(native);
    return merge_sides(&a, &b, FRAMES_MAX);
}

static void test_one_loop_a_frame(void **state)
{
    (void)state;
    assert_string_equal(merge("A|B|", "xyEqEstart"), "xyAqBstart");
    assert_true(matched);
    assert_int_equal(depth, 10);
}

static void test_one_loop_runs_many(void **state)
{
    (void)state;
    assert_string_equal(merge("AB|CDE|", "xEyEz"), "xAByCDEz");
    assert_true(matched);
}

static void test_callers_of_the_loop_go(void **state)
{
    (void)state;
    assert_string_equal(merge("A|B|", "xEppyEpz"), "xAyBz");
    assert_string_equal(merge("A|", "pxEpz"), "pxAz"); /* not where it calls none */
}

static void test_loops_without_frames(void **state)
{
    (void)state;
    assert_string_equal(merge("|A|", "xEyEz"), "xyAz"); /* the nearest one's frame is incomplete */
    assert_string_equal(merge("A||B|", "xEyEzEw"), "xAyzBw");
    assert_true(matched);
}

static void test_what_does_not_fit_stays_whole(void **state)
{
    (void)state;
    assert_string_equal(merge("A|B|", "xEyEzEw"), "xAB");
    assert_false(matched);
    assert_string_equal(merge("A|B|C|", "xyEz"), "xyABC");
    assert_false(matched);
    assert_string_equal(merge("AB|", "xyz"), "xyzAB");
    assert_false(matched);
}

static void test_ends_that_were_not_seen(void **state)
{
    (void)state;
    struct mp_py_side python = python_side("A|B|C|");
    struct mp_native_side native = native_side("xEyE");
    native.whole = false; /* the walk broke off */
    assert_string_equal(merge_sides(&python, &native, FRAMES_MAX), "xAyBC");
    assert_true(matched);
    native = native_side("xEyEzEwEv");
    python.depth = 5; /* two frames were not kept */
    assert_string_equal(merge_sides(&python, &native, FRAMES_MAX), "xAyBzCwv");
    assert_true(matched);
}

static void test_one_side_only(void **state)
{
    (void)state;
    assert_string_equal(merge("", "xyz"), "xyz");
    assert_true(matched);
    assert_string_equal(merge("", "xEz"), "xEz"); /* Python's stack could not be read */
    assert_true(matched);
    struct mp_py_side python = python_side("A|B|");
    struct mp_native_side none = {.frames = native_frames};
    assert_string_equal(merge_sides(&python, &none, FRAMES_MAX), "AB");
    assert_true(matched);
}

static void test_limit(void **state)
{
    (void)state;
    struct mp_py_side python = python_side("AB|C|");
    struct mp_native_side native = native_side("xEyEz");
    assert_string_equal(merge_sides(&python, &native, 4), "xABy");
    assert_int_equal(depth, 6);
    assert_string_equal(merge_sides(&python, &native, 6), "xAByCz");
    assert_int_equal(depth, 6);
    native.cut = true;
    native.whole = false;
    assert_string_equal(merge_sides(&python, &native, 6), "xAByCz");
    assert_int_equal(depth, 7); /* at least */
}

/* C code that recurses leaves half of the room to Python, and no more than Python needs. */
static void test_limit_leaves_room_for_python(void **state)
{
    (void)state;
    struct mp_py_side python = python_side("A|BC|D|");
    struct mp_native_side native = native_side("abcdefghEyEzEs");
    assert_string_equal(merge_sides(&python, &native, 6), "abcABC");
    assert_int_equal(depth, 15);
    assert_true(matched);
    assert_string_equal(merge_sides(&python, &native, 10), "abcdefABCD");
    assert_string_equal(merge_sides(&python, &native, 3), "aAB");
    assert_string_equal(merge_sides(&python, &native, 1), "A");
    assert_int_equal(depth, 15);
    native = native_side("abcdefgh"); /* the walk did not come to Python's */
    native.whole = false;
    native.cut = true;
    assert_string_equal(merge_sides(&python, &native, 4), "abAB");
    assert_true(matched);
    assert_int_equal(depth, 12);
    python = python_side("A|");
    native = native_side("abEcdefgh");
    assert_string_equal(merge_sides(&python, &native, 6), "abAcde");
    python = python_side("");
    assert_string_equal(merge_sides(&python, &native, 4), "abEc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_loop_a_frame),     cmocka_unit_test(test_one_loop_runs_many),
        cmocka_unit_test(test_callers_of_the_loop_go), cmocka_unit_test(test_loops_without_frames),
        cmocka_unit_test(test_what_does_not_fit_stays_whole), cmocka_unit_test(test_ends_that_were_not_seen),
        cmocka_unit_test(test_one_side_only),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_leaves_room_for_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
