/* SPDX-License-Identifier: MIT
 * The hooks on Python's allocators.
 *
 * Context: mp_py_hooks_install at attach, single-threaded, before or while the interpreter initializes.
 */
#ifndef MP_PYSHIM_HOOKS_H
#define MP_PYSHIM_HOOKS_H

#include <stdbool.h>

/* Wraps the three domains, on top of whatever is there. Again after the interpreter has replaced its allocators
 * (PYTHONMALLOC, -X dev, a second Py_Initialize). Does nothing where the hooks are in place, or where a thread
 * state exists: from then on nobody replaces allocators but tracers, which wrap ours. */
void mp_py_hooks_install(void);

/* To be said before the first installation: libc's malloc counts, so what Python asks of it is not counted here. */
void mp_py_hooks_malloc_counts(void);

/* What served Python's objects before we wrapped it, by CPython's own name; "unknown". */
const char *mp_py_hooks_allocator(void);

/* True where the free of Python objects is not hooked. */
bool mp_py_hooks_free_unhooked(void);

#endif
