/* SPDX-License-Identifier: MIT
 * Compares a layout table with the running interpreter.
 *
 * The published offsets are compared first where there are any; they do not cover all that is read
 * (nothing before 3.13; not firsttraceable, nor the bits of a str's state), so the first
 * stack is gone through as well, field by field, the way a suspicious reader would: every pointer
 * is followed by a read that can fail, every object must have its type, every number its range. A
 * wrong table passes that with a chance that does not matter.
 *
 * Invariants: no memory of the interpreter is read but through the reader that was given.
 * Context: attach; hook.
 */
#include "pyshim/validate.h"

#include <limits.h>
#include <string.h>

#define FRAMES_MAX 64
#define CODE_UNIT 2
#define COOKIE "xdebugpy"

/* No code, line table or name that is real is longer. */
#define LENGTH_MAX (INT64_C(1) << 31)

struct pair {
    uint16_t ours, theirs; /* an offset by our table; where the process publishes its own */
    const char *text;
};

static const char *compare(const struct pair *pairs, size_t count, const char *runtime,
                           mp_py_read read)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value;

        if (pairs[i].ours == MP_PY_NONE || pairs[i].theirs == MP_PY_NONE)
            continue;
        if (read(runtime + pairs[i].theirs, &value, sizeof value) < 0)
            return "the interpreter's own offsets cannot be read";
        if (value != pairs[i].ours)
            return pairs[i].text;
    }
    return NULL;
}

static const char *compare_offsets(const struct mp_py_layout *layout, const char *runtime,
                                   mp_py_read read)
{
#define PAIR(ours, theirs)                                                                         \
    {                                                                                              \
        layout->ours, layout->debug.theirs, "the interpreter has another offset for " #ours        \
    }
    const struct pair pairs[] = {
        PAIR(tstate.frame, tstate_current_frame),
        PAIR(tstate.interp, tstate_interp),
        PAIR(tstate.thread_id, tstate_thread_id),
        PAIR(tstate.native_thread_id, tstate_native_thread_id),
        PAIR(tstate.base_frame, tstate_base_frame),
        PAIR(frame.previous, frame_previous),
        PAIR(frame.code, frame_executable),
        PAIR(frame.instr, frame_instr_ptr),
        PAIR(frame.owner, frame_owner),
        PAIR(frame.tlbc_index, frame_tlbc_index),
        PAIR(code.filename, code_filename),
        PAIR(code.name, code_name),
        PAIR(code.qualname, code_qualname),
        PAIR(code.linetable, code_linetable),
        PAIR(code.firstlineno, code_firstlineno),
        PAIR(code.code_adaptive, code_adaptive),
        PAIR(code.tlbc, code_tlbc),
        PAIR(object.type, object_type),
        PAIR(bytes.size, bytes_size),
        PAIR(bytes.data, bytes_data),
        PAIR(str.state, str_state),
        PAIR(str.length, str_length),
        PAIR(str.ascii_data, str_ascii_size),
        PAIR(str.compact_data, str_compact_size),
    };
#undef PAIR

    return compare(pairs, sizeof pairs / sizeof pairs[0], runtime, read);
}

const char *mp_py_validate_runtime(const struct mp_py_layout *layout, const char *runtime,
                                   mp_py_read read)
{
    char cookie[sizeof COOKIE - 1];
    uint64_t version, free_threaded;

    if (layout->debug.version == MP_PY_NONE)
        return NULL;
    if (runtime == NULL || read(runtime, cookie, sizeof cookie) < 0 ||
        read(runtime + layout->debug.version, &version, sizeof version) < 0 ||
        read(runtime + layout->debug.free_threaded, &free_threaded, sizeof free_threaded) < 0)
        return "the interpreter's own offsets cannot be read";
    if (memcmp(cookie, COOKIE, sizeof cookie) != 0)
        return "the interpreter does not publish its offsets";
    if (version >> 24 != 3 || ((version >> 16) & 0xff) != layout->minor)
        return "the interpreter's offsets are of another version";
    if ((free_threaded != 0) != layout->free_threaded)
        return "the interpreter's offsets are of another build (free threading)";
    return compare_offsets(layout, runtime, read);
}

/* What one validation needs everywhere. */
struct check {
    const struct mp_py_layout *layout;
    const char *code_type, *str_type, *bytes_type;
    mp_py_read read;
};

static bool get_ptr(const struct check *check, const char *object, size_t offset,
                    const char **ret_value)
{
    return check->read(object + offset, ret_value, sizeof *ret_value) >= 0;
}

static bool get_i32(const struct check *check, const char *object, size_t offset,
                    int32_t *ret_value)
{
    return check->read(object + offset, ret_value, sizeof *ret_value) >= 0;
}

static bool get_length(const struct check *check, const char *object, size_t offset,
                       int64_t *ret_value)
{
    return check->read(object + offset, ret_value, sizeof *ret_value) >= 0 && *ret_value >= 0 &&
           *ret_value <= LENGTH_MAX;
}

static bool has_type(const struct check *check, const char *object, const char *type)
{
    const char *found;

    return object != NULL && get_ptr(check, object, check->layout->object.type, &found) &&
           found == type;
}

/* The last byte of what an object says it holds can be read. */
static bool has_end(const struct check *check, const char *data, uint64_t size)
{
    char last;

    return size == 0 || check->read(data + size - 1, &last, 1) >= 0;
}

static bool is_bytes(const struct check *check, const char *object, int64_t *ret_size)
{
    return has_type(check, object, check->bytes_type) &&
           get_length(check, object, check->layout->bytes.size, ret_size) &&
           has_end(check, object + check->layout->bytes.data, (uint64_t)*ret_size);
}

