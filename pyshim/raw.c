/* SPDX-License-Identifier: MIT
 * The hooks on Python's raw domain: see raw.h.
 *
 * Context: hook.
 */
#include "pyshim/raw.h"

#include "core/sample.h"
#include "pyshim/below.h"

static enum mp_domain asked_or(enum mp_domain domain)
{
    return mp_tls.asker != 0 ? (enum mp_domain)(mp_tls.asker - 1) : domain;
}

/* The raw domain, counted here. */

static MP_COLD void *raw_slow(void *ctx, size_t size, bool zeroed)
{
    enum mp_domain asker = asked_or(MP_DOMAIN_RAW);
    uint32_t due = mp_sample_due(size);
    if (MP_UNLIKELY(mp_tls.probe != NULL)) {
        mp_py_note_probed(MP_DOMAIN_RAW, size);
    }
    void *block = mp_py_ask_masked(MP_DOMAIN_RAW, ctx, size, zeroed);
    if (due != 0 && block != NULL) {
        mp_sample_add(block, size, asker, due);
    }
    return block;
}

static void *raw_count_malloc(void *ctx, size_t size)
{
    if (MP_LIKELY(!mp_hot_count(size))) {
        return mp_py_ask_masked(MP_DOMAIN_RAW, ctx, size, false);
    }
    return raw_slow(ctx, size, false);
}

static void *raw_count_calloc(void *ctx, size_t count, size_t size)
{
    if (MP_LIKELY(!mp_hot_count(count * size))) { /* CPython has refused products that overflow */
        return mp_py_ask_masked(MP_DOMAIN_RAW, ctx, count * size, true);
    }
    return raw_slow(ctx, count * size, true);
}

/* A realloc is the old record out and one draw on the whole new size. */
static MP_COLD void *raw_realloc_slow(void *ctx, void *old, size_t size, bool ran_out)
{
    enum mp_domain asker = asked_or(MP_DOMAIN_RAW);
    struct mp_live_row row;
    bool forgotten = mp_hot_maybe_sampled(old) && mp_sample_forget(old, &row);
    uint32_t due = ran_out ? mp_sample_due(size) : 0;
    void *block = mp_py_realloc_masked(MP_DOMAIN_RAW, ctx, old, size);
    if (block == NULL) {
        if (forgotten) {
            mp_sample_restore(&row);
        }
    } else if (due != 0) {
        mp_sample_add(block, size, asker, due);
    }
    return block;
}

static void *raw_count_realloc(void *ctx, void *old, size_t size)
{
    bool ran_out = mp_hot_count(size);
    if (MP_LIKELY(!ran_out && !mp_hot_maybe_sampled(old))) {
        return mp_py_realloc_masked(MP_DOMAIN_RAW, ctx, old, size);
    }
    return raw_realloc_slow(ctx, old, size, ran_out);
}

static void raw_count_free(void *ctx, void *block)
{
    if (mp_hot_maybe_sampled(block)) {
        mp_sample_drop(block);
    }
    mp_py_below[MP_DOMAIN_RAW].free(ctx, block);
}

/* The raw domain, where libc's malloc below counts the very same bytes: only who asks is handed down. */

static void *raw_label_malloc(void *ctx, size_t size)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = asker != 0 ? asker : MP_DOMAIN_RAW + 1;
    void *block = mp_py_below[MP_DOMAIN_RAW].malloc(ctx, size);
    mp_tls.asker = asker;
    return block;
}

static void *raw_label_calloc(void *ctx, size_t count, size_t size)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = asker != 0 ? asker : MP_DOMAIN_RAW + 1;
    void *block = mp_py_below[MP_DOMAIN_RAW].calloc(ctx, count, size);
    mp_tls.asker = asker;
    return block;
}

static void *raw_label_realloc(void *ctx, void *old, size_t size)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = asker != 0 ? asker : MP_DOMAIN_RAW + 1;
    void *block = mp_py_below[MP_DOMAIN_RAW].realloc(ctx, old, size);
    mp_tls.asker = asker;
    return block;
}

struct mp_py_allocator mp_py_raw_count(void)
{
    return (struct mp_py_allocator){mp_py_below[MP_DOMAIN_RAW].ctx, raw_count_malloc, raw_count_calloc,
                                    raw_count_realloc, raw_count_free};
}

struct mp_py_allocator mp_py_raw_label(void)
{
    return (struct mp_py_allocator){mp_py_below[MP_DOMAIN_RAW].ctx, raw_label_malloc, raw_label_calloc,
                                    raw_label_realloc, mp_py_below[MP_DOMAIN_RAW].free};
}

bool mp_py_raw_is(const struct mp_py_allocator *allocator)
{
    return allocator->malloc == raw_count_malloc || allocator->malloc == raw_label_malloc;
}
