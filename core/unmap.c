/* SPDX-License-Identifier: MIT
 * Forgetting what was mapped in a range: see unmap.h.
 *
 * Context: hook.
 */
#include "core/unmap.h"

#include "core/maths.h"
#include "core/profile.h"
#include "core/sample.h"
#include "core/spans.h"

#define PAGE ((uint64_t)4096)

static uint64_t up(uint64_t address)
{
    return (address + PAGE - 1) & ~(PAGE - 1);
}

static uint64_t end_of(const struct mp_live_row *row)
{
    return up(row->address + row->size);
}

/* From a mapping that was forgotten, the part from `start`, of `size` bytes. */
static void keep_locked(const struct mp_live_row *whole, uint64_t start, uint64_t size, uint64_t now_ms)
{
    uint64_t rate = mp_profile.rates[whole->rate];
    double keeps = mp_weight(whole->size, rate) / mp_weight(size, rate);
    if ((double)(mp_random_next(&mp_tls.random) >> 11) * 0x1p-53 >= keeps) {
        return;
    }
    struct mp_live_row part = *whole;
    part.address = start;
    part.size = size;
    mp_sample_insert_locked(&part, now_ms);
}

static void cut_locked(uint64_t start, uint64_t low, uint64_t high, uint64_t now_ms, struct mp_unmapped *ret)
{
    struct mp_live_row row;
    if (!mp_live_find(&mp_profile.live, start, &row)) {
        mp_spans_remove(start);
        return;
    }
    if (start < low && end_of(&row) <= low) {
        return;
    }
    mp_live_remove(&mp_profile.live, start, &row);
    mp_spans_remove(start);
    mp_sample_account_locked(&row, -1, 0);
    if (ret->count < MP_UNMAP_ROWS) {
        ret->rows[ret->count] = row;
    }
    ret->count++;
    if (start < low) {
        keep_locked(&row, start, low - start, now_ms);
    }
    if (end_of(&row) > high && row.address + row.size > high) {
        keep_locked(&row, high, row.address + row.size - high, now_ms);
    }
}

static void cut_all_locked(uint64_t low, uint64_t high, uint64_t now_ms, struct mp_unmapped *ret)
{
    uint64_t below = mp_spans_below(low), start;
    if (below != 0) {
        cut_locked(below, low, high, now_ms, ret);
    }
    while ((start = mp_spans_from(low)) != 0 && start < high) {
        cut_locked(start, low, high, now_ms, ret);
    }
}

MP_COLD void mp_unmap(uint64_t low, uint64_t high, struct mp_unmapped *ret)
{
    if (!mp_spans_any() || high <= low || !__atomic_load_n(&mp_profile.ready, __ATOMIC_ACQUIRE)) {
        return;
    }
    if (mp_tls.inside) {
        mp_profile_count(MP_LOST_FREES);
        return;
    }
    uint64_t left = mp_sample_enter();
    uint64_t now_ms = mp_profile_clock_ms();
    mp_lock_take(&mp_profile.lock);
    cut_all_locked(low, up(high), now_ms, ret);
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
}

MP_COLD void mp_unmap_undo(const struct mp_unmapped *what)
{
    uint32_t count = what->count < MP_UNMAP_ROWS ? what->count : MP_UNMAP_ROWS;
    if (count == 0 || mp_tls.inside) {
        return;
    }
    uint64_t left = mp_sample_enter();
    uint64_t now_ms = mp_profile_clock_ms();
    struct mp_unmapped parts = {0};
    mp_lock_take(&mp_profile.lock);
    for (uint32_t i = 0; i < count; i++) {
        const struct mp_live_row *row = &what->rows[i];
        cut_all_locked(row->address, end_of(row), now_ms, &parts); /* what was kept of it */
        mp_sample_insert_locked(row, now_ms);
    }
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
}
