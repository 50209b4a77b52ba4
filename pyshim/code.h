/* SPDX-License-Identifier: MIT
 * Turns a frame as found (code object, instruction) into a node of the call tree, by content.
 *
 * Three small caches make the usual sample cheap: (caller's node, code, instruction) to node, where that is new (code, instruction)
 * to line, and code object to function. A code object's address comes back with other content (compile, run, free), and so do those of
 * its names and its line table; CPython's own numbers of code objects (co_version) come back too, for each interpreter of a process counts from the same
 * beginning. So an entry is forgotten when its code object ends (dealloc.h).
 *
 * Context: hook, under the profile's lock, on the thread whose frame it is; but for mp_py_code_forget and _all.
 */
#ifndef MP_PYSHIM_CODE_H
#define MP_PYSHIM_CODE_H

#include <stdint.h>

int mp_py_code_init(void);
/* frame: a struct mp_py_frame. Node, or negative enum mp_err. */
int64_t mp_py_code_intern_locked(const void *frame, uint32_t parent);
/* The code object at this address ends, or has ended: called by the thread that deallocates it, without the profile's lock. */
void mp_py_code_forget(const void *code);
/* The ends of some were not seen. From anywhere, without the lock. */
void mp_py_code_forget_all(void);

#endif
