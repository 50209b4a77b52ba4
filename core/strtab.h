/* SPDX-License-Identifier: MIT
 * Interned strings: each text once, named by a number, never forgotten.
 *
 * Invariants: string 0 is empty; a string's bytes never move, so the writer reads them without a lock.
 * Context: hook, under the profile's lock (mp_strtab_get: anywhere, for an id already handed out).
 */
#ifndef MP_CORE_STRTAB_H
#define MP_CORE_STRTAB_H

#include "core/index.h"

/* Longer texts are cut by their maker: a name of 100 kB says no more than its beginning. */
#define MP_STRING_MAX 4096

struct mp_strtab {
    struct mp_vec rows; /* struct string_row, strtab.c */
    struct mp_index index;
    char *chunk; /* where the next text goes */
    uint32_t chunk_left;
};

int mp_strtab_init(struct mp_strtab *strtab);
/* Id of the text, or a negative enum mp_err. length: at most MP_STRING_MAX. */
int64_t mp_strtab_intern(struct mp_strtab *strtab, const char *text, uint32_t length);
const char *mp_strtab_get(const struct mp_strtab *strtab, uint32_t id, uint32_t *ret_length);

#endif
