/* SPDX-License-Identifier: MIT
 * pymalloc's arenas: see arenas.h.
 *
 * Freeing one is also a place that the finalizing interpreter passes before it gives the frames of daemon threads back: there it waits for
 * threads that are still reading theirs.
 *
 * Context: hook.
 */
#include "pyshim/arenas.h"

#include "core/hot.h"

/* As CPython's PyObjectArenaAllocator, which is part of its documented interface. */
struct arena_allocator {
    void *ctx;
    void *(*alloc)(void *ctx, size_t size);
    void (*free)(void *ctx, void *arena, size_t size);
};

static struct arena_allocator below;
static uint64_t bytes; /* atomic */

static void *arena_alloc(void *ctx, size_t size)
{
    uint64_t left = mp_hot_mask();
    void *arena = below.alloc(ctx, size);
    mp_hot_unmask(left);
    if (arena != NULL) {
        __atomic_fetch_add(&bytes, size, __ATOMIC_RELAXED);
    }
    return arena;
}

static void arena_free(void *ctx, void *arena, size_t size)
{
    mp_py_finalizing();
    __atomic_fetch_sub(&bytes, size, __ATOMIC_RELAXED);
    below.free(ctx, arena, size);
}

void mp_py_arenas_install(mp_py_resolve resolve)
{
    void (*get)(struct arena_allocator *) = (void (*)(struct arena_allocator *))resolve("PyObject_GetArenaAllocator");
    void (*set)(struct arena_allocator *) = (void (*)(struct arena_allocator *))resolve("PyObject_SetArenaAllocator");
    if (get == NULL || set == NULL || below.alloc != NULL) {
        return;
    }
    get(&below);
    struct arena_allocator ours = {below.ctx, arena_alloc, arena_free};
    set(&ours);
}

uint64_t mp_py_arenas_bytes(void)
{
    return __atomic_load_n(&bytes, __ATOMIC_RELAXED);
}
