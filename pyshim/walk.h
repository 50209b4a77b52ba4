/* SPDX-License-Identifier: MIT
 * Walks the Python frames of the calling thread by reading, never by calling.
 *
 * Only the owning thread pushes and pops its frames, and each frame holds a strong reference to its
 * code object, so a thread may read its own chain at any moment, with or without the GIL, as long
 * as its thread state lives. Frames are found nearest first; "incomplete" frames (3.11 and later)
 * are left out, as tracemalloc does.
 *
 * One exception, free-threaded 3.14 and later: where the instructions of a frame begin is read from
 * an array that another thread may replace (_PyCode_GetTLBC in Objects/codeobject.c of CPython; the
 * old one is freed once every attached thread has passed a safe point). A thread that is detached
 * while it walks is not waited for: there, walk attached threads only.
 *
 * Context: hook. No allocation, no lock, no CPython call, no write to the interpreter's memory.
 */
#ifndef MP_PYSHIM_WALK_H
#define MP_PYSHIM_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "pyshim/layout.h"

/* One frame as found: borrowed, valid only until the walked thread runs Python again. */
struct mp_py_frame {
    const char *code; /* PyCodeObject * */
    int32_t instr;    /* bytes from the beginning of the code's instructions; -1: not started */
    uint32_t evals;   /* evaluation loops on the native stack that end with this frame: mostly 0 or 1 */
};

/* Walks the chain of tstate. Keeps the nearest max frames in frames and returns how many; writes
 * to *ret_depth how many there are, counted no further than count_limit. code_type is &PyCode_Type:
 * an object in a frame whose type is not that is passed over. */
int mp_py_walk_nopy(const struct mp_py_layout *layout, const char *code_type, const char *tstate,
                    struct mp_py_frame *frames, int max, int count_limit, int *ret_depth);

/* The same; *ret_evals_before: evaluation loops whose frames are all nearer than the first one kept,
 * because they are incomplete or gone. */
int mp_py_walk_evals_nopy(const struct mp_py_layout *layout, const char *code_type,
                          const char *tstate, struct mp_py_frame *frames, int max, int count_limit,
                          int *ret_depth, uint32_t *ret_evals_before);

/* The line of an instruction: what PyCode_Addr2Line(code, instr) says, or firstlineno where the
 * table is damaged or has no line for it. Reads the code object's table and nothing else; costs a
 * walk along the table, so keep the answers: see code.c. */
int mp_py_code_line_nopy(const struct mp_py_layout *layout, const char *code, int instr);

/* The decoders below it, for any bytes: never read outside table[0..size). Return the line, or -1
 * where the table ends before instr, is damaged before it, or has no line for it; firstline where
 * instr is negative. lnotab has no end: its last line goes on. Formulas: Objects/lnotab_notes.txt
 * (3.8 to 3.10), Objects/locations.md and InternalDocs/code_objects.md (3.11 and later) of CPython.
 */
int mp_py_lines_lnotab(const uint8_t *table, size_t size, int firstline, int instr);
int mp_py_lines_linetable(const uint8_t *table, size_t size, int firstline, int instr);
int mp_py_lines_locations(const uint8_t *table, size_t size, int firstline, int instr);

/* A str as UTF-8 (surrogates in three bytes) into dst[0..capacity), cut at a character's boundary
 * when it does not fit; no zero byte is added. Returns the bytes written, or -1 where the object is
 * not a compact str (type is &PyUnicode_Type). */
int mp_py_str_utf8_nopy(const struct mp_py_layout *layout, const char *type, const char *str,
                        char *dst, size_t capacity);

#endif
