/* SPDX-License-Identifier: MIT
 * Native stacks, merged with Python's: the source of stacks where MPROFILENATIVE=1 asked for it.
 *
 * Context: attach, fork, hook.
 */
#ifndef MP_PRELOAD_NATIVE_H
#define MP_PRELOAD_NATIVE_H

#include "core/sample.h"

/* Loads what is needed: NULL, or why not, one line. Allocates, so before anything is sampled. */
const char *mp_native_load(void);
/* Once there is a profile, before the first sample. eval: the interpreter's evaluation loop; callers: functions that
 * only call it, each maybe NULL. */
const struct mp_stack_source *mp_native_begin(const void *eval, const void *const *callers, size_t caller_count);
/* Around a fork: no thread walks, so that the child finds the loader's lock and libunwind's free. Before the locks of samples. */
void mp_native_fork_prepare(void);
void mp_native_fork_parent(void);
void mp_native_fork_child(void);

#endif
