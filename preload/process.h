/* SPDX-License-Identifier: MIT
 * The life of the profiled process: how we come in, fork, and end.
 *
 * Context: attach, and the interposed libc functions.
 */
#ifndef MP_PRELOAD_PROCESS_H
#define MP_PRELOAD_PROCESS_H

/* Called from interposed functions that the interpreter calls early and late in its life: sees whether it begins to
 * finalize, which is when the snapshot of MPROFILEEXIT is taken, with everything still alive. Cheap. */
void mp_process_look(void);

#endif
