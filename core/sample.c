/* SPDX-License-Identifier: MIT
 * Taking a sample and forgetting it: see sample.h.
 *
 * Invariants: between mp_sample_enter and _leave the thread's countdown cannot run out, so nothing that happens in
 * between, a signal handler that allocates included, comes here again; whoever holds the profile's lock is in between.
 * Context: hook.
 */
#include "core/sample.h"

#include "core/maths.h"
#include "core/profile.h"
#include "core/rooms.h"
#include "core/spans.h"
#include "core/sys.h"
#include "core/tls.h"

/* While switched off a thread looks more often: what it asks for before it notices that the profiler was switched on is
 * not seen. Where there is no profiler at all it need not. */
#define OFF_LOOK ((uint64_t)1024)
#define NEVER_LOOK ((uint64_t)1 << 20)

__thread struct mp_tls mp_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

static const struct mp_stack_source *source;
static void (*look_before)(void);
static void (*look_after)(uint64_t now_ms);
static void (*start_pending)(void);
static size_t (*stack_room)(void);
static const char *const why_names[MP_WHYS] = {
    [MP_WHY_NONE] = "",
    [MP_WHY_NO_THREAD] = "[no Python thread]",
    [MP_WHY_NO_FRAME] = "[no Python frame]",
    [MP_WHY_FINALIZING] = "[interpreter finalizing]",
    [MP_WHY_UNREADABLE] = "[stack not readable]",
    [MP_WHY_OFF] = "[stacks off]",
    [MP_WHY_CUT] = "[frames cut]",
};
static uint32_t why_nodes[MP_WHYS]; /* made when first needed; guarded by the profile's lock */

void mp_sample_source(const struct mp_stack_source *stacks)
{
    __atomic_store_n(&source, stacks, __ATOMIC_RELEASE);
}

void mp_sample_after(void (*look)(uint64_t now_ms))
{
    look_after = look;
}

void mp_sample_before(void (*look)(void))
{
    look_before = look;
}

void mp_sample_pending(void (*dump)(void))
{
    start_pending = dump;
}

void mp_sample_stack_room(size_t (*room)(void))
{
    stack_room = room;
}

uint64_t mp_sample_enter(void)
{
    uint64_t left = mp_tls.left;
    mp_tls.left = MP_LEFT_NEVER;
    mp_tls.inside = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return left;
}

void mp_sample_leave(uint64_t left)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (MP_UNLIKELY(mp_tls.left != MP_LEFT_NEVER)) {
        mp_profile_count(MP_LOST_REENTERED); /* a signal handler allocated meanwhile */
    }
    mp_tls.left = left;
    mp_tls.inside = false;
    if (MP_UNLIKELY(mp_tls.dump_after)) {
        mp_tls.dump_after = false;
        start_pending();
    }
}

void mp_sample_probe_start(struct mp_probe *probe, size_t want)
{
    *probe = (struct mp_probe){.want = want, .left = mp_tls.left};
    mp_tls.probe = probe;
    mp_tls.left = 0;
}

void mp_sample_probe_stop(void)
{
    mp_tls.left = mp_tls.probe->left;
    mp_tls.probe = NULL;
}

static void set_distance(uint64_t bytes)
{
    mp_tls.left = bytes < MP_LOOK_BYTES ? bytes : MP_LOOK_BYTES;
    mp_tls.rest = bytes - mp_tls.left;
}

/* At the rate in force. */
void mp_sample_draw(void)
{
    mp_tls.rate = __atomic_load_n(&mp_profile.rate, __ATOMIC_ACQUIRE);
    uint64_t rate = mp_profile.rates[mp_tls.rate];
    set_distance(rate == MP_RATE_OFF ? OFF_LOOK : mp_distance_draw(rate, &mp_tls.random));
}

static void seed(void)
{
    uint64_t nth = __atomic_add_fetch(&mp_profile.seeded_threads, 1, __ATOMIC_RELAXED);
    uint64_t mix = mp_profile.seed + nth * 0xD1342543DE82EF95ull;
    mp_tls.random = mp_random_next(&mix);
}

static void make_known(void)
{
    seed();
    mp_tls.known = true;
    mp_sample_draw();
}

/* The block was counted, and the sample is not in it. */
static void count_down(uint64_t bytes)
{
    set_distance(mp_tls.left + mp_tls.rest - bytes);
}

