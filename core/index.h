/* SPDX-License-Identifier: MIT
 * A hash index over rows that live elsewhere (in a vec), chained through a field of the rows.
 *
 * Linear hashing (W. Litwin, 1980): each insertion splits at most one bucket, so the index grows
 * without ever rehashing everything; no lock is held longer because a table became large. Deleting
 * unlinks: there are no tombstones to collect.
 *
 * Invariants: a row is in the chain of bucket_of(hash of row); row 0 is never in a chain (0 ends it).
 * Context: hook, under the owner's lock.
 */
#ifndef MP_CORE_INDEX_H
#define MP_CORE_INDEX_H

#include "core/vec.h"

struct mp_index {
    struct mp_vec buckets; /* u32: first row of the chain, 0: none */
    uint32_t rows;
    uint32_t level_mask; /* (1 << level) - 1; buckets below buckets.count - (1 << level) are split */
};

/* What the index must know of its rows: the hash of a row, and where its link is. */
struct mp_index_rows {
    void *owner;
    uint32_t (*hash)(void *owner, uint32_t row);
    uint32_t *(*link)(void *owner, uint32_t row);
};

/* first_log2: the index starts with so many buckets (4 to 16). MP_ERR_MEMORY where they cannot be had. */
int mp_index_init(struct mp_index *index, uint32_t first_log2);
void mp_index_release(struct mp_index *index);

/* The head of the chain that holds the rows with this hash. */
uint32_t *mp_index_chain(const struct mp_index *index, uint32_t hash);
/* Links a row in. Cannot fail: where no memory is left for another bucket, chains grow longer. */
void mp_index_insert(struct mp_index *index, const struct mp_index_rows *rows, uint32_t row, uint32_t hash);
/* Unlinks the row at *link (the head, or the link of the row before). */
void mp_index_unlink(struct mp_index *index, const struct mp_index_rows *rows, uint32_t *link);

/* Mixes 64 bits into 32 (multiply and fold). */
MP_INLINE uint32_t mp_hash_u64(uint64_t x)
{
    x *= 0x9E3779B97F4A7C15ull;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93ull;
    return (uint32_t)(x >> 32);
}

#endif
