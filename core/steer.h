/* SPDX-License-Identifier: MIT
 * What the program steers: the rate, the frames, the sums; and one sample it asks for.
 *
 * Context: host, any thread; not in a signal handler.
 */
#ifndef MP_CORE_STEER_H
#define MP_CORE_STEER_H

#include "core/live.h"

/* Most frames kept of a stack from now on, 1 or more. MP_ERR_MEMORY where there is no room for so many; then nothing changes. */
int mp_steer_frames(uint32_t frames_max);
/* The source of stacks needs room for wide ones from now on. */
int mp_steer_wide(void);
/* The rate for draws from now on: at once on this thread, on others at their next look (MP_LOOK_BYTES at most). MP_ERR_FULL
 * after MP_RATES_MAX different ones. */
int mp_steer_rate(uint64_t rate);
/* Forgets all live samples and sums, in small steps; what is allocated meanwhile may be forgotten too. Returns how many
 * samples there were. */
uint64_t mp_steer_clear(void);
/* Sums of the live samples, weighed: now, and the highest so far. */
uint64_t mp_steer_bytes(void);
uint64_t mp_steer_peak_bytes(void);
/* The highest sum so far is the present one. */
void mp_steer_reset_peak(void);
/* The live sample that begins at this address, if there is one: true and *ret_row. */
bool mp_steer_find(const void *block, struct mp_live_row *ret_row);

#endif
