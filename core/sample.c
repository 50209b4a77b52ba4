/* SPDX-License-Identifier: MIT
 * Taking a sample and forgetting it: see sample.h.
 *
 * Invariants: between enter() and leave() the thread's countdown cannot run out, so nothing that happens in
 * between, a signal handler that allocates included, comes here again; whoever holds the profile's lock is in between.
 * Context: hook.
 */
#include "core/sample.h"

#include "core/maths.h"
#include "core/profile.h"
#include "core/sys.h"
#include "core/tls.h"

/* While switched off a thread looks more often: what it asks for before it notices that the profiler was switched on is
 * not seen. Where there is no profiler at all it need not. */
#define OFF_LOOK ((uint64_t)1024)
#define NEVER_LOOK ((uint64_t)1 << 20)
/* Live samples, or sites, that are forgotten while the lock is held once. */
#define CLEAR_STEP 512u

__thread struct mp_tls mp_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

static const struct mp_stack_source *source;
static void (*look_before)(void);
static void (*look_after)(uint64_t now_ms);
static void (*start_pending)(void);
static void *deep_frames;
static uint32_t deep_room;       /* frames that deep_frames has room for */
static struct mp_lock deep_lock; /* guards the two above; taken before the profile's lock */

/* For a wide source. A thread always comes to the same of them, and waits only for those it shares it with. */
#define WIDE_PLACES 4u
static struct {
    struct mp_lock lock; /* guards frames; taken before the profile's lock, and by none that has another of them */
    void *frames;
    uint32_t room; /* frames of the stack; there is room for MP_STACK_ROOMS times as many */
} wide[WIDE_PLACES];
static bool wide_wanted;

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
    source = stacks;
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

/* Makes *frames room for count items of size bytes, where it has less. */
static int make_room(void **frames, uint32_t *room, uint32_t count, size_t size)
{
    if (count <= *room) {
        return MP_OK;
    }
    void *larger = mp_sys_map(count * size); /* touched as used */
    if (larger == NULL) {
        return MP_ERR_MEMORY;
    }
    if (*frames != NULL) {
        mp_sys_unmap(*frames, *room * size);
    }
    *frames = larger;
    *room = count;
    return MP_OK;
}

static int make_wide_rooms(uint32_t count)
{
    int result = MP_OK;
    for (uint32_t i = 0; i < WIDE_PLACES && result == MP_OK; i++) {
        mp_lock_take(&wide[i].lock);
        result = make_room(&wide[i].frames, &wide[i].room, count, MP_FRAME_SIZE * MP_STACK_ROOMS);
        mp_lock_release(&wide[i].lock);
    }
    return result;
}

static uint64_t enter(void)
{
    uint64_t left = mp_tls.left;
    mp_tls.left = MP_LEFT_NEVER;
    mp_tls.inside = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return left;
}

static void leave(uint64_t left)
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
static void draw(void)
{
    mp_tls.rate = __atomic_load_n(&mp_profile.rate, __ATOMIC_ACQUIRE);
    uint64_t rate = mp_profile.rates[mp_tls.rate];
    set_distance(rate == MP_RATE_OFF ? OFF_LOOK : mp_distance_draw(rate, &mp_tls.random));
}

static bool is_off(uint32_t row)
{
    return mp_profile.rates[row] == MP_RATE_OFF;
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
    draw();
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
    if (MP_UNLIKELY(is_off(row))) {
        draw();
        row = mp_tls.rate;
        changed = false;
        if (is_off(row)) {
            return 0;
        }
    }
    bool due = mp_tls.left + mp_tls.rest < bytes;
    if (due || changed) {
        draw();
    } else {
        count_down(bytes);
    }
    return due && !is_off(mp_tls.rate) ? row + 1 : 0;
}

MP_COLD uint32_t mp_sample_due(size_t size)
{
    uint64_t bytes = (uint64_t)size + (size == 0);
    mp_tls.left += bytes; /* as it was before mp_hot_count */
    if (mp_tls.inside || mp_tls.left > MP_LEFT_NEVER / 2) {
        return 0;
    }
    if (MP_UNLIKELY(mp_tls.probe != NULL)) {
        if (mp_tls.probe->want == 0 || mp_tls.probe->want == size) {
            mp_tls.probe->size = size;
            mp_tls.probe->asker = mp_tls.asker;
        }
        return 0;
    }
    if (!mp_profile.ready) { /* no Python yet, or never */
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
    mp_lock_take(&deep_lock);
    for (uint32_t i = 0; i < WIDE_PLACES; i++) {
        mp_lock_take(&wide[i].lock);
    }
    mp_lock_take(&mp_profile.lock);
}

void mp_sample_fork_parent(void)
{
    if (mp_tls.inside) {
        return;
    }
    mp_lock_release(&mp_profile.lock);
    for (uint32_t i = 0; i < WIDE_PLACES; i++) {
        mp_lock_release(&wide[i].lock);
    }
    mp_lock_release(&deep_lock);
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
    mp_lock_reset(&deep_lock);
    for (uint32_t i = 0; i < WIDE_PLACES; i++) {
        mp_lock_reset(&wide[i].lock);
    }
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
        node = source->intern_locked(frame, (uint32_t)node);
    }
    return node;
}

