/* SPDX-License-Identifier: MIT
 * The life of the profiled process: how we come in, fork, and end.
 *
 * Context: attach, and the interposed libc functions.
 */
#ifndef MP_PRELOAD_PROCESS_H
#define MP_PRELOAD_PROCESS_H

#include <stdbool.h>

/* Sees whether the interpreter has begun to finalize, which is when the snapshot of MPROFILEEXIT is taken, with everything
 * still alive. Called where CPython comes by early in its finalization: it restores its signal handlers, if it has
 * any, and the first sampled block goes. Cheap. */
void mp_process_look(void);

/* NULL: this process's interpreter is known and the tables are made (whether its allocators are hooked is pyshim's to say). Else
 * why not, one line. Where the library was loaded into an interpreter that runs, this is what begins. Host, with the GIL. */
const char *mp_process_attach(void);

#endif
