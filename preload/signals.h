/* SPDX-License-Identifier: MIT
 * The dump signal, which we share with the program.
 *
 * For this signal alone the disposition that the program reads and sets is virtual: the kernel keeps our handler, which asks
 * for a snapshot and then does what the program wants, as far as that does not kill it (SIG_DFL would).
 *
 * Context: attach for init; fork handlers; any for the interposed sigaction and signal.
 */
#ifndef MP_PRELOAD_SIGNALS_H
#define MP_PRELOAD_SIGNALS_H

/* Takes the signal (0: none). What the program has set so far stays its disposition. */
void mp_signals_init(int number);
/* In the child of a fork, before the program goes on there. */
void mp_signals_fork_child(void);

#endif
