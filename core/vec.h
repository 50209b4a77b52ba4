/* SPDX-License-Identifier: MIT
 * A growing array whose items never move.
 *
 * Segments double in size: segment 0 holds `first` items, segment k > 0 as many as all before it. An item
 * keeps its address for ever, growing copies nothing, and a reader needs no lock for items that were
 * there when it learned the count.
 *
 * Invariants: segment k exists for every item below count; memory comes from mp_sys_map and is zero at first.
 * Context: hook; mp_vec_push under the owner's lock, mp_vec_at from anywhere.
 */
#ifndef MP_CORE_VEC_H
#define MP_CORE_VEC_H

#include "core/base.h"

#define MP_VEC_SEGMENTS 24

struct mp_vec {
    uint32_t item_size;   /* bytes */
    uint32_t first_log2;  /* items of segment 0: 1 << first_log2 */
    uint32_t count;       /* items in use; owner's lock to write, atomic to read */
    char *segments[MP_VEC_SEGMENTS];
};

/* first_log2: 4 to 16. Maps nothing yet. */
void mp_vec_init(struct mp_vec *vec, uint32_t item_size, uint32_t first_log2);
void mp_vec_release(struct mp_vec *vec);
/* Appends a zeroed item and returns its index, or a negative enum mp_err. */
int64_t mp_vec_push(struct mp_vec *vec);

/* Gives the memory of items from count on back, whole segments at a time; what stays is zero when it is pushed again. No reader may be
 * without the owner's lock. */
void mp_vec_truncate(struct mp_vec *vec, uint32_t count);
/* Bytes mapped for items that were never used: the kernel has given no memory for (nearly all of) them. */
size_t mp_vec_spare(const struct mp_vec *vec);

MP_INLINE uint32_t mp_vec_count(const struct mp_vec *vec)
{
    return __atomic_load_n(&vec->count, __ATOMIC_ACQUIRE);
}

MP_INLINE void *mp_vec_at(const struct mp_vec *vec, uint32_t index)
{
    uint32_t block = index >> vec->first_log2;
    if (block == 0) {
        return vec->segments[0] + (size_t)index * vec->item_size;
    }
    uint32_t log2 = 31u - (uint32_t)__builtin_clz(block);
    uint32_t start = 1u << (log2 + vec->first_log2);
    return vec->segments[log2 + 1] + (size_t)(index - start) * vec->item_size;
}

#endif
