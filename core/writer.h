/* SPDX-License-Identifier: MIT
 * Writes the profile to a snapshot file (FORMAT.md).
 *
 * It copies the tables in bounded steps under the profile's lock and writes outside it. It calls neither malloc
 * nor libc, has no thread-local state, and runs on any stack of 16 kB: on a thread of its own that libc
 * does not know, or in a signal handler.
 *
 * Invariants: one writer at a time (preload/dump.c sees to it); a file under its final name is whole; no existing file is
 * replaced.
 * Context: writer.
 */
#ifndef MP_CORE_WRITER_H
#define MP_CORE_WRITER_H

#include "core/base.h"
#include "core/sections.h"

enum mp_trigger { MP_TRIGGER_SIGNAL, MP_TRIGGER_EXIT, MP_TRIGGER_INTERVAL, MP_TRIGGER_API };

struct mp_writer_options {
    const char *pattern; /* absolute; see path.h */
    uint32_t keep;       /* newest snapshots of this process that stay; 0: all */
    bool argv;           /* the command line goes into the file */
    bool verbose;        /* say where it was written */
    const struct mp_section_types *types; /* NULL: types are not known */
    void (*before)(void); /* runs before each snapshot, in the writer's context; may be NULL */
};

/* At attach. options and what it points to stay the caller's, unchanged. */
void mp_writer_init(const struct mp_writer_options *options);
/* A line of HEAD that only its maker understands; a known key is replaced. Both texts stay the caller's. At attach,
 * or from a single thread. MP_ERR_FULL beyond 32 keys. */
int mp_writer_fact(const char *key, const char *value);
/* Writes one snapshot. 0, or positive errno; then it was said on standard error, and counted. */
int mp_writer_write(enum mp_trigger trigger);
/* The same by a pattern of the caller's, for a caller that is told of errors: nothing is said or counted, and MPROFILEKEEP does not
 * know of the file. Its path goes to ret_path[MP_PATH_MAX]. */
int mp_writer_write_as(const char *pattern, enum mp_trigger trigger, char *ret_path);
/* A snapshot into an open descriptor, which stays open. 0, or positive errno. */
int mp_writer_write_to(int fd, enum mp_trigger trigger);
/* Path of the last snapshot written, or "". */
const char *mp_writer_last_path(void);
/* In a forked child: it has written nothing yet. */
void mp_writer_forked(void);

#endif
