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
    uint64_t stack_low, stack_high; /* of its stack, what was proven readable (preload/unwind.c) */
    uint64_t alt_low, alt_high;     /* the stack of its signal handlers, and between what places it is known */
    uint64_t own_low, own_high;     /* to run on no such stack (preload/altstack.c) */
};

extern __thread struct mp_tls mp_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

#endif
