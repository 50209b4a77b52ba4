/* SPDX-License-Identifier: MIT
 * A budget for the profiler's own memory: see thin.h.
 *
 * The rows of the live table are gone through once, a few after each sample, so that no allocation of the program waits for all of them.
 *
 * Context: hook.
 */
#include "core/thin.h"

#include "core/maths.h"
#include "core/profile.h"
#include "core/sample.h"

#define LOOK_EVERY 256u /* samples */
#define STEP 128u       /* rows after each sample: a table is gone through long before it has doubled */
#define FIRST_RATE 128u /* after "every allocation": where blocks of tens of bytes begin to be left out */
#define RATE_MAX ((uint64_t)1 << 40)

static uint64_t budget;
static uint32_t looks; /* atomic */

/* Guarded by the profile's lock. */
static struct {
    uint64_t limit; /* bytes in use at which to thin next: below the budget, for a pass takes some; grows with what cannot be given back */
    uint64_t random;
    uint32_t next, end; /* rows still to be gone through; next == 0: none */
    uint16_t rate;      /* the row of the rates table that they are thinned to */
} thin;

void mp_thin_budget(uint64_t bytes)
{
    budget = bytes;
    thin.limit = bytes - bytes / 16;
}

static void thin_row_locked(uint32_t id, uint64_t now_ms)
{
    struct mp_live_row *row = mp_vec_at(&mp_profile.live.rows, id);
    uint64_t rate = mp_profile.rates[thin.rate];
    if (row->address == 0 || mp_profile.rates[row->rate] >= rate) {
        return;
    }
    struct mp_live_row old = *row;
    double keeps = mp_weight(old.size, mp_profile.rates[old.rate]) / mp_weight(old.size, rate);
    mp_sample_account_locked(&old, -1, 0);
    if ((double)(mp_random_next(&thin.random) >> 11) * 0x1p-53 < keeps) {
        row->rate = thin.rate;
        mp_sample_account_locked(row, +1, now_ms);
    } else {
        mp_live_remove(&mp_profile.live, old.address, &old);
    }
}

static void step(void)
{
    uint64_t now_ms = mp_profile_clock_ms();
    uint64_t left = mp_sample_enter();
    mp_lock_take(&mp_profile.lock);
    for (uint32_t n = 0; n < STEP && thin.next != 0; n++) {
        uint32_t end = thin.end < mp_profile.live.rows.count ? thin.end : mp_profile.live.rows.count;
        if (thin.next < end) { /* else it was cleared meanwhile */
            thin_row_locked(thin.next, now_ms);
        }
        thin.next = thin.next + 1 < end ? thin.next + 1 : 0;
    }
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
}

/* The rate at which about half as many samples would be drawn. */
static uint64_t coarser(uint64_t rate)
{
    return rate < FIRST_RATE / 2 ? FIRST_RATE : rate * 2;
}

static void begin(void)
{
    uint64_t left = mp_sample_enter();
    /* Forgotten rows are used again, and are all that comes back. (Read without the lock: a little old is new enough.) */
    uint64_t own = mp_profile_own_bytes(), row = sizeof(struct mp_live_row);
    uint64_t rows = row * mp_vec_count(&mp_profile.live.rows);
    uint64_t used = row * __atomic_load_n(&mp_profile.live.index.rows, __ATOMIC_RELAXED);
    uint64_t rest = own > rows ? own - rows : 0;
    uint64_t rate = mp_profile.rates[__atomic_load_n(&mp_profile.rate, __ATOMIC_ACQUIRE)];
    if (rest + used > thin.limit && rate != MP_RATE_OFF && rate <= RATE_MAX / 2 && mp_profile_set_rate(coarser(rate)) == MP_OK) {
        mp_lock_take(&mp_profile.lock);
        if (thin.limit < rest + budget / 8) {
            thin.limit = rest + budget / 8;
        }
        thin.random = mp_profile.seed ^ own;
        thin.rate = mp_profile.rate;
        thin.next = 1;
        thin.end = mp_profile.live.rows.count;
        mp_lock_release(&mp_profile.lock);
        mp_profile_count(MP_NOTE_THINNED);
    }
    mp_sample_leave(left);
}

void mp_thin_look(void)
{
    if (budget == 0) {
        return;
    }
    if (MP_UNLIKELY(__atomic_load_n(&thin.next, __ATOMIC_RELAXED) != 0)) {
        step();
    } else if (MP_UNLIKELY(__atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED) % LOOK_EVERY == 0)) {
        begin();
    }
}
