/* SPDX-License-Identifier: MIT
 * Two stacks of one thread, Python's and the machine's, made into one.
 *
 * Each activation of the evaluation loop on the native stack is replaced by the Python frames it ran, with the functions
 * that do nothing but call it. The walk says where a loop's frames end (walk.h, evals).
 *
 * Invariants: no Python frame is ever left out but beyond the limit, and their order is kept. Python's nearest frames have at least
 * half of the room, so that C code that recurses does not take the line that a block is known by.
 * Context: hook.
 */
#ifndef MP_PYSHIM_MERGE_H
#define MP_PYSHIM_MERGE_H

#include "core/modules.h"
#include "pyshim/walk.h"

struct mp_py_side {
    const struct mp_py_frame *frames;
    uint32_t count;        /* kept */
    uint32_t depth;        /* there were */
    uint32_t evals_before; /* loops that ended before the first of them */
};

struct mp_native_side {
    const struct mp_native_frame *frames;
    uint32_t count;
    bool whole; /* to the thread's first function */
    bool cut;   /* there was no room for more */
};

/* Writes the nearest frames of the merged stack, max at most, to out (of struct mp_py_frame or mp_native_frame, 16 bytes each) and
 * returns how many; *ret_depth: how many there are, as far as is known. Where native frames would take more than their part of the
 * room, the nearest of them are kept, and behind those Python's alone follow. False in *ret_matched: the two do not fit together. Then
 * the native frames below the nearest evaluation loop lie on top of Python's. */
uint32_t mp_py_merge(const struct mp_py_side *python, const struct mp_native_side *native, void *out, uint32_t max,
                     uint32_t *ret_depth, bool *ret_matched);

#endif
