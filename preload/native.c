/* SPDX-License-Identifier: MIT
 * Native stacks, merged with Python's: see native.h.
 *
 * The interpreter's evaluation loop is one function, but compilers lay it out in two pieces, one for what is rarely run
 * (which with gcc 14 is nearly all of it), and only one of them has a name. The other is where the first one jumps to.
 *
 * Invariants: threads that ask the loader or libunwind are counted in `walkers`, and a fork waits for them.
 * Context: attach, fork, hook.
 */
#include "preload/native.h"

#include <errno.h>
#include <string.h>

#include "core/modules.h"
#include "core/profile.h"
#include "core/sys.h"
#include "core/tls.h"
#include "preload/malloc.h"
#include "preload/objects.h"
#include "preload/unwind.h"
#include "pyshim/code.h"
#include "pyshim/interp.h"
#include "pyshim/merge.h"

#define CALLERS_MAX 8u
#define NATIVE_ROOMS 2u /* of a stack's room: merging drops up to every second native frame */
#define FORK_WAIT_MS 200

_Static_assert(MP_STACK_ROOMS == 2 + NATIVE_ROOMS, "merged, Python's, native");

static bool on;
static struct {
    uintptr_t start, end;
} eval_pieces[2];
static uintptr_t eval_callers[CALLERS_MAX];
static uint32_t interpreter, self; /* objects */

static uint32_t walkers;   /* atomic */
static uint32_t fork_gate; /* atomic: forks that are near, of several threads */
static uint32_t forks;     /* of this process's ancestors: walkers of the parent's do not count here */

const char *mp_native_load(void)
{
    return mp_unwind_load();
}

/* Finding the evaluation loop. */

#define VOTES_NEEDED 5u
#define CANDIDATES 16u

struct vote {
    uintptr_t start, end;
    uint32_t votes;
};

static void vote(struct vote *candidates, uintptr_t start, uintptr_t end)
{
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        if (candidates[i].votes == 0 || candidates[i].start == start) {
            candidates[i] = (struct vote){start, end, candidates[i].votes + 1};
            return;
        }
    }
}

/* Bytes are looked at, not instructions: what looks like a jump and is none leads anywhere, and is outvoted. */
static void find_other_piece(const struct mp_object *object)
{
    struct vote candidates[CANDIDATES] = {{0, 0, 0}};
    uint32_t all = 0, best = 0;
    for (uintptr_t at = eval_pieces[0].start; at + 6 <= eval_pieces[0].end; at++) {
        const unsigned char *code = (const unsigned char *)at;
        size_t opcode = code[0] == 0xE9 ? 1 : code[0] == 0x0F && (code[1] & 0xF0) == 0x80 ? 2 : 0;
        if (opcode == 0) {
            continue;
        }
        int32_t offset;
        uintptr_t start, end;
        memcpy(&offset, code + opcode, sizeof offset);
        uintptr_t target = at + opcode + 4 + (uintptr_t)(intptr_t)offset;
        /* A jump to the beginning of a piece may be a call; into the middle of one it is not. */
        if (mp_object_piece(object, target, &start, &end) && start != target && start != eval_pieces[0].start) {
            vote(candidates, start, end);
            all++;
        }
    }
    for (uint32_t i = 1; i < CANDIDATES; i++) {
        best = candidates[i].votes > candidates[best].votes ? i : best;
    }
    if (candidates[best].votes >= VOTES_NEEDED && candidates[best].votes * 4 >= all * 3) {
        eval_pieces[1].start = candidates[best].start;
        eval_pieces[1].end = candidates[best].end;
    }
}

static void find_eval(const void *eval)
{
    interpreter = mp_objects_find((uintptr_t)eval);
    if (interpreter == 0 || !mp_object_piece(mp_object_get(interpreter), (uintptr_t)eval, &eval_pieces[0].start,
                                             &eval_pieces[0].end)) {
        return;
    }
#if defined(__x86_64__)
    find_other_piece(mp_object_get(interpreter));
#endif
}

static uint32_t classify(uintptr_t address, uint32_t object, uintptr_t function)
{
    if (object == self) {
        return MP_NATIVE_SELF;
    }
    for (size_t i = 0; i < MP_COUNT(eval_pieces); i++) {
        if (address >= eval_pieces[i].start && address < eval_pieces[i].end) {
            return MP_NATIVE_EVAL;
        }
    }
    uint32_t flags = object == interpreter || mp_malloc_is_allocator((const void *)address) ? MP_NATIVE_CALLER : 0;
    for (size_t i = 0; function != 0 && i < CALLERS_MAX; i++) {
        flags |= eval_callers[i] == function ? MP_NATIVE_PLUMBING : 0;
    }
    return flags;
}

