/* SPDX-License-Identifier: MIT
 * Room for stacks that are too much for the stack of the thread that takes a sample.
 *
 * A deep stack (more than MP_STACK_INLINE frames) has one room for all threads, a wide source four, of which a thread always
 * comes to the same.
 *
 * Invariants: a room's lock is taken before the profile's, and by none that has another room.
 * Context: hook; host for mp_rooms_deep and _wide.
 */
#ifndef MP_CORE_ROOMS_H
#define MP_CORE_ROOMS_H

#include "core/base.h"
#include "core/lock.h"

struct mp_room {
    struct mp_lock lock; /* guards the rest */
    void *frames;
    uint32_t count; /* of frames there is room for; in a wide one for MP_STACK_ROOMS times as many */
    uint32_t used;  /* of frames the most that were ever in it, in all its parts; read without the lock */
};

/* Makes room for stacks of so many frames, where there is less: MP_ERR_MEMORY where that cannot be had. */
int mp_rooms_deep(uint32_t frames);
int mp_rooms_wide(uint32_t frames);
/* Comes in; nobody else is in it until mp_room_leave. used: frames that were written. */
struct mp_room *mp_room_deep(void);
struct mp_room *mp_room_wide(void);
void mp_room_leave(struct mp_room *room, uint32_t used);
/* Bytes of the rooms that were mapped and never touched. */
uint64_t mp_rooms_spare(void);
/* Around a fork: all rooms are empty, so that the child finds them so. */
void mp_rooms_fork_prepare(void);
void mp_rooms_fork_parent(void);
void mp_rooms_fork_child(void);

#endif