static bool is_str(const struct check *check, const char *object)
{
    const struct mp_py_layout *layout = check->layout;
    int32_t word;
    int64_t length;
    uint32_t state, kind;
    size_t header;

    if (!has_type(check, object, check->str_type) ||
        !get_length(check, object, layout->str.length, &length) ||
        !get_i32(check, object, layout->str.state, &word))
        return false;
    state = (uint32_t)word;
    kind = (state >> layout->str.kind_shift) & layout->str.kind_mask;
    header = (state >> layout->str.ascii_shift) & 1 ? layout->str.ascii_data
                                                    : layout->str.compact_data;
    return (state >> layout->str.compact_shift) & 1 && (kind == 1 || kind == 2 || kind == 4) &&
           has_end(check, object + header, (uint64_t)length * kind);
}

static bool has_str(const struct check *check, const char *object, uint16_t offset)
{
    const char *str;

    return offset == MP_PY_NONE ||
           (get_ptr(check, object, offset, &str) && is_str(check, str));
}

/* The names, the line table and the length of the instructions, in bytes. */
static bool check_code(const struct check *check, const char *code, int64_t *ret_size)
{
    const struct mp_py_layout *layout = check->layout;
    const char *bytes;
    int64_t table_size;
    int32_t firstline;

    if (!has_str(check, code, layout->code.filename) || !has_str(check, code, layout->code.name) ||
        !has_str(check, code, layout->code.qualname) ||
        !get_ptr(check, code, layout->code.linetable, &bytes) ||
        !is_bytes(check, bytes, &table_size) ||
        !get_i32(check, code, layout->code.firstlineno, &firstline) || firstline < 0)
        return false;
    if (layout->code.bytecode != MP_PY_NONE)
        return get_ptr(check, code, layout->code.bytecode, &bytes) &&
               is_bytes(check, bytes, ret_size);
    if (!get_length(check, code, layout->code.size_field, ret_size))
        return false;
    *ret_size *= CODE_UNIT;
    return has_end(check, code + layout->code.code_adaptive, (uint64_t)*ret_size);
}

/* Where the instructions of a frame of 3.11 or later begin. */
static bool get_base(const struct check *check, const char *frame, const char *code,
                     const char **ret_base)
{
    const struct mp_py_layout *layout = check->layout;
    const char *array;
    int64_t size;
    int32_t index = 0;

    *ret_base = code + layout->code.code_adaptive;
    if (layout->frame.tlbc_index == MP_PY_NONE)
        return true;
    if (!get_i32(check, frame, layout->frame.tlbc_index, &index) || index < 0 ||
        !get_ptr(check, code, layout->code.tlbc, &array) || array == NULL ||
        !get_length(check, array, layout->tlbc_array.size, &size) || index >= size)
        return false;
    return get_ptr(check, array, layout->tlbc_array.entries + (size_t)index * sizeof array,
                   ret_base);
}

/* The instruction lies inside the code. 1: whole; 0: fits but is incomplete; -1: does not fit. The
 * first traceable one need not: that of _Py_InitCleanup, a stub, is behind its end. */
static int check_instr(const struct check *check, const char *frame, const char *code, int owner,
                       int64_t code_size)
{
    const struct mp_py_layout *layout = check->layout;
    const char *base, *at;
    int32_t lasti, traceable;
    int64_t instr;

    if (layout->code.firsttraceable == MP_PY_NONE) {
        if (!get_i32(check, frame, layout->frame.instr, &lasti))
            return -1;
        return lasti >= -1 && (int64_t)lasti * layout->instr_scale < code_size ? 1 : -1;
    }
    if (!get_base(check, frame, code, &base) ||
        !get_ptr(check, frame, layout->frame.instr, &at) ||
        !get_i32(check, code, layout->code.firsttraceable, &traceable) || traceable < 0)
        return -1;
    instr = (intptr_t)at - (intptr_t)base;
    if (instr < -CODE_UNIT || instr >= code_size || instr % CODE_UNIT != 0)
        return -1;
    return owner == layout->owner_generator || instr >= (int64_t)traceable * CODE_UNIT;
}

/* 1: a whole frame; 0: one that the walk passes over; -1: does not fit. */
static int check_frame(const struct check *check, const char *frame)
{
    const struct mp_py_layout *layout = check->layout;
    const char *code;
    int64_t code_size;
    uint8_t owner = 0;

    if (layout->frame.owner != MP_PY_NONE) {
        if (check->read(frame + layout->frame.owner, &owner, sizeof owner) < 0 || owner > 15)
            return -1;
        if (owner >= layout->owner_skip)
            return 0;
    }
    if (!get_ptr(check, frame, layout->frame.code, &code))
        return -1;
    code = (const char *)((uintptr_t)code & ~(uintptr_t)layout->code_tag_mask);
    if (!has_type(check, code, check->code_type) || !check_code(check, code, &code_size))
        return -1;
    return check_instr(check, frame, code, owner, code_size);
}

int mp_py_validate_stack(const struct mp_py_layout *layout, const char *code_type,
                         const char *str_type, const char *bytes_type, const char *tstate,
                         mp_py_read read)
{
    const struct check check = {layout, code_type, str_type, bytes_type, read};
    const char *frame;
    bool found = false;

    if (!get_ptr(&check, tstate, layout->tstate.frame, &frame))
        return -1;
    if (layout->chain == MP_PY_CHAIN_CFRAME && frame != NULL &&
        !get_ptr(&check, frame, layout->tstate.cframe_current, &frame))
        return -1;
    for (int i = 0; frame != NULL && i < FRAMES_MAX; i++) {
        int fits = check_frame(&check, frame);

        if (fits < 0)
            return -1;
        found = found || fits > 0;
        if (!get_ptr(&check, frame, layout->frame.previous, &frame))
            return -1;
    }
    return found;
}
