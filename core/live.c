/* SPDX-License-Identifier: MIT
 * The live samples: see live.h.
 *
 * Context: hook, under the profile's lock.
 */
#include "core/live.h"

#include <string.h>

#include "core/sys.h"

/* While it is small, which at the usual rate it is up to heaps of 2 GiB, the filter has 16 to 32 counters a live sample, and as many again
 * in its second half: one free in 16 at most looks further, and one in 256 takes the lock and finds nothing. From FILTER_LARGE on there is
 * one half, of 4 counters at least, for nothing but a rate far below the usual makes it much larger. */
#define FILTER_FIRST_LOG2 16
#define FILTER_LARGE ((uint64_t)1 << 19)
#define FILTER_STEP 32
#define CLEAR_STEP 4096u

/* Before the first sample: one counter. (A flexible member cannot be initialised portably.) */
static struct {
    uint64_t mask, second;
    uint8_t counts[8];
} filter_empty = {0, 0, {MP_FILTER_NONE}};

static uint64_t pins[MP_LIVE_PINS];
static uint32_t pin_count;

const struct mp_filter *mp_live_filter = (const struct mp_filter *)(const void *)&filter_empty;

static uint32_t row_hash(void *owner, uint32_t row)
{
    return mp_hash_u64(((struct mp_live_row *)mp_vec_at(owner, row))->address);
}

static uint32_t *row_link(void *owner, uint32_t row)
{
    return &((struct mp_live_row *)mp_vec_at(owner, row))->link;
}

static struct mp_filter *filter_now(void)
{
    return (struct mp_filter *)(uintptr_t)mp_live_filter;
}

static uint64_t second_slot(const struct mp_filter *filter, uint64_t address)
{
    return filter->second + (mp_hash_u64(address) & filter->mask);
}

static void pin(struct mp_filter *filter)
{
    for (uint32_t i = 0; i < pin_count; i++) {
        filter->counts[mp_filter_slot(pins[i]) & filter->mask] = 0;
        if (filter->second != 0) {
            filter->counts[second_slot(filter, pins[i])] = 0;
        }
    }
}

void mp_live_pin(uint64_t address)
{
    if (pin_count < MP_LIVE_PINS) {
        pins[pin_count++] = address;
    }
    pin(filter_now());
}

/* Counters of the second half of a filter of this size. */
static uint64_t second_size(uint64_t size)
{
    return size < FILTER_LARGE ? size : 0;
}

static uint64_t filter_counters(uint64_t size)
{
    return size + second_size(size);
}

static size_t filter_bytes(uint64_t size)
{
    return sizeof(struct mp_filter) + filter_counters(size);
}

static struct mp_filter *filter_make(uint32_t log2)
{
    uint64_t size = (uint64_t)1 << log2;
    struct mp_filter *filter = mp_sys_map(filter_bytes(size));
    if (filter != NULL) {
        filter->mask = size - 1;
        filter->second = second_size(size);
    }
    return filter;
}

/* Sets its next counters, at most `step`, after the `cleared` ones that were set before. Returns how many are now. */
static uint64_t filter_clear(struct mp_filter *filter, uint64_t cleared, uint64_t step)
{
    uint64_t left = filter_counters(filter->mask + 1) - cleared, now = step < left ? step : left;
    memset(filter->counts + cleared, MP_FILTER_NONE, now);
    if (now == left) {
        pin(filter);
    }
    return cleared + now;
}

static void add(uint8_t *count, int sign)
{
    if (*count != 0) { /* what reached the bottom cannot be counted back: it stays a "maybe" */
        __atomic_store_n(count, (uint8_t)(*count - sign), __ATOMIC_RELAXED);
    }
}

static void filter_count(struct mp_filter *filter, uint64_t address, int sign)
{
    add(&filter->counts[mp_filter_slot(address) & filter->mask], sign);
    if (filter->second != 0) {
        add(&filter->counts[second_slot(filter, address)], sign);
    }
}

bool mp_live_maybe(uint64_t address)
{
    const struct mp_filter *filter = __atomic_load_n(&mp_live_filter, __ATOMIC_ACQUIRE);
    return filter->second == 0 ||
           __atomic_load_n(&filter->counts[second_slot(filter, address)], __ATOMIC_RELAXED) != MP_FILTER_NONE;
}

/* The row's address came (+1) or is about to go (-1). */
static void count_row(struct mp_live *live, uint32_t id, uint64_t address, int sign)
{
    filter_count(filter_now(), address, sign);
    if (live->next_filter != NULL && id < live->filled) {
        filter_count(live->next_filter, address, sign);
    }
}

static bool filter_is_full(const struct mp_live *live)
{
    uint64_t size = filter_now()->mask + 1;
    return live->index.rows > size / (size < FILTER_LARGE ? 16 : 4);
}

