/* SPDX-License-Identifier: MIT
 * What explains the process's size and cannot be read while it hangs: what malloc holds, used and free.
 *
 * mallinfo2 takes the locks of all arenas in turn and walks their free lists: a writer that called it could hang with the
 * program. So it is called after a sample, by a thread that could have called malloc just as well, and rarely enough to cost at
 * most one part in a hundred; the figures go into the snapshot with their age.
 *
 * Context: mp_account_look after a sample, outside all locks; the facts in the writer.
 */
#ifndef MP_PRELOAD_ACCOUNT_H
#define MP_PRELOAD_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

/* At attach. */
void mp_account_init(void);
void mp_account_look(uint64_t now_ms);
/* In the child of a fork, before the program goes on there. */
void mp_account_fork_child(void);
/* In the writer: the lines of HEAD. arenas: all of pymalloc's arenas were seen to come and go. */
void mp_account_facts(bool arenas);

#endif
