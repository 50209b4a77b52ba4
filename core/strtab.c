/* SPDX-License-Identifier: MIT
 * Interned strings: see strtab.h.
 *
 * Context: hook, under the profile's lock.
 */
#include "core/strtab.h"

#include <string.h>

#include "core/sys.h"

#define CHUNK_SIZE (64u * 1024)

struct string_row {
    const char *text;
    uint32_t length, hash, link, unused;
};

static uint32_t row_hash(void *owner, uint32_t row)
{
    return ((struct string_row *)mp_vec_at(&((struct mp_strtab *)owner)->rows, row))->hash;
}

static uint32_t *row_link(void *owner, uint32_t row)
{
    return &((struct string_row *)mp_vec_at(&((struct mp_strtab *)owner)->rows, row))->link;
}

static uint32_t hash_text(const char *text, uint32_t length)
{
    uint64_t hash = length;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
        hash ^= hash >> 29;
        text += 8;
        length -= 8;
    }
    uint64_t tail = 0;
    memcpy(&tail, text, length);
    return mp_hash_u64(hash ^ tail);
}

int mp_strtab_init(struct mp_strtab *strtab)
{
    *strtab = (struct mp_strtab){.chunk = NULL};
    mp_vec_init(&strtab->rows, sizeof(struct string_row), 10);
    if (mp_index_init(&strtab->index, 10) < 0 || mp_vec_push(&strtab->rows) < 0) {
        return MP_ERR_MEMORY;
    }
    ((struct string_row *)mp_vec_at(&strtab->rows, 0))->text = "";
    return MP_OK;
}

static char *store(struct mp_strtab *strtab, const char *text, uint32_t length)
{
    if (length > strtab->chunk_left) {
        char *chunk = mp_sys_map(CHUNK_SIZE);
        if (chunk == NULL) {
            return NULL;
        }
        strtab->chunk = chunk;
        strtab->chunk_left = CHUNK_SIZE;
    }
    char *copy = strtab->chunk;
    memcpy(copy, text, length);
    strtab->chunk += length;
    strtab->chunk_left -= length;
    return copy;
}

int64_t mp_strtab_intern(struct mp_strtab *strtab, const char *text, uint32_t length)
{
    if (length == 0) {
        return 0;
    }
    uint32_t hash = hash_text(text, length);
    for (uint32_t id = *mp_index_chain(&strtab->index, hash); id != 0;) {
        const struct string_row *row = mp_vec_at(&strtab->rows, id);
        if (row->hash == hash && row->length == length && memcmp(row->text, text, length) == 0) {
            return id;
        }
        id = row->link;
    }
    const char *copy = store(strtab, text, length);
    int64_t id = copy == NULL ? MP_ERR_MEMORY : mp_vec_push(&strtab->rows);
    if (id < 0) {
        return id;
    }
    *(struct string_row *)mp_vec_at(&strtab->rows, (uint32_t)id) =
        (struct string_row){.text = copy, .length = length, .hash = hash};
    struct mp_index_rows rows = {strtab, row_hash, row_link};
    mp_index_insert(&strtab->index, &rows, (uint32_t)id, hash);
    return id;
}

const char *mp_strtab_get(const struct mp_strtab *strtab, uint32_t id, uint32_t *ret_length)
{
    const struct string_row *row = mp_vec_at(&strtab->rows, id);
    *ret_length = row->length;
    return row->text;
}
