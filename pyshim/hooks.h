/* SPDX-License-Identifier: MIT
 * The hooks on Python's allocators.
 *
 * Context: mp_py_hooks_install at attach, single-threaded, before or while the interpreter initializes; others as they say.
 */
#ifndef MP_PYSHIM_HOOKS_H
#define MP_PYSHIM_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

/* Wraps the three domains, on top of whatever is there. Again after the interpreter has replaced its allocators
 * (PYTHONMALLOC, -X dev, a second Py_Initialize). Does nothing where the hooks are in place, or where a thread
 * state exists: from then on nobody replaces allocators but tracers, which wrap ours. */
void mp_py_hooks_install(void);

/* To be said before the first installation: libc's malloc counts, so what Python asks of it is not counted here. */
void mp_py_hooks_malloc_counts(void);

/* With the GIL, in an interpreter that runs: sees whether requests reach our hooks, and puts them on top where they do not (the
 * first time, or after a tracer below them has taken them away). False where they were lost and frees may have been missed:
 * then what is live is not known any more. */
bool mp_py_hooks_hold(void);

/* With the GIL: chooses the way of hooking for a rate (bytes), where the choice is ours. Before the rate is set if it is
 * finer than the present one, after if coarser. A free that records may depend on stays hooked. */
void mp_py_hooks_rate(uint64_t rate);

/* What served Python's objects before we wrapped it, by CPython's own name; "unknown". */
const char *mp_py_hooks_allocator(void);

/* True where the free of Python objects is not hooked. */
bool mp_py_hooks_free_unhooked(void);

#endif
