/* SPDX-License-Identifier: MIT
 * The hooks on Python's raw domain, in two ways: they count, or, where libc's malloc below counts the very same bytes, they only
 * say who asks.
 *
 * Context: host, before they are published, and hook.
 */
#ifndef MP_PYSHIM_RAW_H
#define MP_PYSHIM_RAW_H

#include "pyshim/interp.h"

/* On top of mp_py_below[MP_DOMAIN_RAW]. */
struct mp_py_allocator mp_py_raw_count(void);
struct mp_py_allocator mp_py_raw_label(void);
bool mp_py_raw_is(const struct mp_py_allocator *allocator);

#endif
