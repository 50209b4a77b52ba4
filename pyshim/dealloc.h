/* SPDX-License-Identifier: MIT
 * Learns of the end of code objects, where they have no number of their own (before 3.12).
 *
 * What is known of a code object is found by its address, and its address comes back with other content. Comparing content is
 * three quarters of what a sample costs there. Code objects end seldom, and always by their type's tp_dealloc; so that is where
 * code.c is told that it knows nothing of this address any more.
 *
 * Invariants: the interpreter's own tp_dealloc does all of the work; ours allocates nothing, takes no lock and keeps no
 * reference. The type is static in these versions, and is never freed.
 * Context: hook, with the GIL, for mp_py_dealloc_watch; the interpreter's deallocation, with the GIL, for the rest.
 */
#ifndef MP_PYSHIM_DEALLOC_H
#define MP_PYSHIM_DEALLOC_H

#include <stdbool.h>

/* To be called when the layout of objects is proved and before the first frame is interned. Whether the end of each code object is seen
 * from now on; false, and nothing changed, where there is no need (3.12 and later), or where PyCode_Type does not look as
 * it should. */
bool mp_py_dealloc_watch(void);

#endif
