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
#define ROOM_PAGE 4096u

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
            __atomic_store_n(&room->used, 0, __ATOMIC_RELAXED);
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

void mp_room_leave(struct mp_room *room, uint32_t used)
{
    if (used > room->used) {
        __atomic_store_n(&room->used, used, __ATOMIC_RELAXED);
    }
    mp_lock_release(&room->lock);
}

/* Each part of a room is used from its beginning on. */
static uint64_t spare(const struct mp_room *room, uint32_t parts)
{
    uint64_t size = (uint64_t)room->count * parts * MP_FRAME_SIZE;
    uint64_t used = (uint64_t)__atomic_load_n(&room->used, __ATOMIC_RELAXED) * MP_FRAME_SIZE;
    uint64_t touched = used == 0 ? 0 : used + (uint64_t)parts * ROOM_PAGE;
    return touched < size ? size - touched : 0;
}

uint64_t mp_rooms_spare(void)
{
    uint64_t bytes = spare(&deep, 1);
    for (uint32_t i = 0; i < WIDE_ROOMS; i++) {
        bytes += spare(&wide[i], MP_STACK_ROOMS);
    }
    return bytes;
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
