/* SPDX-License-Identifier: MIT
 * A profile made anew for each test, with stacks that a test makes up, and a program's allocations as the hooks see them.
 *
 * core makes one profile a process and keeps it; a test wants another. So sample.c and rooms.c are included: what they remember of the
 * last profile can be forgotten.
 */
#ifndef MP_TESTS_CORE_FRESH_H
#define MP_TESTS_CORE_FRESH_H

#include "suite.h"

#include <stdio.h>
#include <string.h>

#include "core/rooms.c"
#include "core/sample.c"

#include "core/hot.h"
#include "core/sections.h"
#include "core/spans.h"
#include "core/steer.h"

/* A stack that the next sample finds: frames with these numbers, nearest first. */
struct fresh_stack {
    uint32_t frames[2000];
    uint32_t count;
    uint32_t depth; /* 0: count */
    enum mp_why why;
    void (*meanwhile)(void); /* runs while it is collected, inside the profiler */
};

static __thread struct fresh_stack fresh_stack;
static uint32_t fresh_done_calls;

struct fresh_frame {
    uint32_t number, check;
    uint64_t unused;
};

_Static_assert(sizeof(struct fresh_frame) == MP_FRAME_SIZE, "what a stack has room for");

static void fresh_collect(struct mp_stack *stack, enum mp_domain domain)
{
    (void)domain;
    struct fresh_frame *frames = stack->frames;
    stack->depth = fresh_stack.depth != 0 ? fresh_stack.depth : fresh_stack.count;
    stack->why = fresh_stack.why;
    while (stack->count < fresh_stack.count && stack->count < stack->max) {
        uint32_t number = fresh_stack.frames[stack->count];
        frames[stack->count++] = (struct fresh_frame){number, ~number, 0};
    }
    if (fresh_stack.meanwhile != NULL) {
        fresh_stack.meanwhile();
    }
}

/* Frame n: function "function n" of "file.py", its first line n, line 2n. */
static int64_t fresh_intern_locked(const void *frame, uint32_t parent)
{
    const struct fresh_frame *at = frame;
    char text[32];
    if (at->check != ~at->number) {
        return MP_ERR_VALUE;
    }
    int length = snprintf(text, sizeof text, "function %u", at->number);
    int64_t name = mp_strtab_intern(&mp_profile.strings, text, (uint32_t)length);
    int64_t file = mp_strtab_intern(&mp_profile.strings, "file.py", 7);
    if (name < 0 || file < 0) {
        return MP_ERR_MEMORY;
    }
    int64_t function = mp_tree_function(&mp_profile.tree, (uint32_t)name, (uint32_t)file, at->number);
    return function < 0 ? function
                        : mp_tree_node(&mp_profile.tree, parent, (uint32_t)function, 2 * at->number);
}

static void fresh_done_with(struct mp_stack *stack)
{
    (void)stack;
    __atomic_fetch_add(&fresh_done_calls, 1, __ATOMIC_RELAXED);
}

static const struct mp_stack_source fresh_source = {
    .collect = fresh_collect, .intern_locked = fresh_intern_locked, .done = fresh_done_with};

/* The next samples of this thread have this one frame. */
static inline void fresh_frame(uint32_t number)
{
    fresh_stack = (struct fresh_stack){.frames = {number}, .count = 1};
}

static inline void fresh_release(void)
{
    mp_sys_map_fail_after(-1);
    struct mp_profile *profile = &mp_profile;
    struct mp_vec *vecs[] = {&profile->strings.rows,  &profile->tree.functions,
                             &profile->tree.nodes,    &profile->sites.rows,
                             &profile->live.rows,     &profile->threads,
                             &profile->strings.index.buckets, &profile->tree.function_index.buckets,
                             &profile->tree.node_index.buckets, &profile->sites.index.buckets,
                             &profile->live.index.buckets};
    for (size_t i = 0; i < sizeof vecs / sizeof vecs[0]; i++) {
        mp_vec_release(vecs[i]);
    }
    mp_sys_unmap(deep.frames, (size_t)deep.count * MP_FRAME_SIZE);
    memset(&deep, 0, sizeof deep);
    memset(profile, 0, sizeof *profile);
    memset(why_nodes, 0, sizeof why_nodes);
    memset(&mp_tls, 0, sizeof mp_tls);
    memset(&fresh_stack, 0, sizeof fresh_stack);
    look_before = NULL;
    look_after = NULL;
    start_pending = NULL;
    stack_room = NULL;
    fresh_done_calls = 0;
    mp_spans_count = 0;
}

/* A new profile whose random numbers are the same in every run. */
static inline int fresh_profile(uint64_t rate, uint32_t frames_max)
{
    fresh_release();
    mp_sample_source(&fresh_source);
    int result = mp_profile_init(rate, frames_max);
    mp_profile.seed = 20240229;
    if (result == MP_OK) {
        result = mp_steer_frames(frames_max);
    }
    fresh_frame(1);
    return result;
}

/* Before and after a test that wants every allocation recorded. */
static inline int fresh_exact(void **state)
{
    (void)state;
    return fresh_profile(1, 128);
}

static inline int fresh_done(void **state)
{
    (void)state;
    fresh_release();
    return 0;
}

/* What an allocation hook does. True: it was sampled. */
static inline bool fresh_alloc_in(enum mp_domain domain, uint64_t address, size_t size)
{
    uint32_t due = mp_hot_count(size) ? mp_sample_due(size) : 0;
    if (due != 0) {
        mp_sample_add((const void *)(uintptr_t)address, size, domain, due);
    }
    return due != 0;
}

static inline bool fresh_alloc(uint64_t address, size_t size)
{
    return fresh_alloc_in(MP_DOMAIN_OBJ, address, size);
}

/* What a free hook does. */
static inline void fresh_free(uint64_t address)
{
    const void *block = (const void *)(uintptr_t)address;
    if (mp_hot_maybe_sampled(block)) {
        mp_sample_drop(block);
    }
}

static inline const struct mp_site *fresh_site(uint32_t id)
{
    return mp_vec_at(&mp_profile.sites.rows, id);
}

/* The live sample at this address, or NULL. */
static inline const struct mp_live_row *fresh_live(uint64_t address)
{
    for (uint32_t i = 1; i < mp_vec_count(&mp_profile.live.rows); i++) {
        const struct mp_live_row *row = mp_vec_at(&mp_profile.live.rows, i);
        if (row->address == address) {
            return row;
        }
    }
    return NULL;
}

static inline uint64_t fresh_count(enum mp_count what)
{
    return __atomic_load_n(&mp_profile.counts[what], __ATOMIC_RELAXED);
}

#endif
