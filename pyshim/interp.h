/* SPDX-License-Identifier: MIT
 * The interpreter of this process: which one it is, what of it we may call, whose thread this is.
 *
 * Invariants: at most one interpreter a process is served; mp_py is written at attach and not after, but for
 * `stacks` and `trouble`, which the first walk may change once.
 * Context: attach for mp_py_attach; hook for the rest.
 */
#ifndef MP_PYSHIM_INTERP_H
#define MP_PYSHIM_INTERP_H

#include "core/base.h"
#include "core/sample.h"
#include "pyshim/layout.h"

/* As CPython's PyMemAllocatorEx, which is part of its documented interface. */
struct mp_py_allocator {
    void *ctx;
    void *(*malloc)(void *ctx, size_t size);
    void *(*calloc)(void *ctx, size_t count, size_t size);
    void *(*realloc)(void *ctx, void *block, size_t size);
    void (*free)(void *ctx, void *block);
};

enum mp_py_stacks {
    MP_PY_STACKS_UNPROVED, /* nothing was walked yet */
    MP_PY_STACKS_ON,
    MP_PY_STACKS_OFF, /* the layout does not fit: samples have no stack */
};

struct mp_py {
    int minor;
    bool free_threaded;
    char version[160]; /* Py_GetVersion() */
    const struct mp_py_layout *layout;
    enum mp_py_stacks stacks;
    const char *trouble; /* why stacks are off */

    /* Addresses in the interpreter. The functions are those that may be called in a hook: none of them allocates, takes a
     * lock, or needs the GIL. */
    void (*get_allocator)(int domain, struct mp_py_allocator *allocator);
    void (*set_allocator)(int domain, struct mp_py_allocator *allocator);
    const char *(*allocator_name)(void); /* may be NULL */
    int (*is_initialized)(void);
    int (*is_finalizing)(void); /* may be NULL: never */
    void *(*gilstate_thread)(void);
    void *(*current_thread)(void);
    const char *code_type, *str_type, *bytes_type, *runtime;
};

extern struct mp_py mp_py;

/* Finds the address of an interpreter's symbol, or NULL. */
typedef void *(*mp_py_resolve)(const char *name);

/* NULL: mp_py is filled in and can be hooked. Else why this interpreter is left alone, one line. complain is told
 * later, once, where stacks have to be switched off. */
const char *mp_py_attach(mp_py_resolve resolve, void (*complain)(const char *why));

/* Fills the stack with Python's frames; *ret_evals_before: see walk.h. done of the source below belongs to it. */
void mp_py_collect(struct mp_stack *stack, enum mp_domain domain, uint32_t *ret_evals_before);

/* The stacks of Python, for mp_sample_source. */
extern const struct mp_stack_source mp_py_stack_source;

/* Called where the interpreter may have begun to finalize, before it frees its thread states: waits, for a short bounded
 * time, for threads that walk their stacks without the GIL. True if it is finalizing. */
bool mp_py_finalizing(void);

/* This thread holds the GIL (or is attached, where there is none). */
bool mp_py_holds(void);

/* There is a Python thread state for this thread. */
bool mp_py_has_thread(void);

#endif
