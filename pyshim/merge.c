/* SPDX-License-Identifier: MIT
 * Two stacks of one thread, made into one: see merge.h.
 *
 * Both are gone through from the nearest frame outwards, so that what lies beyond the end of either does not disturb what
 * was merged before.
 *
 * Context: hook.
 */
#include "pyshim/merge.h"

#include <string.h>

_Static_assert(sizeof(struct mp_py_frame) == sizeof(struct mp_native_frame), "they share their room");
_Static_assert(offsetof(struct mp_py_frame, evals) == offsetof(struct mp_native_frame, tag), "what tells them apart");

struct merged {
    char *out;
    uint32_t max, kept;
    uint32_t depth;       /* as if there was room for all */
    uint32_t native_room; /* native frames that may still be kept */
};

static void emit(struct merged *merged, const void *frame)
{
    if (merged->kept < merged->max) {
        memcpy(merged->out + (size_t)merged->kept++ * sizeof(struct mp_py_frame), frame, sizeof(struct mp_py_frame));
    }
    merged->depth++;
}

static void emit_native(struct merged *merged, const struct mp_native_frame *frame)
{
    if (merged->native_room == 0) {
        merged->depth++;
        return;
    }
    merged->native_room--;
    emit(merged, frame);
}

/* What Python's nearest frames leave: they have half of the room, where they are so many. */
static uint32_t native_room(const struct mp_py_side *python, uint32_t max)
{
    uint32_t half = max - max / 2;
    return max - (python->count < half ? python->count : half);
}

/* Loops seen on both sides are as many as they must be. Where one side was not seen to its end it may have more. */
static bool fits(const struct mp_py_side *python, const struct mp_native_side *native)
{
    uint64_t ran = python->evals_before, found = 0;
    for (uint32_t i = 0; i < python->count; i++) {
        ran += python->frames[i].evals;
    }
    for (uint32_t i = 0; i < native->count; i++) {
        found += (native->frames[i].tag & MP_NATIVE_EVAL) != 0;
    }
    return (found <= ran || python->count < python->depth) && (found >= ran || !native->whole);
}

/* Python's frames from *next on, to the end of a loop. *left: loops that ended with the last of them, and were not seen yet. */
static void emit_run(struct merged *merged, const struct mp_py_side *python, uint32_t *next, uint32_t *left)
{
    if (*left > 0) { /* a loop without frames */
        --*left;
        return;
    }
    while (*next < python->count) {
        const struct mp_py_frame *frame = &python->frames[(*next)++];
        emit(merged, frame);
        if (frame->evals > 0) {
            *left = frame->evals - 1;
            return;
        }
    }
}

uint32_t mp_py_merge(const struct mp_py_side *python, const struct mp_native_side *native, void *out, uint32_t max,
                     uint32_t *ret_depth, bool *ret_matched)
{
    struct merged merged = {.out = out, .max = max, .native_room = native_room(python, max)};
    bool python_ran = python->count > 0 || python->evals_before > 0; /* else the loop is a frame as any other */
    bool matched = !python_ran || fits(python, native), called = false;
    uint32_t next = 0, left = python->evals_before;
    for (uint32_t i = 0; i < native->count; i++) {
        const struct mp_native_frame *frame = &native->frames[i];
        if (python_ran && (frame->tag & MP_NATIVE_EVAL)) {
            if (!matched) {
                break;
            }
            emit_run(&merged, python, &next, &left);
            called = true;
        } else if (!called || !(frame->tag & MP_NATIVE_PLUMBING)) {
            emit_native(&merged, frame);
            called = false;
        }
    }
    while (next < python->count) {
        emit(&merged, &python->frames[next++]);
    }
    *ret_matched = matched;
    *ret_depth = merged.depth + (python->depth - python->count);
    if (native->cut && matched && *ret_depth <= max) {
        *ret_depth = max + 1;
    }
    return merged.kept;
}