/* Walking. */

static bool walk_enter(uint32_t *ret_forks)
{
    *ret_forks = __atomic_load_n(&forks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&walkers, 1, __ATOMIC_SEQ_CST);
    if (MP_LIKELY(__atomic_load_n(&fork_gate, __ATOMIC_SEQ_CST) == 0)) {
        return true;
    }
    __atomic_fetch_sub(&walkers, 1, __ATOMIC_SEQ_CST);
    return false;
}

static void walk_leave(uint32_t forks_then)
{
    if (forks_then == __atomic_load_n(&forks, __ATOMIC_RELAXED)) {
        __atomic_fetch_sub(&walkers, 1, __ATOMIC_SEQ_CST);
    }
}

static void prepare(void)
{
    uint32_t forks_then;
    int error = errno;
    if (walk_enter(&forks_then)) {
        mp_objects_refresh();
        walk_leave(forks_then);
    }
    errno = error;
}

static void collect(struct mp_stack *stack, enum mp_domain domain)
{
    struct mp_stack python = {.frames = stack->scratch, .max = stack->max};
    struct mp_py_side python_side = {.frames = python.frames};
    mp_py_collect(&python, domain, &python_side.evals_before);
    python_side.count = python.count;
    python_side.depth = python.depth;

    uint32_t forks_then;
    struct mp_native_frame *frames = (struct mp_native_frame *)stack->scratch + stack->max;
    struct mp_native_side native = {.frames = frames};
    int error = errno;
    if (walk_enter(&forks_then)) {
        native.count = mp_unwind_walk(frames, NATIVE_ROOMS * stack->max, &native.whole, &native.cut);
        walk_leave(forks_then);
    } else {
        mp_profile_count(MP_NOTE_NATIVE_SKIPPED);
    }
    errno = error;

    bool matched;
    stack->scratched = python.count + native.count;
    stack->count = mp_py_merge(&python_side, &native, stack->frames, stack->max, &stack->depth, &matched);
    stack->why = python.why;
    stack->detached = python.detached;
    if (!matched) {
        mp_profile_count(MP_NOTE_NATIVE_UNMATCHED);
    }
}

static int64_t intern_locked(const void *opaque, uint32_t parent)
{
    const struct mp_native_frame *frame = opaque;
    if (!(frame->tag & MP_NATIVE)) {
        return mp_py_code_intern_locked(opaque, parent);
    }
    const char *name = frame->module == 0   ? "[code in no module]"
                       : frame->symbol == 0 ? ""
                                            : mp_object_symbol_name(frame->module, frame->symbol);
    return mp_module_node(parent, frame, name);
}

const struct mp_stack_source *mp_native_begin(const void *eval, const void *const *callers, size_t caller_count)
{
    static struct mp_stack_source source;
    source = (struct mp_stack_source){.collect = collect,
                                      .intern_locked = intern_locked,
                                      .done = mp_py_stack_source.done,
                                      .prepare = prepare,
                                      .wide = true,
                                      .narrow = &mp_py_stack_source};
    mp_objects_refresh();
    self = mp_objects_find((uintptr_t)mp_native_begin);
    find_eval(eval);
    for (size_t i = 0; i < caller_count && i < CALLERS_MAX; i++) {
        eval_callers[i] = (uintptr_t)callers[i];
    }
    mp_unwind_begin(classify);
    on = true;
    return &source;
}

/* Forking. */

void mp_native_fork_prepare(void)
{
    if (!on || mp_tls.inside) {
        return;
    }
    __atomic_fetch_add(&fork_gate, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < FORK_WAIT_MS && __atomic_load_n(&walkers, __ATOMIC_SEQ_CST) != 0; i++) {
        uint32_t never = 0;
        mp_sys_futex_wait(&never, 0, 1); /* a millisecond */
    }
}

void mp_native_fork_parent(void)
{
    if (!on || mp_tls.inside) {
        return;
    }
    __atomic_fetch_sub(&fork_gate, 1, __ATOMIC_SEQ_CST);
}

void mp_native_fork_child(void)
{
    if (!on) {
        return;
    }
    __atomic_store_n(&forks, forks + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&walkers, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&fork_gate, 0, __ATOMIC_SEQ_CST);
    if (!mp_tls.inside) {
        mp_objects_forked();
    }
}
