/* SPDX-License-Identifier: MIT
 * Walks the Python frames of the calling thread.
 *
 * Two loops, because there are two kinds of chain: frame objects (3.8 to 3.10) and interpreter
 * frames (3.11 and later). All else that differs is a number of the layout.
 *
 * What instr means. The offset kept is the one CPython itself asks the line of, at any moment of an
 * instruction, in the running frame and in those suspended in a call:
 * - 3.8 to 3.10: f_lasti, the instruction last begun.
 * - 3.11, 3.12: prev_instr, the code unit before the next instruction: the running one or one of
 *   its inline caches, which have the same line. (_PyInterpreterFrame_LASTI)
 * - 3.13 and later: instr_ptr, the running instruction; in a suspended frame it stays at the call,
 *   and return_offset, which says how far behind it the callee returns to, is not for us.
 *
 * Invariants:
 * - Frames with owner_skip or above are the interpreter's own (the entry of a C call of the
 *   evaluator); their code is None or a stub.
 * - An evaluation loop ends with one of those frames (3.12 and later), with a frame that is_entry
 *   (3.11), or with each frame (3.8 to 3.10). The base frame of a thread (3.15) ends none.
 * - A frame that is not a generator's is incomplete until its first traceable instruction: cells
 *   are being made, or the frame is a trampoline that never gets there. (_PyFrame_IsIncomplete)
 *
 * Context: hook.
 */
#include "pyshim/walk.h"

#include "pyshim/layout_read.h"

#define CODE_UNIT 2

static const char *first_frame(const struct mp_py_layout *layout, const char *tstate)
{
    const char *frame = mp_py_read_ptr(tstate, layout->tstate.frame);

    if (layout->chain == MP_PY_CHAIN_CFRAME && frame != NULL)
        frame = mp_py_read_ptr(frame, layout->tstate.cframe_current);
    return frame;
}

static int walk_objects(const struct mp_py_layout *layout, const char *code_type, const char *frame,
                        struct mp_py_frame *frames, int max, int count_limit)
{
    const size_t previous = layout->frame.previous, code_at = layout->frame.code;
    const size_t instr_at = layout->frame.instr, type_at = layout->object.type;
    int depth = 0;

    for (; frame != NULL && depth < count_limit; frame = mp_py_read_ptr(frame, previous)) {
        const char *code = mp_py_read_ptr(frame, code_at);

        if (code == NULL || mp_py_read_ptr(code, type_at) != code_type)
            continue;
        if (depth < max) {
            int32_t lasti = mp_py_read_i32(frame, instr_at);

            frames[depth].code = code;
            frames[depth].instr = lasti < 0 ? -1 : (int32_t)((uint32_t)lasti * layout->instr_scale);
            frames[depth].evals = 1;
        }
        depth++;
    }
    return depth;
}

/* Where the instructions that this frame runs begin: each thread of a free-threaded build may have
 * its own copy. NULL where the index is none of the code's. */
static const char *thread_instructions(const struct mp_py_layout *layout, const char *code,
                                       const char *frame)
{
    int32_t index = mp_py_read_i32(frame, layout->frame.tlbc_index);
    const char *array;

    if (index == 0)
        return code + layout->code.code_adaptive;
    array = mp_py_read_ptr(code, layout->code.tlbc);
    if (array == NULL || index < 0 || index >= mp_py_read_i64(array, layout->tlbc_array.size))
        return NULL;
    return mp_py_read_ptr(array, layout->tlbc_array.entries + (size_t)index * sizeof(char *));
}

/* An evaluation loop ends here. */
static inline void end_eval(struct mp_py_frame *frames, int depth, int max, uint32_t *evals_before)
{
    if (depth == 0)
        ++*evals_before;
    else if (depth <= max)
        frames[depth - 1].evals++;
}

static int walk_interpreter(const struct mp_py_layout *layout, const char *code_type,
                            const char *frame, const char *base_frame, struct mp_py_frame *frames,
                            int max, int count_limit, uint32_t *evals_before)
{
    const size_t previous = layout->frame.previous, code_at = layout->frame.code;
    const size_t instr_at = layout->frame.instr, owner_at = layout->frame.owner;
    const size_t type_at = layout->object.type, adaptive = layout->code.code_adaptive;
    const size_t traceable_at = layout->code.firsttraceable;
    const size_t entry_at = layout->frame.entry;
    const uintptr_t address = ~(uintptr_t)layout->code_tag_mask;
    const unsigned skip = layout->owner_skip, generator = layout->owner_generator;
    const bool copies = layout->frame.tlbc_index != MP_PY_NONE;
    int depth = 0;

    for (; frame != NULL && depth < count_limit; frame = mp_py_read_ptr(frame, previous)) {
        unsigned owner = (uint8_t)frame[owner_at];
        const char *code, *base;
        intptr_t instr;

        if (owner >= skip) {
            if (frame != base_frame)
                end_eval(frames, depth, max, evals_before);
            continue;
        }
        code = (const char *)((uintptr_t)mp_py_read_ptr(frame, code_at) & address);
        if (code == NULL || mp_py_read_ptr(code, type_at) != code_type)
            continue;
        base = copies ? thread_instructions(layout, code, frame) : code + adaptive;
        instr = base == NULL
                    ? -1
                    : (intptr_t)mp_py_read_ptr(frame, instr_at) - (intptr_t)base;
        if (owner != generator && base != NULL &&
            instr < (intptr_t)mp_py_read_i32(code, traceable_at) * CODE_UNIT) {
            if (entry_at != MP_PY_NONE && frame[entry_at] != 0)
                end_eval(frames, depth, max, evals_before);
            continue;
        }
        if (depth < max) {
            frames[depth].code = code;
            frames[depth].instr = instr < 0 ? -1 : (int32_t)instr;
            frames[depth].evals = entry_at != MP_PY_NONE && frame[entry_at] != 0;
        }
        depth++;
    }
    return depth;
}

int mp_py_walk_evals_nopy(const struct mp_py_layout *layout, const char *code_type,
                          const char *tstate, struct mp_py_frame *frames, int max, int count_limit,
                          int *ret_depth, uint32_t *ret_evals_before)
{
    const char *frame = first_frame(layout, tstate), *base_frame = NULL;
    int depth;

    *ret_evals_before = 0;
    if (layout->tstate.base_frame != MP_PY_NONE)
        base_frame = mp_py_read_ptr(tstate, layout->tstate.base_frame);
    if (layout->chain == MP_PY_CHAIN_FRAME)
        depth = walk_objects(layout, code_type, frame, frames, max, count_limit);
    else
        depth = walk_interpreter(layout, code_type, frame, base_frame, frames, max, count_limit,
                                 ret_evals_before);
    *ret_depth = depth;
    return depth < max ? depth : max;
}

int mp_py_walk_nopy(const struct mp_py_layout *layout, const char *code_type, const char *tstate,
                    struct mp_py_frame *frames, int max, int count_limit, int *ret_depth)
{
    uint32_t evals_before;

    return mp_py_walk_evals_nopy(layout, code_type, tstate, frames, max, count_limit, ret_depth,
                                 &evals_before);
}
