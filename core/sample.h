/* SPDX-License-Identifier: MIT
 * Taking a sample and forgetting it: what the hooks call when the hot path says so.
 *
 * An allocation hook that was told to by mp_hot_count calls mp_sample_due, then the real allocator, then, if it
 * was due and there is a block, mp_sample_add. A free hook that was told to by mp_hot_maybe_sampled calls
 * mp_sample_forget before the real free: afterwards the address may be another thread's already.
 *
 * Context: hook, any thread, any moment. Nothing here allocates from the host, changes errno or can fail: what cannot
 * be done is counted (profile.h).
 */
#ifndef MP_CORE_SAMPLE_H
#define MP_CORE_SAMPLE_H

#include "core/base.h"
#include "core/live.h"
#include "core/tls.h"

/* A thread looks at the rate in force when it has asked for so many bytes, or less. */
#define MP_LOOK_BYTES ((uint64_t)64 * 1024)

/* Frames that a sample finds room for on the stack of its thread; more cost a lock among threads. */
#define MP_STACK_INLINE 128
#define MP_FRAME_SIZE 16
#define MP_STACK_ROOMS 4

/* What a sample takes of its thread's stack at most, in bytes: measured (2.5 kB; 4.4 kB from a wide source), and some more. */
#define MP_SAMPLE_STACK ((size_t)3 << 10)
#define MP_SAMPLE_WIDE_STACK ((size_t)6 << 10)

/* Why a stack has no frames. The names are in sample.c. */
enum mp_why {
    MP_WHY_NONE, /* it has */
    MP_WHY_NO_THREAD,
    MP_WHY_NO_FRAME,
    MP_WHY_FINALIZING,
    MP_WHY_UNREADABLE,
    MP_WHY_OFF,
    MP_WHY_CUT, /* not a whole stack's reason: the frame above the outermost one kept */
    MP_WHYS,
};

/* A stack on its way from the thread to the tree. What a frame is, only its source knows. */
struct mp_stack {
    const struct mp_stack_source *source; /* that it comes from: another may be set meanwhile */
    void *frames;   /* room for max frames of MP_FRAME_SIZE bytes, nearest first */
    uint32_t max;
    uint32_t count;
    uint32_t depth; /* how many there were, as far as they were counted */
    void *scratch;  /* for a wide source: room for MP_STACK_ROOMS - 1 times as many */
    uint32_t scratched; /* frames that were written there */
    enum mp_why why;
    bool detached;  /* the source's own */
};

/* Where stacks come from. */
struct mp_stack_source {
    /* Fills the stack with the calling thread's frames. The profile's lock is not held. */
    void (*collect)(struct mp_stack *stack, enum mp_domain domain);
    /* Finds or makes the node of (parent, this frame); negative enum mp_err. The profile's lock is held. */
    int64_t (*intern_locked)(const void *frame, uint32_t parent);
    /* The frames are not looked at any more. No lock is held. */
    void (*done)(struct mp_stack *stack);
    /* Called before each stack, when not even the lock around the room for stacks is held. May be NULL. */
    void (*prepare)(void);
    /* It needs the scratch room, and MP_SAMPLE_WIDE_STACK. */
    bool wide;
    /* Of a wide source: where stacks come from when there is not so much; not wide. */
    const struct mp_stack_source *narrow;
};

/* Set at attach, before the first hook runs; and once more where native stacks are wanted. */
void mp_sample_source(const struct mp_stack_source *source);
/* Called after a sample, outside all locks, with the sample clock: for snapshots that time triggers. */
void mp_sample_after(void (*look)(uint64_t now_ms));
/* Called before a sample is taken or forgotten, outside all locks. NULL: nobody looks. */
void mp_sample_before(void (*look)(void));
/* Says how much of the calling thread's stack is left, where that may be little, else SIZE_MAX; asked for each sample. Without: it is
 * always enough. */
void mp_sample_stack_room(size_t (*room)(void));
/* Starts a dump that was asked for while this thread was inside (mp_tls.dump_after). */
void mp_sample_pending(void (*dump)(void));
/* The countdown ran out for a block of size bytes. Draws the next distance. 0: not to be sampled; else what mp_sample_add
 * wants to be told. */
uint32_t mp_sample_due(size_t size);
void mp_sample_add(const void *block, size_t size, enum mp_domain domain, uint32_t due);
/* The block is about to be freed. True and *ret_row where it was a live sample. */
bool mp_sample_forget(const void *block, struct mp_live_row *ret_row);
/* The same for a free, which has no use for the row. */
void mp_sample_drop(const void *block);
/* For a self-test: between these two, what this thread asks for is not sampled but seen, by mp_sample_due. Not nested. */
void mp_sample_probe_start(struct mp_probe *probe, size_t want);
void mp_sample_probe_stop(void);
/* A realloc failed: the sample that was forgotten lives on. */
void mp_sample_restore(const struct mp_live_row *row);
/* For steer.c, thin.c and unmap.c, and within sample.c: between _enter and _leave the thread's countdown cannot run out. */
uint64_t mp_sample_enter(void);
void mp_sample_leave(uint64_t left);
/* A new distance for this thread, at the rate in force. */
void mp_sample_draw(void);
/* The sums and the thread of a live row that came (+1) or went (-1: no peak, so no time is needed). */
void mp_sample_account_locked(const struct mp_live_row *row, int sign, uint64_t now_ms);
/* Puts a row back that was taken out, whole or as a part of it. */
void mp_sample_insert_locked(const struct mp_live_row *row, uint64_t now_ms);

/* Around a fork: all locks are held, so that the child finds whole tables. */
void mp_sample_fork_prepare(void);
void mp_sample_fork_parent(void);
/* In the child: the locks are free, the process has a new row in the lineage, the thread's countdown is drawn anew. */
void mp_sample_fork_child(void);

#endif
