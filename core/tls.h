/* SPDX-License-Identifier: MIT
 * What a thread keeps of its own: the countdown, and little else.
 *
 * One zero-initialised structure in static thread-local storage: no constructor, no destructor,
 * nothing that a dying thread could resurrect. Every state that is not "count down" is a value of
 * the countdown, so that the fast path has one branch:
 *
 *     left == 0 at birth        the first allocation goes to the slow path, which makes the thread known
 *     left == 0 at rate 0 or 1  every allocation goes to the slow path
 *     left == MP_LEFT_NEVER     inside the profiler, or what is asked for is counted already (a realloc in progress)
 *
 * Invariants: only the owning thread writes it.
 * Context: hook.
 */
#ifndef MP_CORE_TLS_H
#define MP_CORE_TLS_H

#include "core/base.h"

/* More bytes than a process can ask for between two looks; subtracting from it wraps for no real size. */
#define MP_LEFT_NEVER ((uint64_t)1 << 62)

/* What a self-test sees. */
struct mp_probe {
    size_t want;   /* requests of this size only; 0: the latest of any size */
    size_t size;   /* 0: no hook saw it */
    uint8_t asker; /* mp_tls.asker at that time */
    uint8_t hook;  /* enum mp_domain + 1 of the hook of Python's that counted it; 0: another did */
    uint64_t left; /* the thread's own, meanwhile */
};

/* Addresses by whole pages, in eight bytes: what a thread keeps is one cache line. */
struct mp_pages {
    uint64_t first : 36, count : 28;
};
#define MP_PAGES_SHIFT 12

MP_INLINE uint64_t mp_pages_low(struct mp_pages pages)
{
    return (uint64_t)pages.first << MP_PAGES_SHIFT;
}

MP_INLINE uint64_t mp_pages_high(struct mp_pages pages)
{
    return ((uint64_t)pages.first + pages.count) << MP_PAGES_SHIFT;
}

/* low and high are on page boundaries. None where they are too high or too far apart to be kept. */
MP_INLINE struct mp_pages mp_pages_of(uint64_t low, uint64_t high)
{
    bool kept = high >> MP_PAGES_SHIFT < (uint64_t)1 << 36 && (high - low) >> MP_PAGES_SHIFT < (uint64_t)1 << 28;
    return kept ? (struct mp_pages){.first = low >> MP_PAGES_SHIFT & (((uint64_t)1 << 36) - 1),
                                    .count = (high - low) >> MP_PAGES_SHIFT & (((uint64_t)1 << 28) - 1)}
                : (struct mp_pages){0};
}

struct mp_tls {
    uint64_t left;  /* whole bytes until the next look, which is the next sample where `rest` is 0; see maths.h */
    uint64_t rest;  /* whole bytes from the next look to the next sample: a change of rate is noticed at a look */
    uint8_t asker;  /* enum mp_domain + 1 of the hook above that handed its request down; 0: none */
    bool known;     /* seeded, and left was drawn */
    bool inside;    /* in the slow path: a signal handler that allocates must not enter again */
    bool dump_after; /* a dump was asked for while inside: to be started on the way out */
    uint16_t rate;  /* row of the rates table that left was drawn at */
    uint32_t thread, thread_stamp; /* row of the threads table, and the stamp it had when it became ours */
    uint64_t random;
    struct mp_probe *probe; /* a self-test wants to see what this thread asks for; NULL: none */
    struct mp_pages proven; /* of its stack, what was proven readable (preload/window.c) */
    struct mp_pages own;    /* where it is known to run on no stack of signal handlers (preload/altstack.c) */
};

_Static_assert(sizeof(struct mp_tls) <= 64, "one cache line");

extern __thread struct mp_tls mp_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

#endif
