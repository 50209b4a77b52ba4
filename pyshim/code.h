/* SPDX-License-Identifier: MIT
 * Turns a frame as found (code object, instruction) into a node of the call tree, by content.
 *
 * Two small caches make the usual sample cheap: code object to function, and (code, instruction) to line. A code object's
 * address comes back with other content (compile, run, free), and so do those of its names and its line table. So an entry is used
 * only if the hashes of the names are what they were, and CPython's own number of the code object is (3.12 and later: it is given
 * once; until 2^32 were given), or else the hash of the whole line table.
 *
 * Context: hook, under the profile's lock, on the thread whose frame it is.
 */
#ifndef MP_PYSHIM_CODE_H
#define MP_PYSHIM_CODE_H

#include <stdint.h>

int mp_py_code_init(void);
/* frame: a struct mp_py_frame. Node, or negative enum mp_err. */
int64_t mp_py_code_intern_locked(const void *frame, uint32_t parent);

#endif
