/* SPDX-License-Identifier: MIT
 * The profile of this process: all tables, the lock that guards them, what was lost.
 *
 * There is one, mp_profile. It is reached from hooks on every thread, from the writer and from the fork
 * handlers, and it is never torn down.
 *
 * Invariants: strings, functions and nodes only grow, and what they hold is not changed.
 * Context: see each field.
 */
#ifndef MP_CORE_PROFILE_H
#define MP_CORE_PROFILE_H

#include "core/live.h"
#include "core/lock.h"
#include "core/sites.h"
#include "core/strtab.h"
#include "core/tree.h"

#define MP_RATES_MAX 256
#define MP_RATE_OFF UINT64_MAX /* nothing is recorded */
#define MP_LINEAGE_MAX 256

/* What was lost, and what needs explaining. The names in the file are in sections.c. */
enum mp_count {
    MP_LOST_MEMORY,
    MP_LOST_REENTERED,
    MP_LOST_FREES,
    MP_LOST_STACKS,
    MP_LOST_SNAPSHOTS,
    MP_LOST_SMALL_STACKS, /* samples of signal handlers whose stack has no room for taking them */
    MP_LOST_HOOKS, /* live samples that were forgotten because another tracer took our hooks away */
    MP_NOTE_STACKS_CUT,
    MP_NOTE_REFUSED_513,
    MP_NOTE_REPLACED,
    MP_NOTE_NAMES_CUT,
    MP_NOTE_NATIVE_UNMATCHED,
    MP_NOTE_NATIVE_SKIPPED,
    MP_NOTE_NATIVE_REFUSED, /* stacks that could not be walked to their end, for memory may not be asked for */
    MP_NOTE_THINNED,
    MP_COUNTS,
};

struct mp_thread {
    uint64_t tid, ident;
    char name[16];      /* the kernel's; no string of the table's: a program may give each of its threads another */
    uint32_t live;      /* live samples that name this row; at 0 the row may be given to another thread */
    uint32_t stamp;     /* changes whenever the row is given away */
    uint32_t next_idle; /* rows with live == 0, oldest first */
};

struct mp_generation {
    uint64_t uid, pid, clock_ms;
};

struct mp_profile {
    struct mp_lock lock; /* guards all tables below */
    struct mp_strtab strings;
    struct mp_tree tree;
    struct mp_sites sites;
    struct mp_live live;
    struct mp_vec threads;           /* struct mp_thread; row 0: unknown */
    uint32_t idle_first, idle_last;  /* threads, a queue */
    uint64_t rates[MP_RATES_MAX];    /* rows are written once */
    uint16_t rate_count;
    uint16_t rate; /* the row in force; written under lock, read without */
    struct mp_generation lineage[MP_LINEAGE_MAX];
    uint16_t generation; /* last row of lineage: this process; at the end of the table it stays */
    uint32_t frames_max; /* written by mp_sample_frames, read without a lock */
    uint64_t start_ns, start_ms; /* realtime and monotonic at the beginning; set at attach, then const */
    uint64_t seed;               /* of this process; set at attach and in a forked child */
    uint64_t seeded_threads;     /* atomic */
    uint64_t counts[MP_COUNTS];  /* atomic */
    bool ready;                  /* all tables exist */
};

extern struct mp_profile mp_profile;

/* Makes the tables. rate: mean bytes between samples; frames_max: 1 or more. Once a process. */
int mp_profile_init(uint64_t rate, uint32_t frames_max);
/* In a forked child: a new row of the lineage, new seeds, no counters of the parent's. */
void mp_profile_forked(void);
/* Sets the rate for draws from now on. MP_ERR_FULL after MP_RATES_MAX different ones. */
int mp_profile_set_rate(uint64_t rate);

MP_INLINE void mp_profile_count(enum mp_count what)
{
    __atomic_fetch_add(&mp_profile.counts[what], 1, __ATOMIC_RELAXED);
}

MP_INLINE void mp_profile_add(enum mp_count what, uint64_t amount)
{
    __atomic_fetch_add(&mp_profile.counts[what], amount, __ATOMIC_RELAXED);
}

/* Whether this row of the rates table means that nothing is recorded. */
MP_INLINE bool mp_profile_is_off(uint32_t row)
{
    return mp_profile.rates[row] == MP_RATE_OFF;
}

/* Memory of the profiler itself, in bytes: what is mapped, without the ends of tables and rooms that were never touched. */
uint64_t mp_profile_own_bytes(void);

/* Milliseconds since the beginning (coarse: the kernel's tick). */
uint64_t mp_profile_clock_ms(void);

/* The row of the threads table for the calling thread, which is in `row` with `stamp` unless it was given away. */
uint32_t mp_profile_thread_locked(uint32_t *row, uint32_t *stamp);
void mp_profile_thread_live_locked(uint32_t row, int sign);

#endif
