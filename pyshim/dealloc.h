/* SPDX-License-Identifier: MIT
 * Learns of the end of code objects.
 *
 * What is known of a code object is found by its address, and its address comes back with other content. Comparing content would be
 * three quarters of what a sample costs. Code objects end seldom, and always by their type's tp_dealloc; so that is where
 * code.c is told that it knows nothing of this address any more. Others wrap that slot, too, and put back what they found when they leave, so each sample looks
 * whether it is still ours: where it is not, nothing that was known before this sample is believed.
 *
 * Invariants: the interpreter's own tp_dealloc does all of the work; ours allocates nothing, takes no lock and keeps no
 * reference. The type is static in all versions, belongs to all interpreters of the process, and is never freed. Ours is never put above another that
 * came after it: that one may call ours.
 * Context: hook; the interpreter's deallocation.
 */
#ifndef MP_PYSHIM_DEALLOC_H
#define MP_PYSHIM_DEALLOC_H

#include <stdbool.h>

/* To be called when the layout of objects is proved and before the first frame is interned: from then on the end of each code object is seen.
 * False, and nothing changed, where PyCode_Type does not look as it should. May be called by several threads at once. */
bool mp_py_dealloc_watch(void);

/* Before each sample's frames are interned. */
void mp_py_dealloc_check(void);

#endif
