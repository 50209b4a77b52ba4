/* SPDX-License-Identifier: MIT
 * What the program steers: see steer.h.
 *
 * All of it runs between mp_sample_enter and _leave: a handler of a signal may allocate meanwhile.
 *
 * Context: host.
 */
#include "core/steer.h"

#include "core/profile.h"
#include "core/rooms.h"
#include "core/sample.h"

/* Live samples, or sites, that are forgotten while the lock is held once. */
#define CLEAR_STEP 512u

static bool wide_wanted;

int mp_steer_wide(void)
{
    wide_wanted = true;
    return mp_rooms_wide(mp_profile.frames_max);
}

int mp_steer_frames(uint32_t frames_max)
{
    int result = MP_OK;
    uint64_t left = mp_sample_enter();
    if (frames_max > MP_STACK_INLINE) {
        result = mp_rooms_deep(frames_max);
    }
    if (result == MP_OK && wide_wanted) {
        result = mp_rooms_wide(frames_max);
    }
    if (result == MP_OK) {
        __atomic_store_n(&mp_profile.frames_max, frames_max, __ATOMIC_RELEASE);
    }
    mp_sample_leave(left);
    return result;
}

int mp_steer_rate(uint64_t rate)
{
    uint64_t left = mp_sample_enter();
    int result = mp_profile_set_rate(rate);
    mp_sample_leave(left);
    if (result == MP_OK && mp_tls.known && left <= MP_LEFT_NEVER / 2) {
        mp_sample_draw(); /* what was still to go says nothing of what comes: the distance has no memory */
    }
    return result;
}

static bool forget_locked(uint32_t id)
{
    struct mp_live_row row = *(struct mp_live_row *)mp_vec_at(&mp_profile.live.rows, id);
    if (row.address == 0) {
        return false;
    }
    mp_live_remove(&mp_profile.live, row.address, &row);
    mp_sample_account_locked(&row, -1, 0);
    return true;
}

/* Calls step for [from, to) of rows 1 to the last, with the lock; each time as the only thing that holds it. (Another thread may
 * clear, too, and the table shrink.) */
static void in_steps(const struct mp_vec *rows, void (*step_locked)(uint32_t from, uint32_t to, uint64_t *total),
                     uint64_t *total)
{
    uint32_t end = mp_vec_count(rows);
    for (uint32_t from = 1; from < end; from += CLEAR_STEP) {
        uint64_t left = mp_sample_enter();
        mp_lock_take(&mp_profile.lock);
        uint32_t last = end < rows->count ? end : rows->count;
        step_locked(from, last < from + CLEAR_STEP ? last : from + CLEAR_STEP, total);
        mp_lock_release(&mp_profile.lock);
        mp_sample_leave(left);
    }
}

static void shrink(void)
{
    uint64_t left = mp_sample_enter();
    mp_lock_take(&mp_profile.lock);
    mp_live_shrink(&mp_profile.live);
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
}

static void clear_rows_locked(uint32_t from, uint32_t to, uint64_t *total)
{
    for (; from < to; from++) {
        *total += forget_locked(from);
    }
}

static void clear_sites_locked(uint32_t from, uint32_t to, uint64_t *total)
{
    (void)total;
    for (; from < to; from++) {
        mp_sites_clear_allocated(&mp_profile.sites, from);
    }
}

uint64_t mp_steer_clear(void)
{
    uint64_t forgotten = 0;
    in_steps(&mp_profile.live.rows, clear_rows_locked, &forgotten);
    shrink();
    in_steps(&mp_profile.sites.rows, clear_sites_locked, NULL);
    mp_steer_reset_peak();
    return forgotten;
}

void mp_steer_reset_peak(void)
{
    uint64_t left = mp_sample_enter();
    mp_lock_take(&mp_profile.lock);
    mp_sites_reset_peak(&mp_profile.sites, mp_profile_clock_ms());
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
}

uint64_t mp_steer_bytes(void)
{
    return (uint64_t)__atomic_load_n(&mp_profile.sites.live_bytes, __ATOMIC_RELAXED);
}

uint64_t mp_steer_peak_bytes(void)
{
    return (uint64_t)__atomic_load_n(&mp_profile.sites.peak_bytes, __ATOMIC_RELAXED);
}

bool mp_steer_find(const void *block, struct mp_live_row *ret_row)
{
    uint64_t left = mp_sample_enter();
    mp_lock_take(&mp_profile.lock);
    bool found = mp_live_find(&mp_profile.live, (uintptr_t)block, ret_row);
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
    return found;
}
