/* SPDX-License-Identifier: MIT
 * Starts the writer: when, and on which thread.
 *
 * There is no resident thread (CPython 3.12 and later warn at every fork of a process that has one). A request
 * makes a thread that lives only while it writes; where that is refused, the requester writes.
 *
 * Invariants: at most one writer. A request made while one runs is served by it.
 * Context: mp_dump_request from anywhere, a signal handler included.
 */
#ifndef MP_PRELOAD_DUMP_H
#define MP_PRELOAD_DUMP_H

#include "core/writer.h"

/* At attach. Remembers the process. */
void mp_dump_init(void);
/* Asks for a snapshot and returns at once. */
void mp_dump_request(enum mp_trigger trigger);
/* Writes a snapshot before it returns, on the calling thread, after one in flight. Not from a handler. */
void mp_dump_now(enum mp_trigger trigger);
/* Runs write(what) on the calling thread as the only writer, after one in flight; returns what it returns, or ECANCELED where
 * the process ends. Not from a handler; better without the GIL. */
int mp_dump_by(int (*write)(void *what), void *what);
/* Serves a request that could not be served when it was made: its thread was inside the profiler (mp_sample_pending), or
 * a fork was in progress. Called after each sample, too. */
void mp_dump_pending(void);
/* Waits for a writer in flight, at most timeout_ms. */
void mp_dump_wait(int timeout_ms);
/* The process ends: waits, and starts no writer from now on. */
void mp_dump_close(void);

/* Around fork: no writer is in flight, none starts. */
void mp_dump_fork_prepare(void);
void mp_dump_fork_parent(void);
void mp_dump_fork_child(void);

/* False in a child of vfork, which runs in our memory but is not this process. */
bool mp_dump_is_our_process(void);

#endif
