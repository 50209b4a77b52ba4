/* SPDX-License-Identifier: MIT
 * The live samples, by address.
 *
 * Beside the index stands a filter of small counters, read without a lock by every free that is
 * watched: MP_FILTER_NONE means that no live sample has this address. It errs in the safe direction only. Where its counters say
 * "maybe", those of a second half are asked before the lock is taken: two blocks that meet in one half hardly ever do in the other.
 * They count down, so that zeros say "maybe": a filter that was replaced by a larger one gives its memory back, and a free on another
 * thread that still reads it, however late, reads zeros.
 *
 * Invariants: at most one live sample an address (a newer one replaces it: the free of the older was not
 * seen); a filter byte is MP_FILTER_NONE less the number of live samples that map to it, or less than that; at 0 it sticks.
 * Context: hook, under the profile's lock; mp_hot_maybe_sampled (hot.h) from anywhere.
 */
#ifndef MP_CORE_LIVE_H
#define MP_CORE_LIVE_H

#include "core/base.h"
#include "core/index.h"

/* 40 bytes; with its share of index and filter 48 to 56 a live sample. */
struct mp_live_row {
    uint64_t address; /* 0: the row is free */
    uint64_t size;
    uint64_t time_thread; /* milliseconds << 24 | thread */
    uint32_t site;
    uint32_t link; /* next in the chain, or next free row */
    uint16_t rate, generation, depth, unused;
};

#define MP_LIVE_THREAD_MAX 0xFFFFFFu

#define MP_FILTER_NONE UINT8_MAX

struct mp_filter {
    uint64_t mask;
    uint64_t second;  /* where the second half begins in counts; 0: there is none */
    uint8_t counts[];
};

struct mp_live {
    struct mp_vec rows; /* row 0 is unused */
    struct mp_index index;
    uint32_t free_row;
    /* While a larger filter is made, a step an insertion: so many of its counters stand at MP_FILTER_NONE or below, and once all do,
     * rows below filled are counted in it. */
    struct mp_filter *next_filter;
    uint64_t cleared;
    uint32_t filled;
};

/* What hot.h reads; points to a filter that says no until the first row is put in. */
extern const struct mp_filter *mp_live_filter __attribute__((visibility("hidden")));

int mp_live_init(struct mp_live *live);
/* The filter answers "maybe" for this address from now on. At start-up, at most MP_LIVE_PINS times; beyond that, and before
 * there is a filter, for every address. */
#define MP_LIVE_PINS 64
void mp_live_pin(uint64_t address);
/* False: surely no live sample, though the first half of the filter said "maybe". From anywhere, without a lock. */
bool mp_live_maybe(uint64_t address);
/* Puts *row in. MP_OK; a negative enum mp_err; or 1 where the address was known: then *ret_old is the sample that it
 * replaces. */
int mp_live_insert(struct mp_live *live, const struct mp_live_row *row, struct mp_live_row *ret_old);
/* Gives memory back where no sample is left. */
void mp_live_shrink(struct mp_live *live);
/* The sample at this address to *ret_row; false where there is none. */
bool mp_live_find(struct mp_live *live, uint64_t address, struct mp_live_row *ret_row);
/* Takes the sample at this address out and writes it to *ret_row; false where there is none. */
bool mp_live_remove(struct mp_live *live, uint64_t address, struct mp_live_row *ret_row);

/* (address >> 4) + (11 * address >> 18), in one multiplication (a factor of 2^14 + 1 would become a shift and an addition).
 * Neighbours have neighbouring counters: a program that works in one place works in few cache lines of the filter. The second term
 * tells apart what lies at the same place of larger units: the arenas that malloc gives its threads, 64 MiB each, in which threads
 * that do the same work have their blocks at the same places. (Large blocks, which lie at multiples of pages, share some counters;
 * their free is a system call anyway.) */
MP_INLINE uint64_t mp_filter_slot(uint64_t address)
{
    return address * ((1u << 14) + 11) >> 18;
}

#endif