/* A known thread is at a look. A rate that changed meanwhile is in force from the next block on, so that each block was drawn at
 * one rate, whatever the draw said; a thread that was off draws for this one. */
static uint32_t due_or_look(uint64_t bytes)
{
    uint32_t row = mp_tls.rate;
    bool changed = row != __atomic_load_n(&mp_profile.rate, __ATOMIC_RELAXED);
    if (MP_UNLIKELY(mp_profile_is_off(row))) {
        mp_sample_draw();
        row = mp_tls.rate;
        changed = false;
        if (mp_profile_is_off(row)) {
            return 0;
        }
    }
    bool due = mp_tls.left + mp_tls.rest < bytes;
    if (due || changed) {
        mp_sample_draw();
    } else {
        count_down(bytes);
    }
    return due && !mp_profile_is_off(mp_tls.rate) ? row + 1 : 0;
}

MP_COLD uint32_t mp_sample_due(size_t size)
{
    uint64_t bytes = (uint64_t)size + (size == 0);
    mp_tls.left += bytes; /* as it was before mp_hot_count */
    if (mp_tls.inside || mp_tls.left > MP_LEFT_NEVER / 2) {
        return 0;
    }
    if (MP_UNLIKELY(mp_tls.probe != NULL)) {
        /* What the request asks for in its turn comes after. */
        if (mp_tls.probe->size == 0 && (mp_tls.probe->want == 0 || mp_tls.probe->want == size)) {
            mp_tls.probe->size = size;
            mp_tls.probe->asker = mp_tls.asker;
        }
        return 0;
    }
    if (!__atomic_load_n(&mp_profile.ready, __ATOMIC_ACQUIRE)) { /* no Python yet, or never */
        mp_tls.left = NEVER_LOOK;
        return 0;
    }
    if (!mp_tls.known) {
        make_known();
    }
    return due_or_look(bytes);
}

/* A signal handler that forks in the middle of a sample finds the locks its own thread holds: they are left as they are,
 * in the child too, where that thread goes on and releases them. */
void mp_sample_fork_prepare(void)
{
    if (mp_tls.inside) {
        return;
    }
    mp_rooms_fork_prepare();
    mp_lock_take(&mp_profile.lock);
}

void mp_sample_fork_parent(void)
{
    if (mp_tls.inside) {
        return;
    }
    mp_lock_release(&mp_profile.lock);
    mp_rooms_fork_parent();
}

void mp_sample_fork_child(void)
{
    mp_profile_forked();
    mp_tls.thread = 0;
    if (mp_tls.inside) {
        seed(); /* the distance under way was drawn by the parent, and is good for one sample of each */
        return;
    }
    mp_lock_reset(&mp_profile.lock);
    mp_rooms_fork_child();
    if (mp_tls.known) {
        make_known();
    }
}

/* The node of the pseudo frame that says why; the root where even that cannot be had. */
static uint32_t why_node_locked(enum mp_why why)
{
    if (why_nodes[why] == 0) {
        uint32_t length = 0;
        while (why_names[why][length] != '\0') {
            length++;
        }
        int64_t name = mp_strtab_intern(&mp_profile.strings, why_names[why], length);
        int64_t file = mp_strtab_intern(&mp_profile.strings, "<unknown>", 9);
        int64_t function = name < 0 || file < 0 ? MP_ERR_MEMORY
                                                : mp_tree_function(&mp_profile.tree, (uint32_t)name,
                                                                   (uint32_t)file, 0);
        int64_t node = function < 0 ? function
                                    : mp_tree_node(&mp_profile.tree, 0, (uint32_t)function, 0);
        why_nodes[why] = node < 0 ? 0 : (uint32_t)node;
    }
    return why_nodes[why];
}

static int64_t stack_node_locked(const struct mp_stack *stack)
{
    if (stack->count == 0) {
        return why_node_locked(stack->why);
    }
    int64_t node = 0;
    if (stack->depth > stack->count) {
        mp_profile_count(MP_NOTE_STACKS_CUT);
        node = why_node_locked(MP_WHY_CUT);
    }
    for (uint32_t i = stack->count; i-- > 0 && node >= 0;) {
        const char *frame = (const char *)stack->frames + (size_t)i * MP_FRAME_SIZE;
        node = stack->source->intern_locked(frame, (uint32_t)node);
    }
    return node;
}

