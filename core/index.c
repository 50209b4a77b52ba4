/* SPDX-License-Identifier: MIT
 * A hash index by linear hashing: see index.h.
 *
 * Context: hook, under the owner's lock.
 */
#include "core/index.h"

static uint32_t bucket_of(const struct mp_index *index, uint32_t hash)
{
    uint32_t wide = hash & (index->level_mask * 2 + 1);
    return wide < index->buckets.count ? wide : hash & index->level_mask;
}

int mp_index_init(struct mp_index *index, uint32_t first_log2)
{
    *index = (struct mp_index){.rows = 0, .level_mask = (1u << first_log2) - 1};
    mp_vec_init(&index->buckets, sizeof(uint32_t), first_log2);
    for (uint32_t i = 0; i <= index->level_mask; i++) {
        if (mp_vec_push(&index->buckets) < 0) {
            return MP_ERR_MEMORY;
        }
    }
    return MP_OK;
}

void mp_index_release(struct mp_index *index)
{
    mp_vec_release(&index->buckets);
}

uint32_t *mp_index_chain(const struct mp_index *index, uint32_t hash)
{
    return mp_vec_at(&index->buckets, bucket_of(index, hash));
}

/* Adds one bucket and moves to it what belongs there from the bucket it splits. */
static void split(struct mp_index *index, const struct mp_index_rows *rows)
{
    int64_t added = mp_vec_push(&index->buckets);
    if (added < 0) {
        return;
    }
    uint32_t *from = mp_vec_at(&index->buckets, (uint32_t)added & index->level_mask);
    uint32_t *to = mp_vec_at(&index->buckets, (uint32_t)added);
    uint32_t row = *from;
    *from = 0;
    while (row != 0) {
        uint32_t *link = rows->link(rows->owner, row);
        uint32_t next = *link;
        uint32_t *head = bucket_of(index, rows->hash(rows->owner, row)) == (uint32_t)added ? to : from;
        *link = *head;
        *head = row;
        row = next;
    }
    if (index->buckets.count == (index->level_mask + 1) * 2) {
        index->level_mask = index->level_mask * 2 + 1;
    }
}

void mp_index_insert(struct mp_index *index, const struct mp_index_rows *rows, uint32_t row, uint32_t hash)
{
    uint32_t *head = mp_index_chain(index, hash);
    *rows->link(rows->owner, row) = *head;
    *head = row;
    if (++index->rows > index->buckets.count) {
        split(index, rows);
    }
}

void mp_index_unlink(struct mp_index *index, const struct mp_index_rows *rows, uint32_t *link)
{
    *link = *rows->link(rows->owner, *link);
    index->rows--;
}
