/* SPDX-License-Identifier: MIT
 * What our hooks on Python's allocators wrap, and asking it.
 *
 * Invariants: the functions below a hook are in place before it is published. Another thread may be inside a hook without the GIL
 * when they change: they change only to what is left when something that lay between goes away.
 * Context: hook.
 */
#ifndef MP_PYSHIM_BELOW_H
#define MP_PYSHIM_BELOW_H

#include "core/hot.h"
#include "pyshim/interp.h"

extern struct mp_py_allocator mp_py_below[3] __attribute__((visibility("hidden")));

MP_INLINE void *mp_py_ask(enum mp_domain domain, void *ctx, size_t size, bool zeroed)
{
    return zeroed ? mp_py_below[domain].calloc(ctx, 1, size) : mp_py_below[domain].malloc(ctx, size);
}

MP_INLINE void *mp_py_ask_masked(enum mp_domain domain, void *ctx, size_t size, bool zeroed)
{
    uint64_t left = mp_hot_mask();
    void *block = mp_py_ask(domain, ctx, size, zeroed);
    mp_hot_unmask(left);
    return block;
}

MP_INLINE void *mp_py_realloc_masked(enum mp_domain domain, void *ctx, void *old, size_t size)
{
    uint64_t left = mp_hot_mask();
    void *block = mp_py_below[domain].realloc(ctx, old, size);
    mp_hot_unmask(left);
    return block;
}

MP_INLINE void mp_py_note_probed(enum mp_domain domain, size_t size)
{
    if (mp_tls.probe->hook == 0 && mp_tls.probe->want == size) {
        mp_tls.probe->hook = (uint8_t)(domain + 1);
    }
}

#endif
