/* SPDX-License-Identifier: MIT
 * Sites: for each stack and domain, what was ever allocated, and what was live at the peak.
 *
 * The sums of what was ever allocated are weighed when a sample is taken, for most samples are gone when somebody
 * asks. The peak costs O(1) a sample: when the process's estimate falls from a new maximum, an epoch
 * begins, and a site saves its live sum the first time it changes in that epoch; a site that did not
 * change still has its live sum of the peak.
 *
 * Invariants: live_bytes is the sum of the same whole numbers that were added, so it returns to 0 exactly.
 * Context: hook, under the profile's lock.
 */
#ifndef MP_CORE_SITES_H
#define MP_CORE_SITES_H

#include "core/base.h"
#include "core/index.h"

struct mp_site {
    uint32_t node;
    uint32_t link;
    uint8_t domain;
    uint8_t unused;
    uint16_t generation; /* the alloc_ sums are of this process of the lineage; of another: read as 0 */
    uint32_t peak_epoch; /* peak_* were saved in this epoch */
    uint64_t alloc_samples;
    double alloc_blocks, alloc_bytes;         /* sums of w, w s */
    double alloc_blocks_var, alloc_bytes_var; /* sums of w (w-1), w (w-1) s s */
    int64_t live_bytes, peak_bytes;           /* sums of w s, each rounded */
    double live_var, peak_var;                /* sums of w (w-1) s s */
};

struct mp_sites {
    struct mp_vec rows; /* struct mp_site; row 0 is unused */
    struct mp_index index;
    uint16_t generation;
    int64_t live_bytes, peak_bytes;
    double live_var, peak_var;
    uint64_t peak_ms; /* sample clock */
    uint32_t epoch;
    bool at_peak; /* nothing was freed since the maximum */
};

/* What one sampled block counts for: computed once, the same when it comes and when it goes. */
struct mp_worth {
    double weight;
    int64_t bytes; /* w s, rounded */
    double bytes_var; /* w (w-1) s s */
};

struct mp_worth mp_worth_of(uint64_t size, uint64_t rate);

int mp_sites_init(struct mp_sites *sites);
/* Id of the site, or a negative enum mp_err. */
int64_t mp_sites_intern(struct mp_sites *sites, uint32_t node, enum mp_domain domain);
/* A sampled block was allocated at the site. now_ms: sample clock. */
void mp_sites_add(struct mp_sites *sites, uint32_t id, uint64_t size, struct mp_worth worth, uint64_t now_ms);
/* A live sample appears again (a realloc that failed), or is gone. */
void mp_sites_live(struct mp_sites *sites, uint32_t id, struct mp_worth worth, int sign, uint64_t now_ms);
/* What was ever allocated at the site: nothing. */
void mp_sites_clear_allocated(struct mp_sites *sites, uint32_t id);
/* The maximum is what is live now. */
void mp_sites_reset_peak(struct mp_sites *sites, uint64_t now_ms);
/* The site's live sum, and its variance, at the moment of the process's maximum. */
void mp_sites_peak(const struct mp_sites *sites, const struct mp_site *site, double *ret_bytes, double *ret_var);

#endif
