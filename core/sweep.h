/* SPDX-License-Identifier: MIT
 * Temporary names of snapshots, and the removal of those that a killed process left behind.
 *
 * Context: writer.
 */
#ifndef MP_CORE_SWEEP_H
#define MP_CORE_SWEEP_H

#include "core/base.h"

/* Writes ".mprofile-PID-UID.tmp" in the folder of path to ret_path[MP_PATH_MAX]; 0, or ENAMETOOLONG. uid (of the lineage)
 * keeps apart processes of the same number in containers that share the folder. */
int mp_sweep_temporary(const char *path, int pid, uint64_t uid, char *ret_path);
/* Removes from the folder of path the temporaries of processes that are gone. A process that we cannot see may live in
 * another container that shares the folder: its file must be ten minutes old, too. */
void mp_sweep(const char *path, int pid);

#endif