/* The sums and the thread of a row that came (+1) or went (-1: no peak, so no time is needed). */
static void account_locked(const struct mp_live_row *row, int sign, uint64_t now_ms)
{
    struct mp_worth worth = mp_worth_of(row->size, mp_profile.rates[row->rate]);
    mp_sites_live(&mp_profile.sites, row->site, worth, sign, now_ms);
    mp_profile_thread_live_locked((uint32_t)(row->time_thread & MP_LIVE_THREAD_MAX), sign);
}

static int insert_locked(const struct mp_live_row *row)
{
    struct mp_live_row old;
    int result = mp_live_insert(&mp_profile.live, row, &old);
    if (result == 1) { /* the free of the older was not seen */
        mp_profile_count(MP_NOTE_REPLACED);
        account_locked(&old, -1, 0);
    }
    return result < 0 ? result : MP_OK;
}

static int add_locked(const struct mp_stack *stack, struct mp_live_row *row, enum mp_domain domain,
                      uint64_t now_ms)
{
    if (is_off(mp_profile.rate)) {
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
    struct mp_worth worth = mp_worth_of(row->size, mp_profile.rates[row->rate]);
    mp_sites_add(&mp_profile.sites, row->site, row->size, worth, now_ms);
    mp_profile_thread_live_locked(thread, +1);
    return MP_OK;
}

static void take(struct mp_stack *stack, const void *block, size_t size, enum mp_domain domain, uint32_t due)
{
    source->collect(stack, domain);
    if (stack->why != MP_WHY_NONE && stack->why != MP_WHY_NO_THREAD && stack->why != MP_WHY_NO_FRAME) {
        mp_profile_count(MP_LOST_STACKS);
    }
    struct mp_live_row row = {
        .address = (uintptr_t)block, .size = size, .rate = (uint16_t)(due - 1)};
    uint64_t now_ms = mp_profile_clock_ms();
    mp_lock_take(&mp_profile.lock);
    int result = add_locked(stack, &row, domain, now_ms);
    mp_lock_release(&mp_profile.lock);
    source->done(stack);
    if (result < 0) {
        mp_profile_count(MP_LOST_MEMORY);
    }
}

/* What a wide source needs is too much for the stack of a thread that was given 16 kB. */
static void take_wide(uint32_t max, const void *block, size_t size, enum mp_domain domain, uint32_t due)
{
    uint32_t place = mp_hash_u64((uintptr_t)&mp_tls) % WIDE_PLACES;
    mp_lock_take(&wide[place].lock);
    max = max < wide[place].room ? max : wide[place].room;
    struct mp_stack stack = {.frames = wide[place].frames,
                             .max = max,
                             .scratch = (char *)wide[place].frames + (size_t)max * MP_FRAME_SIZE};
    take(&stack, block, size, domain, due);
    mp_lock_release(&wide[place].lock);
}

/* The frames lie on this function's stack: 2 kB, and only while a sample is taken. */
static __attribute__((noinline)) void take_inline(uint32_t max, const void *block, size_t size,
                                                  enum mp_domain domain, uint32_t due)
{
    uint64_t frames[MP_STACK_INLINE * MP_FRAME_SIZE / sizeof(uint64_t)];
    struct mp_stack stack = {.frames = frames, .max = max};
    take(&stack, block, size, domain, due);
}

static void take_deep(uint32_t max, const void *block, size_t size, enum mp_domain domain, uint32_t due)
{
    mp_lock_take(&deep_lock);
    struct mp_stack stack = {.frames = deep_frames, .max = max < deep_room ? max : deep_room};
    take(&stack, block, size, domain, due);
    mp_lock_release(&deep_lock);
}

MP_COLD void mp_sample_add(const void *block, size_t size, enum mp_domain domain, uint32_t due)
{
    if (mp_tls.inside) {
        mp_profile_count(MP_LOST_REENTERED);
        return;
    }
    if (look_before != NULL) {
        look_before();
    }
    uint64_t left = enter();
    if (source->prepare != NULL) {
        source->prepare();
    }
    uint32_t max = __atomic_load_n(&mp_profile.frames_max, __ATOMIC_ACQUIRE);
    if (source->wide) {
        take_wide(max, block, size, domain, due);
    } else if (max <= MP_STACK_INLINE) {
        take_inline(max, block, size, domain, due);
    } else {
        take_deep(max, block, size, domain, due);
    }
    leave(left);
    if (look_after != NULL) {
        look_after(mp_profile_clock_ms());
    }
}

MP_COLD bool mp_sample_forget(const void *block, struct mp_live_row *ret_row)
{
    if (block == NULL) {
        return false;
    }
    if (mp_tls.inside) {
        mp_profile_count(MP_LOST_FREES);
        return false;
    }
    if (look_before != NULL) {
        look_before();
    }
    uint64_t left = enter();
    mp_lock_take(&mp_profile.lock);
    bool found = mp_live_remove(&mp_profile.live, (uintptr_t)block, ret_row);
    if (found) {
        account_locked(ret_row, -1, 0);
    }
    mp_lock_release(&mp_profile.lock);
    leave(left);
    return found;
}

MP_COLD void mp_sample_drop(const void *block)
{
    struct mp_live_row unused;
    mp_sample_forget(block, &unused);
}

MP_COLD void mp_sample_restore(const struct mp_live_row *row)
{
    uint64_t left = enter();
    uint64_t now_ms = mp_profile_clock_ms();
    mp_lock_take(&mp_profile.lock);
    if (!is_off(mp_profile.rate)) {
        if (insert_locked(row) < 0) {
            mp_profile_count(MP_LOST_MEMORY);
        } else {
            account_locked(row, +1, now_ms);
        }
    }
    mp_lock_release(&mp_profile.lock);
    leave(left);
}

/* What a program steers. These are called by the host, on any thread, and between enter() and leave() like all else, for
 * a handler of a signal may allocate. */

int mp_sample_wide(void)
{
    wide_wanted = true;
    return make_wide_rooms(mp_profile.frames_max);
}

int mp_sample_frames(uint32_t frames_max)
{
    int result = MP_OK;
    uint64_t left = enter();
    if (frames_max > MP_STACK_INLINE) {
        mp_lock_take(&deep_lock);
        result = make_room(&deep_frames, &deep_room, frames_max, MP_FRAME_SIZE);
        mp_lock_release(&deep_lock);
    }
    if (result == MP_OK && wide_wanted) {
        result = make_wide_rooms(frames_max);
    }
    if (result == MP_OK) {
        __atomic_store_n(&mp_profile.frames_max, frames_max, __ATOMIC_RELEASE);
    }
    leave(left);
    return result;
}

int mp_sample_rate(uint64_t rate)
{
    uint64_t left = enter();
    int result = mp_profile_set_rate(rate);
    leave(left);
    if (result == MP_OK && mp_tls.known && left <= MP_LEFT_NEVER / 2) {
        draw(); /* what was still to go says nothing of what comes: the distance has no memory */
    }
    return result;
}

static bool forget_locked(uint32_t id)
{
    struct mp_live_row row = *(struct mp_live_row *)mp_vec_at(&mp_profile.live.rows, id);
    if (row.address == 0) {
        return false;
    }
    mp_live_remove(&mp_profile.live, row.address, &row);
    account_locked(&row, -1, 0);
    return true;
}

/* Calls step for [from, to) of rows 1 to the last, with the lock; each time as the only thing that holds it. */
static void in_steps(const struct mp_vec *rows, void (*step_locked)(uint32_t from, uint32_t to, uint64_t *total),
                     uint64_t *total)
{
    uint32_t end = mp_vec_count(rows);
    for (uint32_t from = 1; from < end; from += CLEAR_STEP) {
        uint32_t to = end - from < CLEAR_STEP ? end : from + CLEAR_STEP;
        uint64_t left = enter();
        mp_lock_take(&mp_profile.lock);
        step_locked(from, to, total);
        mp_lock_release(&mp_profile.lock);
        leave(left);
    }
}

static void clear_rows_locked(uint32_t from, uint32_t to, uint64_t *total)
{
    for (; from < to; from++) {
        *total += forget_locked(from);
    }
}

static void clear_sites_locked(uint32_t from, uint32_t to, uint64_t *total)
{
    (void)total;
    for (; from < to; from++) {
        mp_sites_clear_allocated(&mp_profile.sites, from);
    }
}

uint64_t mp_sample_clear(void)
{
    uint64_t forgotten = 0;
    in_steps(&mp_profile.live.rows, clear_rows_locked, &forgotten);
    in_steps(&mp_profile.sites.rows, clear_sites_locked, NULL);
    mp_sample_reset_peak();
    return forgotten;
}

void mp_sample_reset_peak(void)
{
    uint64_t left = enter();
    mp_lock_take(&mp_profile.lock);
    mp_sites_reset_peak(&mp_profile.sites, mp_profile_clock_ms());
    mp_lock_release(&mp_profile.lock);
    leave(left);
}

void mp_sample_totals(uint64_t *ret_bytes, uint64_t *ret_peak_bytes)
{
    uint64_t left = enter();
    mp_lock_take(&mp_profile.lock);
    *ret_bytes = (uint64_t)mp_profile.sites.live_bytes;
    *ret_peak_bytes = (uint64_t)mp_profile.sites.peak_bytes;
    mp_lock_release(&mp_profile.lock);
    leave(left);
}

bool mp_sample_find(const void *block, struct mp_live_row *ret_row)
{
    uint64_t left = enter();
    mp_lock_take(&mp_profile.lock);
    bool found = mp_live_find(&mp_profile.live, (uintptr_t)block, ret_row);
    mp_lock_release(&mp_profile.lock);
    leave(left);
    return found;
}