/* Sizes repeat, exponentials are dear: a seventh of what a sample costs. */
#define WORTHS 1024u
static struct {
    uint64_t size, rate; /* rate 0: empty */
    struct mp_worth worth;
} worths[WORTHS]; /* guarded by the profile's lock */

static struct mp_worth worth_locked(const struct mp_live_row *row)
{
    uint64_t rate = mp_profile.rates[row->rate];
    if (rate <= 1) {
        return mp_worth_of(row->size, rate); /* nothing to compute */
    }
    uint32_t slot = (uint32_t)(mp_hash_u64(row->size) & (WORTHS - 1));
    if (worths[slot].size != row->size || worths[slot].rate != rate) {
        worths[slot].size = row->size;
        worths[slot].rate = rate;
        worths[slot].worth = mp_worth_of(row->size, rate);
    }
    return worths[slot].worth;
}

/* The sums and the thread of a row that came (+1) or went (-1: no peak, so no time is needed). */
void mp_sample_account_locked(const struct mp_live_row *row, int sign, uint64_t now_ms)
{
    struct mp_worth worth = worth_locked(row);
    mp_sites_live(&mp_profile.sites, row->site, worth, sign, now_ms);
    mp_profile_thread_live_locked((uint32_t)(row->time_thread & MP_LIVE_THREAD_MAX), sign);
}

static bool is_mapping(const struct mp_live_row *row)
{
    return ((struct mp_site *)mp_vec_at(&mp_profile.sites.rows, row->site))->domain == MP_DOMAIN_MMAP;
}

static int insert_locked(const struct mp_live_row *row)
{
    struct mp_live_row old;
    int result = mp_live_insert(&mp_profile.live, row, &old);
    if (result >= 0 && is_mapping(row) && mp_spans_add(row->address) < 0) {
        mp_profile_count(MP_LOST_MEMORY);
    }
    if (result == 1) { /* the free of the older was not seen */
        mp_profile_count(MP_NOTE_REPLACED);
        mp_sample_account_locked(&old, -1, 0);
    }
    return result < 0 ? result : MP_OK;
}

static int add_locked(const struct mp_stack *stack, struct mp_live_row *row, enum mp_domain domain,
                      uint64_t now_ms)
{
    if (mp_profile_is_off(mp_profile.rate)) {
        return MP_OK; /* switched off since it was drawn */
    }
    int64_t node = stack_node_locked(stack);
    int64_t site = node < 0 ? node : mp_sites_intern(&mp_profile.sites, (uint32_t)node, domain);
    if (site < 0) {
        return (int)site;
    }
    uint32_t thread = mp_profile_thread_locked(&mp_tls.thread, &mp_tls.thread_stamp);
    row->site = (uint32_t)site;
    row->time_thread = now_ms << 24 | thread;
    row->generation = mp_profile.generation;
    row->depth = (uint16_t)(stack->depth < UINT16_MAX ? stack->depth : UINT16_MAX);
    int result = insert_locked(row);
    if (result < 0) {
        return result;
    }
    struct mp_worth worth = worth_locked(row);
    mp_sites_add(&mp_profile.sites, row->site, row->size, worth, now_ms);
    mp_profile_thread_live_locked(thread, +1);
    return MP_OK;
}

static void take(struct mp_stack *stack, const void *block, size_t size, enum mp_domain domain, uint32_t due)
{
    stack->source->collect(stack, domain);
    if (stack->why != MP_WHY_NONE && stack->why != MP_WHY_NO_THREAD && stack->why != MP_WHY_NO_FRAME) {
        mp_profile_count(MP_LOST_STACKS);
    }
    struct mp_live_row row = {
        .address = (uintptr_t)block, .size = size, .rate = (uint16_t)(due - 1)};
    uint64_t now_ms = mp_profile_clock_ms();
    mp_lock_take(&mp_profile.lock);
    int result = add_locked(stack, &row, domain, now_ms);
    mp_lock_release(&mp_profile.lock);
    stack->source->done(stack);
    if (result < 0) {
        mp_profile_count(MP_LOST_MEMORY);
    }
}

/* What a wide source needs is too much for the stack of a thread that was given 16 kB. */
static void take_wide(const struct mp_stack_source *from, uint32_t max, const void *block, size_t size,
                      enum mp_domain domain, uint32_t due)
{
    struct mp_room *room = mp_room_wide();
    max = max < room->count ? max : room->count;
    struct mp_stack stack = {.source = from,
                             .frames = room->frames,
                             .max = max,
                             .scratch = (char *)room->frames + (size_t)max * MP_FRAME_SIZE};
    take(&stack, block, size, domain, due);
    mp_room_leave(room, stack.count + stack.scratched);
}

