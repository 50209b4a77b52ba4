/* SPDX-License-Identifier: MIT
 * The tables of the profile as sections of a snapshot.
 *
 * Context: writer; takes the profile's lock for one bounded step at a time.
 */
#ifndef MP_CORE_SECTIONS_H
#define MP_CORE_SECTIONS_H

#include "core/out.h"

/* The lines of HEAD that come from the profile and the process, into the section that was begun. */
void mp_sections_head(struct mp_out *out, bool argv, uint64_t now_ns, uint64_t began_ms);
/* All other sections but END. */
void mp_sections_tables(struct mp_out *out);

#endif
