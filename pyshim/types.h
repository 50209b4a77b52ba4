/* SPDX-License-Identifier: MIT
 * The types of live objects, read when a snapshot is written.
 *
 * A block of the obj domain is not always an object (a dict keeps its table there), and an object may be half made or
 * its last reference gone. So nothing is trusted: a word is a type only if it points to something whose own type is a type, that is
 * not larger than the block, and whose header before the object is as long as the distance at which it was found. All reading
 * is done by the kernel, which says "no" where we would fault. "Unknown" is an answer.
 *
 * Context: writer, under the profile's lock, without which a block could be freed and used again meanwhile (the free of a
 * sampled block waits for it).
 */
#ifndef MP_PYSHIM_TYPES_H
#define MP_PYSHIM_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/live.h"
#include "pyshim/interp.h"

/* At attach. False where types cannot be read: the interpreter's do not lie as they should, or the kernel forbids it. */
bool mp_py_types_init(mp_py_resolve resolve);
/* A new snapshot begins: addresses of types that were freed come back with others. */
void mp_py_types_begin(void);
/* The names of the types of at most MP_PY_TYPES_STEP samples, as strings; 0: unknown. */
#define MP_PY_TYPES_STEP 512u
void mp_py_types_locked(const struct mp_live_row *rows, uint32_t count, uint32_t *ret_names);

#endif