/* The frames lie on this function's stack: 2 kB, and only while a sample is taken. */
static __attribute__((noinline)) void take_inline(const struct mp_stack_source *from, uint32_t max, const void *block,
                                                  size_t size, enum mp_domain domain, uint32_t due)
{
    uint64_t frames[MP_STACK_INLINE * MP_FRAME_SIZE / sizeof(uint64_t)];
    struct mp_stack stack = {.source = from, .frames = frames, .max = max};
    take(&stack, block, size, domain, due);
}

static void take_deep(const struct mp_stack_source *from, uint32_t max, const void *block, size_t size,
                      enum mp_domain domain, uint32_t due)
{
    struct mp_room *room = mp_room_deep();
    struct mp_stack stack = {.source = from, .frames = room->frames, .max = max < room->count ? max : room->count};
    take(&stack, block, size, domain, due);
    mp_room_leave(room, stack.count);
}

MP_COLD void mp_sample_add(const void *block, size_t size, enum mp_domain domain, uint32_t due)
{
    if (mp_tls.inside) {
        mp_profile_count(MP_LOST_REENTERED);
        return;
    }
    size_t room = stack_room != NULL ? stack_room() : SIZE_MAX;
    if (MP_UNLIKELY(room < MP_SAMPLE_STACK)) {
        mp_profile_count(MP_LOST_SMALL_STACKS);
        return;
    }
    if (look_before != NULL) {
        look_before();
    }
    uint64_t left = mp_sample_enter();
    const struct mp_stack_source *from = __atomic_load_n(&source, __ATOMIC_ACQUIRE);
    if (MP_UNLIKELY(from->wide && room < MP_SAMPLE_WIDE_STACK)) {
        mp_profile_count(MP_NOTE_NATIVE_SKIPPED);
        from = from->narrow;
    }
    if (from->prepare != NULL) {
        from->prepare();
    }
    uint32_t max = __atomic_load_n(&mp_profile.frames_max, __ATOMIC_ACQUIRE);
    if (from->wide) {
        take_wide(from, max, block, size, domain, due);
    } else if (max <= MP_STACK_INLINE) {
        take_inline(from, max, block, size, domain, due);
    } else {
        take_deep(from, max, block, size, domain, due);
    }
    mp_sample_leave(left);
    if (look_after != NULL) {
        look_after(mp_profile_clock_ms());
    }
}

MP_COLD bool mp_sample_forget(const void *block, struct mp_live_row *ret_row)
{
    if (block == NULL || !__atomic_load_n(&mp_profile.ready, __ATOMIC_ACQUIRE)) {
        return false; /* before there are tables, a pin (live.h) may ask for every block */
    }
    if (!mp_live_maybe((uintptr_t)block)) {
        return false;
    }
    if (mp_tls.inside) {
        mp_profile_count(MP_LOST_FREES);
        return false;
    }
    if (look_before != NULL) {
        look_before();
    }
    uint64_t left = mp_sample_enter();
    mp_lock_take(&mp_profile.lock);
    bool found = mp_live_remove(&mp_profile.live, (uintptr_t)block, ret_row);
    if (found) {
        mp_sample_account_locked(ret_row, -1, 0);
    }
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
    return found;
}

MP_COLD void mp_sample_drop(const void *block)
{
    struct mp_live_row unused;
    mp_sample_forget(block, &unused);
}

void mp_sample_insert_locked(const struct mp_live_row *row, uint64_t now_ms)
{
    if (mp_profile_is_off(mp_profile.rate)) {
        return;
    }
    if (insert_locked(row) < 0) {
        mp_profile_count(MP_LOST_MEMORY);
    } else {
        mp_sample_account_locked(row, +1, now_ms);
    }
}

MP_COLD void mp_sample_restore(const struct mp_live_row *row)
{
    uint64_t left = mp_sample_enter();
    uint64_t now_ms = mp_profile_clock_ms();
    mp_lock_take(&mp_profile.lock);
    mp_sample_insert_locked(row, now_ms);
    mp_lock_release(&mp_profile.lock);
    mp_sample_leave(left);
}
