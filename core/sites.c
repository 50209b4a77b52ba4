/* SPDX-License-Identifier: MIT
 * Sites: see sites.h.
 *
 * Context: hook, under the profile's lock.
 */
#include "core/sites.h"

#include "core/maths.h"

static uint32_t site_hash(uint32_t node, uint32_t domain)
{
    return mp_hash_u64((uint64_t)node << 3 | domain);
}

static uint32_t row_hash(void *owner, uint32_t row)
{
    const struct mp_site *site = mp_vec_at(owner, row);
    return site_hash(site->node, site->domain);
}

static uint32_t *row_link(void *owner, uint32_t row)
{
    return &((struct mp_site *)mp_vec_at(owner, row))->link;
}

struct mp_worth mp_worth_of(uint64_t size, uint64_t rate)
{
    double weight = mp_weight(size, rate);
    double bytes = (double)size;
    return (struct mp_worth){weight, (int64_t)(weight * bytes + 0.5),
                             weight * (weight - 1.0) * bytes * bytes};
}

int mp_sites_init(struct mp_sites *sites)
{
    *sites = (struct mp_sites){.epoch = 1, .at_peak = true};
    mp_vec_init(&sites->rows, sizeof(struct mp_site), 9);
    if (mp_index_init(&sites->index, 9) < 0 || mp_vec_push(&sites->rows) < 0) {
        return MP_ERR_MEMORY;
    }
    return MP_OK;
}

int64_t mp_sites_intern(struct mp_sites *sites, uint32_t node, enum mp_domain domain)
{
    uint32_t hash = site_hash(node, domain);
    for (uint32_t id = *mp_index_chain(&sites->index, hash); id != 0;) {
        const struct mp_site *site = mp_vec_at(&sites->rows, id);
        if (site->node == node && site->domain == domain) {
            return id;
        }
        id = site->link;
    }
    int64_t id = mp_vec_push(&sites->rows);
    if (id < 0) {
        return id;
    }
    struct mp_site *site = mp_vec_at(&sites->rows, (uint32_t)id);
    site->node = node;
    site->domain = (uint8_t)domain;
    site->generation = sites->generation;
    site->peak_epoch = sites->epoch; /* at the last peak it had nothing: peak_bytes is 0 */
    struct mp_index_rows rows = {&sites->rows, row_hash, row_link};
    mp_index_insert(&sites->index, &rows, (uint32_t)id, hash);
    return id;
}

void mp_sites_live(struct mp_sites *sites, uint32_t id, struct mp_worth worth, int sign, uint64_t now_ms)
{
    struct mp_site *site = mp_vec_at(&sites->rows, id);
    if (sign < 0 && sites->at_peak) {
        sites->at_peak = false;
        sites->epoch++;
    }
    if (!sites->at_peak && site->peak_epoch != sites->epoch) {
        site->peak_epoch = sites->epoch;
        site->peak_bytes = site->live_bytes;
        site->peak_var = site->live_var;
    }
    site->live_bytes += sign * worth.bytes;
    site->live_var += sign * worth.bytes_var;
    sites->live_bytes += sign * worth.bytes;
    sites->live_var += sign * worth.bytes_var;
    if (sites->live_bytes > sites->peak_bytes) {
        sites->peak_bytes = sites->live_bytes;
        sites->peak_var = sites->live_var;
        sites->peak_ms = now_ms;
        sites->at_peak = true;
    }
}

void mp_sites_clear_allocated(struct mp_sites *sites, uint32_t id)
{
    struct mp_site *site = mp_vec_at(&sites->rows, id);
    site->generation = sites->generation;
    site->alloc_samples = 0;
    site->alloc_blocks = site->alloc_bytes = 0.0;
    site->alloc_blocks_var = site->alloc_bytes_var = 0.0;
}

void mp_sites_reset_peak(struct mp_sites *sites, uint64_t now_ms)
{
    sites->peak_bytes = sites->live_bytes;
    sites->peak_var = sites->live_var;
    sites->peak_ms = now_ms;
    sites->at_peak = true;
}

void mp_sites_add(struct mp_sites *sites, uint32_t id, uint64_t size, struct mp_worth worth, uint64_t now_ms)
{
    struct mp_site *site = mp_vec_at(&sites->rows, id);
    if (site->generation != sites->generation) {
        mp_sites_clear_allocated(sites, id);
    }
    site->alloc_samples++;
    site->alloc_blocks += worth.weight;
    site->alloc_bytes += worth.weight * (double)size;
    site->alloc_blocks_var += worth.weight * (worth.weight - 1.0);
    site->alloc_bytes_var += worth.bytes_var;
    mp_sites_live(sites, id, worth, +1, now_ms);
}

void mp_sites_peak(const struct mp_sites *sites, const struct mp_site *site, double *ret_bytes, double *ret_var)
{
    bool saved = !sites->at_peak && site->peak_epoch == sites->epoch;
    double var = saved ? site->peak_var : site->live_var;
    *ret_bytes = (double)(saved ? site->peak_bytes : site->live_bytes);
    *ret_var = var > 0.0 ? var : 0.0; /* sums of floating point leave crumbs */
}
