/* SPDX-License-Identifier: MIT
 * The libc functions behind the ones we interpose.
 *
 * Looked up on first use: another library's constructor may call an interposed name before ours has run.
 *
 * Context: any but the writer.
 */
#ifndef MP_PRELOAD_REAL_H
#define MP_PRELOAD_REAL_H

#include <signal.h>
#include <stdbool.h>

/* The function at this address is ours. */
bool mp_real_is_us(const void *address);
/* The next definition of the function in the search order, after ours; NULL: there is none. Allocates. */
void *mp_real_next(const char *name);
int mp_real_sigaction(int number, const struct sigaction *action, struct sigaction *old);
char *mp_real_setlocale(int category, const char *locale);

#endif
