/* SPDX-License-Identifier: MIT
 * One line on standard error, without stdio.
 *
 * The host may have closed descriptor 2 and opened its database there: we write only to the file that was
 * standard error when we came.
 *
 * Context: attach, writer, signal handler. Not in hooks.
 */
#ifndef MP_CORE_SAY_H
#define MP_CORE_SAY_H

#include "core/base.h"

/* Remembers which file standard error is. */
void mp_say_init(void);
/* "mprofile: " and the texts up to NULL, and a newline, in one write. Unprintable bytes are shown as '?'. */
void mp_say(const char *first, ...) __attribute__((sentinel));
/* The decimal digits of a number, in a buffer of at least 21 bytes. */
const char *mp_say_number(uint64_t number, char *buffer);
/* A text for the commonest errors of the kernel (positive errno), else its number in a buffer of at least 27 bytes. */
const char *mp_say_error(int error, char *buffer);

#endif
