/* SPDX-License-Identifier: MIT
 * The tables of the profile as sections of a snapshot.
 *
 * Context: writer; takes the profile's lock for one bounded step at a time.
 */
#ifndef MP_CORE_SECTIONS_H
#define MP_CORE_SECTIONS_H

#include "core/live.h"
#include "core/out.h"

/* Who can tell what type of object a live sample is. */
struct mp_section_types {
    /* A snapshot begins. */
    void (*begin)(void);
    /* The names of the types of count samples, at most step, as strings; 0: unknown. The profile's lock is held. */
    void (*name_locked)(const struct mp_live_row *rows, uint32_t count, uint32_t *ret_names);
    uint32_t step; /* at most 1024 */
};

/* The lines of HEAD that come from the profile and the process, into the section that was begun. */
void mp_sections_head(struct mp_out *out, bool argv, uint64_t now_ns, uint64_t began_ms);
/* All other sections but END. types may be NULL. */
void mp_sections_tables(struct mp_out *out, const struct mp_section_types *types);

#endif
