/* SPDX-License-Identifier: MIT
 * Room for stacks: see rooms.h.
 *
 * Context: hook, host.
 */
#include "core/rooms.h"

#include "core/sample.h"
#include "core/sys.h"
#include "core/tls.h"

#define WIDE_ROOMS 4u

static struct mp_room deep, wide[WIDE_ROOMS];

static int enlarge(struct mp_room *room, uint32_t count, size_t size)
{
    int result = MP_OK;
    mp_lock_take(&room->lock);
    if (count > room->count) {
        void *larger = mp_sys_map(count * size); /* touched as used */
        if (larger == NULL) {
            result = MP_ERR_MEMORY;
        } else {
            if (room->frames != NULL) {
                mp_sys_unmap(room->frames, room->count * size);
            }
            room->frames = larger;
            room->count = count;
        }
    }
    mp_lock_release(&room->lock);
    return result;
}

int mp_rooms_deep(uint32_t frames)
{
    return enlarge(&deep, frames, MP_FRAME_SIZE);
}

int mp_rooms_wide(uint32_t frames)
{
    int result = MP_OK;
    for (uint32_t i = 0; i < WIDE_ROOMS && result == MP_OK; i++) {
        result = enlarge(&wide[i], frames, MP_FRAME_SIZE * MP_STACK_ROOMS);
    }
    return result;
}

struct mp_room *mp_room_deep(void)
{
    mp_lock_take(&deep.lock);
    return &deep;
}

struct mp_room *mp_room_wide(void)
{
    struct mp_room *room = &wide[mp_hash_u64((uintptr_t)&mp_tls) % WIDE_ROOMS];
    mp_lock_take(&room->lock);
    return room;
}

void mp_room_leave(struct mp_room *room)
{
    mp_lock_release(&room->lock);
}

void mp_rooms_fork_prepare(void)
{
    mp_lock_take(&deep.lock);
    for (uint32_t i = 0; i < WIDE_ROOMS; i++) {
        mp_lock_take(&wide[i].lock);
    }
}

void mp_rooms_fork_parent(void)
{
    for (uint32_t i = 0; i < WIDE_ROOMS; i++) {
        mp_lock_release(&wide[i].lock);
    }
    mp_lock_release(&deep.lock);
}

void mp_rooms_fork_child(void)
{
    mp_lock_reset(&deep.lock);
    for (uint32_t i = 0; i < WIDE_ROOMS; i++) {
        mp_lock_reset(&wide[i].lock);
    }
}
