/* SPDX-License-Identifier: MIT
 * Compares a layout table with the running interpreter before it is trusted.
 *
 * From 3.13 the interpreter publishes its own offsets (_Py_DebugOffsets, the beginning of
 * _PyRuntime): every one that the table has in common must be equal. For all versions the first
 * stack is walked once with reads that cannot fault (the kernel copies our own memory), and each
 * object on the way must have the type it should have.
 *
 * Context: attach for _runtime; hook for _stack (slow: system calls; once a process).
 */
#ifndef MP_PYSHIM_VALIDATE_H
#define MP_PYSHIM_VALIDATE_H

#include <stddef.h>

#include "pyshim/layout.h"

/* Reads size bytes at address of our own process into dst; 0, or negative where they cannot be
 * read. */
typedef int (*mp_py_read)(const void *address, void *dst, size_t size);

/* NULL where the table agrees with what runtime (&_PyRuntime) says of itself, or where the version
 * says nothing (before 3.13; runtime may be NULL then); else a constant text of one line: which
 * offset differs. */
const char *mp_py_validate_runtime(const struct mp_py_layout *layout, const char *runtime,
                                   mp_py_read read);

/* Walks tstate's frames (at most 64) with read. 1: at least one whole frame was found and all that
 * was found fits (code objects, strings, line table, instruction inside the code); 0: no frame yet,
 * ask again later; -1: it does not fit, the table must not be used. */
int mp_py_validate_stack(const struct mp_py_layout *layout, const char *code_type,
                         const char *str_type, const char *bytes_type, const char *tstate,
                         mp_py_read read);

#endif
