/* SPDX-License-Identifier: MIT
 * The walk over frames made by hand, by the tables of each kind of version.
 *
 * For what cannot be had on demand in an interpreter: frames in the act of being made, a thread's
 * own copy of the instructions, chains that are damaged. Objects are blocks of zeros in which only
 * the fields that the table names are set, so a read of anything else finds nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pyshim/validate.h"
#include "pyshim/walk.h"

#define SIZE 512
#define COUNT 6
#define CODE_SIZE 20 /* instructions, in bytes */

static const char code_type[1], str_type[1], bytes_type[1], none_type[1];
static const struct mp_py_layout *layout;

/* A thread with COUNT frames, nearest first, each of its own code. */
static struct {
    char tstate[SIZE], cframe[SIZE], name[SIZE], bytes[SIZE], none[SIZE];
    char code[COUNT][SIZE], frame[COUNT][SIZE], array[COUNT][SIZE], copy[COUNT][CODE_SIZE];
} world;

static void set_ptr(char *object, uint16_t offset, const void *value)
{
    if (offset != MP_PY_NONE)
        memcpy(object + offset, &value, sizeof value);
}

static void set_i32(char *object, uint16_t offset, int32_t value)
{
    if (offset != MP_PY_NONE)
        memcpy(object + offset, &value, sizeof value);
}

static void set_i64(char *object, uint16_t offset, int64_t value)
{
    if (offset != MP_PY_NONE)
        memcpy(object + offset, &value, sizeof value);
}

static void set_owner(int i, int owner)
{
    if (layout->frame.owner != MP_PY_NONE)
        world.frame[i][layout->frame.owner] = (char)owner;
}

/* Bytes into the code's own instructions. */
static void set_instr(int i, int instr)
{
    if (layout->instr_scale != 0)
        set_i32(world.frame[i], layout->frame.instr, instr < 0 ? -1 : instr / layout->instr_scale);
    else
        set_ptr(world.frame[i], layout->frame.instr,
                world.code[i] + layout->code.code_adaptive + instr);
}

static void make_code(int i)
{
    char *code = world.code[i];

    set_ptr(code, layout->object.type, code_type);
    set_ptr(code, layout->code.filename, world.name);
    set_ptr(code, layout->code.name, world.name);
    set_ptr(code, layout->code.qualname, world.name);
    set_ptr(code, layout->code.linetable, world.bytes);
    set_ptr(code, layout->code.bytecode, world.bytes);
    set_i32(code, layout->code.firstlineno, 10 + i);
    set_i32(code, layout->code.firsttraceable, 2);
    set_i64(code, layout->code.size_field, CODE_SIZE / 2);
    set_ptr(code, layout->code.tlbc, world.array[i]);
    set_i64(world.array[i], layout->tlbc_array.size, 1);
    set_ptr(world.array[i], layout->tlbc_array.entries, code + layout->code.code_adaptive);
}

static void make_world(int minor, bool free_threaded)
{
    uint32_t state;

    memset(&world, 0, sizeof world);
    layout = mp_py_layout_find(minor, free_threaded);
    assert_non_null(layout);
    set_ptr(world.none, layout->object.type, none_type);
    set_ptr(world.name, layout->object.type, str_type);
    state = 1u << layout->str.kind_shift | 1u << layout->str.compact_shift |
            1u << layout->str.ascii_shift;
    set_i32(world.name, layout->str.state, (int32_t)state);
    set_i64(world.name, layout->str.length, 5);
    set_ptr(world.bytes, layout->object.type, bytes_type);
    set_i64(world.bytes, layout->bytes.size, CODE_SIZE);
    for (int i = 0; i < COUNT; i++) {
        make_code(i);
        set_ptr(world.frame[i], layout->frame.code, world.code[i]);
        set_ptr(world.frame[i], layout->frame.previous, i + 1 < COUNT ? world.frame[i + 1] : NULL);
        set_instr(i, 4 + 2 * i);
    }
    if (layout->chain == MP_PY_CHAIN_CFRAME) {
        set_ptr(world.tstate, layout->tstate.frame, world.cframe);
        set_ptr(world.cframe, layout->tstate.cframe_current, world.frame[0]);
    } else {
        set_ptr(world.tstate, layout->tstate.frame, world.frame[0]);
    }
}

/* Which codes a walk finds, as digits; -1 where it finds none. */
static int found(struct mp_py_frame *frames, int max, int limit, int *ret_depth)
{
    int kept = mp_py_walk_nopy(layout, code_type, world.tstate, frames, max, limit, ret_depth);
    int digits = -1;

    for (int i = 0; i < kept; i++) {
        int digit = (int)((frames[i].code - world.code[0]) / SIZE);

        digits = i == 0 ? digit : digits * 10 + digit;
    }
    return digits;
}

