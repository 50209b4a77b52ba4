/* SPDX-License-Identifier: MIT
 * pymalloc's arenas: how many bytes they are.
 *
 * What lies in an arena is counted block by block; the arena itself must not be counted again as a mapping, and its size
 * says how much of it is free. (The interpreter takes its stacks of frames from the same allocator.)
 *
 * Context: attach for _install; hook for the wrappers.
 */
#ifndef MP_PYSHIM_ARENAS_H
#define MP_PYSHIM_ARENAS_H

#include "pyshim/interp.h"

/* Wraps the arena allocator (PyObject_SetArenaAllocator); does nothing where the interpreter has none. Once. */
void mp_py_arenas_install(mp_py_resolve resolve);
/* Bytes of arenas that are there. */
uint64_t mp_py_arenas_bytes(void);

#endif
