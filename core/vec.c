/* SPDX-License-Identifier: MIT
 * A growing array whose items never move: see vec.h.
 *
 * Context: hook, under the owner's lock.
 */
#include "core/vec.h"

#include <string.h>

#include "core/sys.h"

/* Items that segment k holds. */
static size_t segment_items(const struct mp_vec *vec, uint32_t k)
{
    return (size_t)1 << (vec->first_log2 + (k == 0 ? 0 : k - 1));
}

void mp_vec_init(struct mp_vec *vec, uint32_t item_size, uint32_t first_log2)
{
    *vec = (struct mp_vec){.item_size = item_size, .first_log2 = first_log2};
}

void mp_vec_release(struct mp_vec *vec)
{
    for (uint32_t k = 0; k < MP_VEC_SEGMENTS; k++) {
        mp_sys_unmap(vec->segments[k], segment_items(vec, k) * vec->item_size);
    }
    mp_vec_init(vec, vec->item_size, vec->first_log2);
}

int64_t mp_vec_push(struct mp_vec *vec)
{
    uint32_t index = vec->count;
    uint32_t block = index >> vec->first_log2;
    uint32_t k = block == 0 ? 0 : 32u - (uint32_t)__builtin_clz(block);
    if (k >= MP_VEC_SEGMENTS) {
        return MP_ERR_FULL;
    }
    if (vec->segments[k] == NULL) {
        char *segment = mp_sys_map(segment_items(vec, k) * vec->item_size);
        if (segment == NULL) {
            return MP_ERR_MEMORY;
        }
        __atomic_store_n(&vec->segments[k], segment, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&vec->count, index + 1, __ATOMIC_RELEASE);
    return index;
}

void mp_vec_truncate(struct mp_vec *vec, uint32_t count)
{
    size_t before = 0;
    if (count >= vec->count) {
        return;
    }
    for (uint32_t k = 0; k < MP_VEC_SEGMENTS && vec->segments[k] != NULL; k++) {
        size_t items = segment_items(vec, k);
        if (before >= count) {
            mp_sys_unmap(vec->segments[k], items * vec->item_size);
            vec->segments[k] = NULL;
        } else if (before + items > count) {
            size_t end = vec->count < before + items ? vec->count : before + items;
            memset(vec->segments[k] + (count - before) * vec->item_size, 0, (end - count) * vec->item_size);
        }
        before += items;
    }
    __atomic_store_n(&vec->count, count, __ATOMIC_RELEASE);
}

size_t mp_vec_spare(const struct mp_vec *vec)
{
    size_t items = 0, used = mp_vec_count(vec); /* before the segments: they hold at least these */
    for (uint32_t k = 0; k < MP_VEC_SEGMENTS; k++) {
        items += __atomic_load_n(&vec->segments[k], __ATOMIC_RELAXED) != NULL ? segment_items(vec, k) : 0;
    }
    return (items - used) * vec->item_size;
}
