/* SPDX-License-Identifier: MIT
 * An allocator hook for the tests of the walk: it looks at the stack where memory is allocated,
 * which is in the middle of an instruction.
 *
 * Large blocks are walked and reported; the hook lies below tracemalloc's, so both look at the same
 * moment, and the test compares the two. Of all blocks, some are watched (drv_watch): whatever the
 * interpreter is about just then, the stack must be valid.
 *
 * Context: tests. Large blocks: one thread, with the GIL.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))
#define LARGE 1000000
#define FRAMES 100
#define EVERYTHING (1 << 20)

/* CPython's PyMemAllocatorEx, which is public and has not changed since 3.5. */
struct allocator {
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
};

long drv_walk(int max, int count_limit);
int drv_check_here(void);

static struct allocator below[3];
static long last_size;
static int watch_every;
static long allocations, watched[3];

static void seen(size_t size)
{
    int every = watch_every;

    if (size >= LARGE)
        last_size = drv_walk(FRAMES, EVERYTHING);
    if (every != 0 && __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) % every == 0)
        __atomic_add_fetch(&watched[drv_check_here() + 1], 1, __ATOMIC_RELAXED);
}

static void *hook_malloc(void *context, size_t size)
{
    const struct allocator *next = context;

    seen(size);
    return next->malloc(next->context, size);
}

static void *hook_calloc(void *context, size_t count, size_t size)
{
    const struct allocator *next = context;

    seen(count * size);
    return next->calloc(next->context, count, size);
}

static void *hook_realloc(void *context, void *block, size_t size)
{
    const struct allocator *next = context;

    seen(size);
    return next->realloc(next->context, block, size);
}

static void hook_free(void *context, void *block)
{
    const struct allocator *next = context;

    next->free(next->context, block);
}

EXPORT int drv_hook(void)
{
    void (*get)(int, struct allocator *), (*set)(int, struct allocator *);

    *(void **)&get = dlsym(RTLD_DEFAULT, "PyMem_GetAllocator");
    *(void **)&set = dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
    if (get == NULL || set == NULL)
        return -1;
    for (int domain = 0; domain < 3; domain++) {
        struct allocator hook = {&below[domain], hook_malloc, hook_calloc, hook_realloc, hook_free};

        get(domain, &below[domain]);
        set(domain, &hook);
    }
    return 0;
}

/* Checks the stack at each so many allocations; 0: no more. */
EXPORT void drv_watch(int every)
{
    watch_every = every;
}

/* How many stacks were found wrong (0), empty (1), right (2). */
EXPORT long drv_watched(int what)
{
    return watched[what];
}

/* The size of the report that the last large block left in drv_data(), 0: none since. */
EXPORT long drv_take(void)
{
    long size = last_size;

    last_size = 0;
    return size;
}
