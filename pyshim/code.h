/* SPDX-License-Identifier: MIT
 * Turns a frame as found (code object, instruction) into a node of the call tree, by content.
 *
 * Two small caches make the usual sample cheap: code object to function, and (code, instruction) to line. A code object's
 * address comes back with other content (compile, run, free), and so do those of its names and its line table. So an entry is used
 * only if CPython's own number of the code object is what it was (3.12 and later: given once, up to 2^32 of them), or else if the
 * hashes of the names and of the whole line table are.
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