/* Makes a larger filter a few rows at a time, so that no lock is held for it, and publishes it when it is whole.
 * The addresses of the old one stay mapped: a free on another thread may be reading it, and whenever that goes on, it reads what was true
 * when the block was put in, or zeros. */
static void filter_grow(struct mp_live *live)
{
    if (live->next_filter == NULL) {
        if (!filter_is_full(live)) {
            return;
        }
        live->next_filter = filter_make(65 - (uint32_t)__builtin_clzll(filter_now()->mask));
        live->cleared = 0;
        live->filled = 1;
        if (live->next_filter == NULL) {
            return; /* the old one serves on, with more false "maybe"s */
        }
    }
    if (live->cleared < filter_counters(live->next_filter->mask + 1)) {
        live->cleared = filter_clear(live->next_filter, live->cleared, CLEAR_STEP);
        return;
    }
    for (int n = 0; n < FILTER_STEP && live->filled < live->rows.count; n++, live->filled++) {
        uint64_t address = ((struct mp_live_row *)mp_vec_at(&live->rows, live->filled))->address;
        if (address != 0) {
            filter_count(live->next_filter, address, +1);
        }
    }
    if (live->filled == live->rows.count) {
        struct mp_filter *old = filter_now();
        __atomic_store_n(&mp_live_filter, live->next_filter, __ATOMIC_RELEASE);
        live->next_filter = NULL;
        mp_sys_discard(old, filter_bytes(old->mask + 1));
    }
}

int mp_live_init(struct mp_live *live)
{
    *live = (struct mp_live){.free_row = 0};
    mp_vec_init(&live->rows, sizeof(struct mp_live_row), 10);
    if (mp_index_init(&live->index, 10) < 0 || mp_vec_push(&live->rows) < 0) {
        return MP_ERR_MEMORY;
    }
    struct mp_filter *filter = filter_make(FILTER_FIRST_LOG2);
    if (filter == NULL) {
        return MP_ERR_MEMORY;
    }
    filter_clear(filter, 0, UINT64_MAX);
    __atomic_store_n(&mp_live_filter, filter, __ATOMIC_RELEASE);
    return MP_OK;
}

/* The link that names the row of this address: the chain's head, or the row before. NULL: not there. */
static uint32_t *find(struct mp_live *live, uint64_t address)
{
    uint32_t *link = mp_index_chain(&live->index, mp_hash_u64(address));
    while (*link != 0) {
        struct mp_live_row *row = mp_vec_at(&live->rows, *link);
        if (row->address == address) {
            return link;
        }
        link = &row->link;
    }
    return NULL;
}

static int64_t take_row(struct mp_live *live)
{
    uint32_t id = live->free_row;
    if (id != 0) {
        live->free_row = *row_link(&live->rows, id);
        return id;
    }
    return mp_vec_push(&live->rows);
}

int mp_live_insert(struct mp_live *live, const struct mp_live_row *row, struct mp_live_row *ret_old)
{
    uint32_t *known = find(live, row->address);
    if (known != NULL) {
        struct mp_live_row *old = mp_vec_at(&live->rows, *known);
        uint32_t link = old->link;
        *ret_old = *old;
        *old = *row;
        old->link = link;
        return 1;
    }
    filter_grow(live);
    int64_t id = take_row(live);
    if (id < 0) {
        return (int)id;
    }
    *(struct mp_live_row *)mp_vec_at(&live->rows, (uint32_t)id) = *row;
    struct mp_index_rows rows = {&live->rows, row_hash, row_link};
    mp_index_insert(&live->index, &rows, (uint32_t)id, mp_hash_u64(row->address));
    count_row(live, (uint32_t)id, row->address, +1);
    return MP_OK;
}

void mp_live_shrink(struct mp_live *live)
{
    if (live->index.rows == 0) {
        mp_vec_truncate(&live->rows, 1);
        live->free_row = 0;
        live->filled = 1; /* of a larger filter: it is empty, too */
    }
}

bool mp_live_find(struct mp_live *live, uint64_t address, struct mp_live_row *ret_row)
{
    uint32_t *link = find(live, address);
    if (link != NULL) {
        *ret_row = *(struct mp_live_row *)mp_vec_at(&live->rows, *link);
    }
    return link != NULL;
}

bool mp_live_remove(struct mp_live *live, uint64_t address, struct mp_live_row *ret_row)
{
    uint32_t *link = find(live, address);
    if (link == NULL) {
        return false;
    }
    uint32_t id = *link;
    struct mp_live_row *row = mp_vec_at(&live->rows, id);
    *ret_row = *row;
    struct mp_index_rows rows = {&live->rows, row_hash, row_link};
    mp_index_unlink(&live->index, &rows, link);
    count_row(live, id, address, -1);
    row->address = 0;
    row->link = live->free_row;
    live->free_row = id;
    return true;
}
