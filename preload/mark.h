/* SPDX-License-Identifier: MIT
 * A mark that other processes see: this one listens to the dump signal, and its snapshots go there.
 *
 * `mprofile dump` must be sure of both before it signals: a signal that a process does not expect ends it, or means something
 * else to it (some servers replace themselves on USR2), and the environment at start may have been another's word. The mark is a
 * page that is mapped, and never touched, under the name `mprofile.SIGNAL.PATTERN`, which /proc/PID/maps shows. PATTERN is that
 * of the names of snapshots, absolute; it is left out, with its dot, where it has control characters or is too long for a name.
 *
 * Invariants: as the handler of the signal, it is inherited by fork and gone after exec; it costs no descriptor and no memory.
 * Context: attach.
 */
#ifndef MP_PRELOAD_MARK_H
#define MP_PRELOAD_MARK_H

/* Once, when the handler is in place. Where the system refuses nothing happens: then the process is not signalled by `mprofile dump`. */
void mp_mark_listening(int signal, const char *pattern);

#endif