/* Only what belongs to the world can be read. */
static int read_world(const void *address, void *dst, size_t size)
{
    uintptr_t at = (uintptr_t)address, begin = (uintptr_t)&world;

    if (at < begin || at + size > begin + sizeof world || at + size < at)
        return -1;
    memcpy(dst, address, size);
    return 0;
}

static int validate(void)
{
    return mp_py_validate_stack(layout, code_type, str_type, bytes_type, world.tstate, read_world);
}

static const struct {
    int minor;
    bool free_threaded;
} kinds[] = {{8, false},  {10, false}, {11, false}, {12, false},
             {13, false}, {13, true},  {14, true},  {15, false}};

#define FOR_EACH_KIND                                                                              \
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++)

static void whole_chain(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    FOR_EACH_KIND {
        make_world(kinds[kind].minor, kinds[kind].free_threaded);
        assert_int_equal(found(frames, 8, 100, &depth), 12345);
        assert_int_equal(depth, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(frames[i].instr, 4 + 2 * i);
        assert_int_equal(found(frames, 2, 100, &depth), 1);
        assert_int_equal(depth, COUNT);
        assert_int_equal(found(frames, 8, 3, &depth), 12);
        assert_int_equal(depth, 3);
        assert_int_equal(found(frames, 0, 100, &depth), -1);
        assert_int_equal(depth, COUNT);
        set_ptr(world.tstate, layout->tstate.frame, NULL);
        assert_int_equal(found(frames, 8, 100, &depth), -1);
        assert_int_equal(depth, 0);
    }
}

static void frames_without_code_are_passed_over(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    FOR_EACH_KIND {
        make_world(kinds[kind].minor, kinds[kind].free_threaded);
        set_ptr(world.frame[1], layout->frame.code, world.none);
        set_ptr(world.frame[3], layout->frame.code, NULL);
        assert_int_equal(found(frames, 8, 100, &depth), 245);
        assert_int_equal(depth, 4);
        if (layout->owner_skip == 255)
            continue;
        set_owner(2, layout->owner_skip);
        set_ptr(world.frame[2], layout->frame.code, (void *)16); /* not to be looked at */
        assert_int_equal(found(frames, 8, 100, &depth), 45);
    }
}

static void incomplete_frames_are_passed_over(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    FOR_EACH_KIND {
        make_world(kinds[kind].minor, kinds[kind].free_threaded);
        if (layout->owner_generator == 255)
            continue;
        set_instr(0, -2); /* 3.11, 3.12: the unit before the first */
        set_instr(2, 2);
        set_instr(4, 0);
        set_owner(4, layout->owner_generator);
        assert_int_equal(found(frames, 8, 100, &depth), 1345);
        assert_int_equal(depth, 4);
        assert_int_equal(validate(), 1);
        set_instr(4, -2);
        assert_int_equal(found(frames, 8, 100, &depth), 1345);
        assert_int_equal(frames[2].instr, -1);
    }
}

/* The code below a specialized call of a class (_Py_InitCleanup, 3.13) says it is traceable from
 * behind its own end: never complete, and nothing wrong with it. */
static void stub_is_valid_and_passed_over(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    make_world(13, false);
    set_i32(world.code[2], layout->code.firsttraceable, CODE_SIZE / 2 + 1);
    assert_int_equal(found(frames, 8, 100, &depth), 1345);
    assert_int_equal(validate(), 1);
}

static void objects_not_begun(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    make_world(10, false);
    set_instr(0, -1);
    assert_int_equal(found(frames, 8, 100, &depth), 12345);
    assert_int_equal(frames[0].instr, -1);
}

static void tags_are_taken_off(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    make_world(14, false);
    for (int i = 0; i < COUNT; i++)
        set_ptr(world.frame[i], layout->frame.code, world.code[i] + i % 4);
    assert_int_equal(found(frames, 8, 100, &depth), 12345);
    assert_int_equal(validate(), 1);
}

/* Free-threaded 3.14: the frame may run a copy that belongs to its thread. */
static void instructions_of_the_thread(void **state)
{
    struct mp_py_frame frames[8];
    int depth;

    (void)state;
    make_world(14, true);
    set_i64(world.array[1], layout->tlbc_array.size, 2);
    set_ptr(world.array[1], (uint16_t)(layout->tlbc_array.entries + sizeof(char *)), world.copy[1]);
    set_ptr(world.frame[1], layout->frame.instr, world.copy[1] + 8);
    set_i32(world.frame[1], layout->frame.tlbc_index, 1);
    assert_int_equal(found(frames, 8, 100, &depth), 12345);
    assert_int_equal(frames[1].instr, 8);
    assert_int_equal(validate(), 1);

    set_ptr(world.frame[1], layout->frame.instr, world.copy[1]); /* incomplete there, too */
    assert_int_equal(found(frames, 8, 100, &depth), 2345);

    for (int wrong = -1; wrong <= 2; wrong += 3) {
        set_i32(world.frame[1], layout->frame.tlbc_index, wrong);
        assert_int_equal(found(frames, 8, 100, &depth), 12345);
        assert_int_equal(frames[1].instr, -1);
        assert_int_equal(validate(), -1);
    }
    set_i32(world.frame[1], layout->frame.tlbc_index, 1);
    set_ptr(world.code[1], layout->code.tlbc, NULL);
    assert_int_equal(found(frames, 8, 100, &depth), 12345);
    assert_int_equal(frames[1].instr, -1);
}

static void validation_follows_each_pointer(void **state)
{
    (void)state;
    FOR_EACH_KIND {
        const int minor = kinds[kind].minor;
        const bool free_threaded = kinds[kind].free_threaded;
        static const char garbage[1];

        make_world(minor, free_threaded);
        assert_int_equal(validate(), 1);
        set_ptr(world.tstate, layout->tstate.frame, NULL);
        assert_int_equal(validate(), 0);
        const uint16_t in_code[] = {layout->object.type, layout->code.filename, layout->code.name,
                                    layout->code.linetable};
        for (size_t i = 0; i < sizeof in_code / sizeof in_code[0]; i++) {
            make_world(minor, free_threaded);
            set_ptr(world.code[2], in_code[i], garbage);
            assert_int_equal(validate(), -1);
            set_ptr(world.code[2], in_code[i], NULL);
            assert_int_equal(validate(), -1);
        }
        make_world(minor, free_threaded);
        set_ptr(world.frame[2], layout->frame.previous, garbage);
        assert_int_equal(validate(), -1);
        make_world(minor, free_threaded);
        set_instr(2, CODE_SIZE);
        assert_int_equal(validate(), -1);
        make_world(minor, free_threaded);
        set_i64(world.name, layout->str.length, -5);
        assert_int_equal(validate(), -1);
        make_world(minor, free_threaded);
        set_i64(world.bytes, layout->bytes.size, INT64_MAX);
        assert_int_equal(validate(), -1);
    }
}

static void validation_of_published_offsets(void **state)
{
    const char *text;

    (void)state;
    make_world(13, false);
    memcpy(world.name, "xdebugpy", 8);
    set_i64(world.name, layout->debug.version, 0x030d05f0);
    assert_non_null(mp_py_validate_runtime(layout, world.name, read_world));
    assert_non_null(mp_py_validate_runtime(layout, NULL, read_world));
    assert_non_null(mp_py_validate_runtime(layout, "elsewhere", read_world));
    set_i64(world.name, layout->debug.version, 0x030e00f0);
    text = mp_py_validate_runtime(layout, world.name, read_world);
    assert_non_null(strstr(text, "another version"));
    assert_null(mp_py_validate_runtime(mp_py_layout_find(12, false), NULL, read_world));
}

static void tables_are_found(void **state)
{
    (void)state;
    for (int minor = 8; minor <= 15; minor++) {
        const struct mp_py_layout *with_gil = mp_py_layout_find(minor, false);
        const struct mp_py_layout *without = mp_py_layout_find(minor, true);

        assert_non_null(with_gil);
        assert_int_equal(with_gil->minor, minor);
        assert_false(with_gil->free_threaded);
        assert_true((without != NULL) == (minor >= 13));
    }
    assert_null(mp_py_layout_find(7, false));
    assert_null(mp_py_layout_find(16, false));
    assert_null(mp_py_layout_find(16, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_chain),
        cmocka_unit_test(frames_without_code_are_passed_over),
        cmocka_unit_test(incomplete_frames_are_passed_over),
        cmocka_unit_test(stub_is_valid_and_passed_over),
        cmocka_unit_test(objects_not_begun),
        cmocka_unit_test(tags_are_taken_off),
        cmocka_unit_test(instructions_of_the_thread),
        cmocka_unit_test(validation_follows_each_pointer),
        cmocka_unit_test(validation_of_published_offsets),
        cmocka_unit_test(tables_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
