/* SPDX-License-Identifier: MIT
 * The hooks on Python's allocators: see hooks.h.
 *
 * Bytes are counted once. pymalloc serves requests of 1 to 512 bytes itself and asks the raw domain for
 * all others, so small ones are counted in the mem and obj hooks and the rest below, where it is known who asked: in libc's
 * malloc if that is interposed (the raw hook then only labels), else, and above debug hooks, in the raw hook. What a realloc of mem or obj asks below is masked: it was counted above, whole.
 *
 * The free of Python objects is the most frequent event in the process, and costs nothing where pymalloc
 * serves: a small block that is to be sampled is asked for as 513 bytes, which pymalloc itself takes from the raw domain and
 * gives back there, where frees are watched. Three ways to hook mem and obj follow:
 *
 *     UNHOOKED  pymalloc, at rates where 528 bytes a live sample are nothing: free is pymalloc's own
 *     SMALL     pymalloc, at finer rates: free is hooked
 *     WHOLE     anything else below (debug hooks, malloc, mimalloc, another tracer): every size is counted here,
 *               what is asked below is masked, free is hooked
 *
 * BOOT is SMALL until there is a thread state; then a self-test sees what the allocator below really does, and decides. What a
 * small request asks below is masked until then: it may be malloc, or mimalloc mapping its first arena of 1 GiB.
 *
 * Invariants: hooks keep the context pointer of what they wrap and find the functions below in a static table, so that
 * a reader who sees half of an allocator replaced still has a working one.
 *
 * A running interpreter that we are brought into is hooked with the GIL held: mem and obj are used by nobody else, and of raw a reader
 * may see one half. Another tracer may come and go above us; one that was there before us takes our hooks away when it stops,
 * and they are put back when the program next asks something of us.
 *
 * Context: hook; with the GIL for the self-test, and for mp_py_hooks_hold and _rate.
 */
#include "pyshim/hooks.h"

#include <string.h>

#include "core/hot.h"
#include "core/profile.h"
#include "core/sample.h"
#include "pyshim/below.h"
#include "pyshim/interp.h"
#include "pyshim/raw.h"

#define SMALL_MAX 512u /* pymalloc's SMALL_REQUEST_THRESHOLD */
#define ROUNDED (SMALL_MAX + 1)
#define UNHOOKED_RATE_MIN (16u * 1024)
#define PROBE_SIZE 48u

enum how { HOW_BOOT, HOW_UNHOOKED, HOW_SMALL, HOW_WHOLE };

struct mp_py_allocator mp_py_below[3];
static enum how how_now;
static const char *allocator = "unknown";

static bool malloc_counts; /* libc's malloc is interposed */
static bool may_unhook;    /* what the self-test said */
static bool raw_labels;    /* the raw hook only labels */
static bool installed_at_boot;

/* mem and obj. `zeroed` tells calloc from malloc; the constants fold in each instance. */

/* pymalloc passes it on to the raw domain, where it is counted as the asker's. */
MP_INLINE void *ask_large(enum mp_domain domain, void *ctx, size_t size, bool zeroed)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = (uint8_t)(domain + 1);
    void *block = mp_py_ask(domain, ctx, size, zeroed);
    mp_tls.asker = asker;
    return block;
}

static MP_COLD void *ask_slow(enum mp_domain domain, enum how how, void *ctx, size_t size, bool zeroed)
{
    uint32_t due = mp_sample_due(size);
    if (MP_UNLIKELY(mp_tls.probe != NULL)) {
        mp_py_note_probed(domain, size);
    }
    if (how == HOW_WHOLE || how == HOW_BOOT || (how == HOW_UNHOOKED && due != 0)) {
        void *block = mp_py_ask_masked(domain, ctx, how == HOW_UNHOOKED ? ROUNDED : size, zeroed);
        if (block == NULL && how == HOW_UNHOOKED) {
            mp_profile_count(MP_NOTE_REFUSED_513);
            return mp_py_ask_masked(domain, ctx, size, zeroed);
        }
        if (due != 0 && block != NULL) {
            mp_sample_add(block, size, domain, due);
        }
        return block;
    }
    void *block = mp_py_ask(domain, ctx, size, zeroed);
    if (due != 0 && block != NULL) {
        mp_sample_add(block, size, domain, due);
    }
    return block;
}

MP_INLINE void *hook_ask(enum mp_domain domain, enum how how, void *ctx, size_t size, bool zeroed)
{
    if (how == HOW_WHOLE) {
        if (MP_LIKELY(!mp_hot_count(size))) {
            return mp_py_ask_masked(domain, ctx, size, zeroed);
        }
        return ask_slow(domain, how, ctx, size, zeroed);
    }
    if (MP_LIKELY(size - 1 < SMALL_MAX)) {
        if (MP_LIKELY(!mp_hot_count_some(size))) {
            return how == HOW_BOOT ? mp_py_ask_masked(domain, ctx, size, zeroed) : mp_py_ask(domain, ctx, size, zeroed);
        }
        return ask_slow(domain, how, ctx, size, zeroed);
    }
    return ask_large(domain, ctx, size, zeroed);
}

/* Where free is not hooked, a sampled block is the raw domain's, whose hook forgets it on the way. */
static MP_COLD void *realloc_slow(enum mp_domain domain, enum how how, void *ctx, void *old, size_t size,
                                  bool ran_out)
{
    struct mp_live_row row;
    bool forgotten =
        how != HOW_UNHOOKED && mp_hot_maybe_sampled(old) && mp_sample_forget(old, &row);
    uint32_t due = ran_out ? mp_sample_due(size) : 0;
    bool round = how == HOW_UNHOOKED && due != 0 && size - 1 < SMALL_MAX;
    void *block = mp_py_realloc_masked(domain, ctx, old, round ? ROUNDED : size);
    if (block == NULL && round) {
        mp_profile_count(MP_NOTE_REFUSED_513);
        return mp_py_realloc_masked(domain, ctx, old, size);
    }
    if (block == NULL) {
        if (forgotten) {
            mp_sample_restore(&row);
        }
    } else if (due != 0) {
        mp_sample_add(block, size, domain, due);
    }
    return block;
}

MP_INLINE void *hook_realloc(enum mp_domain domain, enum how how, void *ctx, void *old, size_t size)
{
    bool ran_out = mp_hot_count(size);
    if (MP_LIKELY(!ran_out && (how == HOW_UNHOOKED || !mp_hot_maybe_sampled(old)))) {
        return mp_py_realloc_masked(domain, ctx, old, size);
    }
    return realloc_slow(domain, how, ctx, old, size, ran_out);
}

MP_INLINE void hook_free(enum mp_domain domain, void *ctx, void *block)
{
    if (mp_hot_maybe_sampled(block)) {
        mp_sample_drop(block);
    }
    mp_py_below[domain].free(ctx, block);
}

static void boot(void);

/* One instance of the hooks for a domain and a way; `first` runs before each (BOOT's self-test). */
#define MP_DEFINE_HOOKS(name, domain, how, first)                                                  \
    static void *name##_malloc(void *ctx, size_t size)                                             \
    {                                                                                              \
        first;                                                                                     \
        return hook_ask(domain, how, ctx, size, false);                                            \
    }                                                                                              \
    static void *name##_calloc(void *ctx, size_t count, size_t size)                               \
    {                                                                                              \
        first;                                                                                     \
        return hook_ask(domain, how, ctx, count * size, true);                                     \
    }                                                                                              \
    static void *name##_realloc(void *ctx, void *old, size_t size)                                 \
    {                                                                                              \
        first;                                                                                     \
        return hook_realloc(domain, how, ctx, old, size);                                          \
    }

MP_DEFINE_HOOKS(mem_boot, MP_DOMAIN_MEM, HOW_BOOT, boot())
MP_DEFINE_HOOKS(obj_boot, MP_DOMAIN_OBJ, HOW_BOOT, boot())
MP_DEFINE_HOOKS(mem_unhooked, MP_DOMAIN_MEM, HOW_UNHOOKED, )
MP_DEFINE_HOOKS(obj_unhooked, MP_DOMAIN_OBJ, HOW_UNHOOKED, )
MP_DEFINE_HOOKS(mem_small, MP_DOMAIN_MEM, HOW_SMALL, )
MP_DEFINE_HOOKS(obj_small, MP_DOMAIN_OBJ, HOW_SMALL, )
MP_DEFINE_HOOKS(mem_whole, MP_DOMAIN_MEM, HOW_WHOLE, )
MP_DEFINE_HOOKS(obj_whole, MP_DOMAIN_OBJ, HOW_WHOLE, )

static void mem_free(void *ctx, void *block)
{
    hook_free(MP_DOMAIN_MEM, ctx, block);
}

static void obj_free(void *ctx, void *block)
{
    hook_free(MP_DOMAIN_OBJ, ctx, block);
}

#define MP_HOOKS(name) {NULL, name##_malloc, name##_calloc, name##_realloc, NULL}

static const struct mp_py_allocator mem_hooks[] = {
    [HOW_BOOT] = MP_HOOKS(mem_boot),
    [HOW_UNHOOKED] = MP_HOOKS(mem_unhooked),
    [HOW_SMALL] = MP_HOOKS(mem_small),
    [HOW_WHOLE] = MP_HOOKS(mem_whole),
};
static const struct mp_py_allocator obj_hooks[] = {
    [HOW_BOOT] = MP_HOOKS(obj_boot),
    [HOW_UNHOOKED] = MP_HOOKS(obj_unhooked),
    [HOW_SMALL] = MP_HOOKS(obj_small),
    [HOW_WHOLE] = MP_HOOKS(obj_whole),
};

static void publish_one(enum mp_domain domain, enum how how)
{
    struct mp_py_allocator hooks = domain == MP_DOMAIN_MEM ? mem_hooks[how] : obj_hooks[how];
    hooks.ctx = mp_py_below[domain].ctx;
    hooks.free = how == HOW_UNHOOKED ? mp_py_below[domain].free : domain == MP_DOMAIN_MEM ? mem_free : obj_free;
    mp_py.set_allocator((int)domain, &hooks);
}

static void publish(enum how how)
{
    publish_one(MP_DOMAIN_MEM, how);
    publish_one(MP_DOMAIN_OBJ, how);
    how_now = how;
}

/* The size in which a request of the domain arrives where the next one below counts; 0: it does not. */
static size_t arrives(enum mp_domain domain, size_t size, void **ret_block)
{
    struct mp_probe probe;
    mp_sample_probe_start(&probe, 0);
    *ret_block = mp_py_below[domain].malloc(mp_py_below[domain].ctx, size);
    mp_sample_probe_stop();
    return probe.size;
}

/* A record of the block goes when the block is freed through the obj domain's own free. */
static bool free_is_seen(void *block)
{
    struct mp_live_row row = {.address = (uintptr_t)block}, old;
    mp_lock_take(&mp_profile.lock);
    int inserted = mp_live_insert(&mp_profile.live, &row, &old);
    mp_lock_release(&mp_profile.lock);
    mp_py_below[MP_DOMAIN_OBJ].free(mp_py_below[MP_DOMAIN_OBJ].ctx, block);
    mp_lock_take(&mp_profile.lock);
    bool left_behind = mp_live_remove(&mp_profile.live, (uintptr_t)block, &old);
    mp_lock_release(&mp_profile.lock);
    return inserted == MP_OK && !left_behind;
}

static enum how self_test(void)
{
    void *small, *rounded;
    /* The first block of a size may need a new arena, whose bookkeeping asks the raw domain for memory of its own; mimalloc
     * maps its first one. */
    void *warm = mp_py_ask_masked(MP_DOMAIN_OBJ, mp_py_below[MP_DOMAIN_OBJ].ctx, SMALL_MAX, false);
    size_t small_arrives = arrives(MP_DOMAIN_OBJ, SMALL_MAX, &small);
    size_t rounded_arrives = arrives(MP_DOMAIN_OBJ, ROUNDED, &rounded);
    mp_py_below[MP_DOMAIN_OBJ].free(mp_py_below[MP_DOMAIN_OBJ].ctx, small);
    mp_py_below[MP_DOMAIN_OBJ].free(mp_py_below[MP_DOMAIN_OBJ].ctx, warm);
    bool seen = rounded != NULL && free_is_seen(rounded);
    bool pymalloc = small != NULL && small_arrives == 0 && rounded_arrives == ROUNDED;
    if (strcmp(allocator, "unknown") == 0) {
        allocator = pymalloc ? "pymalloc" : rounded_arrives > ROUNDED ? "pymalloc_debug" : "malloc";
    }
    may_unhook = pymalloc && seen;
    if (!pymalloc) {
        return HOW_WHOLE;
    }
    return may_unhook && mp_profile.rates[mp_profile.rate] >= UNHOOKED_RATE_MIN ? HOW_UNHOOKED : HOW_SMALL;
}

/* A small block of mem or obj was sampled already. */
static bool small_is_live(void)
{
    bool found = false;
    mp_lock_take(&mp_profile.lock);
    const struct mp_vec *rows = &mp_profile.live.rows;
    for (uint32_t i = 1; i < rows->count && !found; i++) {
        const struct mp_live_row *row = mp_vec_at(rows, i);
        const struct mp_site *site = mp_vec_at(&mp_profile.sites.rows, row->site);
        found = row->address != 0 && row->size <= SMALL_MAX &&
                (site->domain == MP_DOMAIN_MEM || site->domain == MP_DOMAIN_OBJ);
    }
    mp_lock_release(&mp_profile.lock);
    return found;
}

/* The first mem or obj request of a thread that has a thread state: pymalloc may be called now. (Earlier it
 * crashes on 3.12 and later.) What was recorded before by a hooked free keeps it hooked. */
static MP_COLD void boot(void)
{
    static bool testing;
    if (how_now != HOW_BOOT || testing || !mp_py_has_thread()) {
        return;
    }
    testing = true;
    enum how how = self_test();
    publish(how == HOW_UNHOOKED && small_is_live() ? HOW_SMALL : how);
    testing = false;
}

static bool in_place(enum mp_domain domain)
{
    struct mp_py_allocator top;
    mp_py.get_allocator((int)domain, &top);
    if (domain == MP_DOMAIN_RAW) {
        return mp_py_raw_is(&top);
    }
    const struct mp_py_allocator *hooks = domain == MP_DOMAIN_MEM ? mem_hooks : obj_hooks;
    for (size_t how = 0; how < MP_COUNT(mem_hooks); how++) {
        if (top.malloc == hooks[how].malloc) {
            return true;
        }
    }
    return false;
}

/* CPython's name of what serves its objects. 3.12 takes a lock for it that exists only while the runtime does, so it is
 * not asked; the self-test finds a name. */
static const char *ask_name(void)
{
    const char *name = mp_py.allocator_name != NULL && mp_py.minor != 12 ? mp_py.allocator_name() : NULL;
    return name != NULL ? name : "unknown";
}

/* Debug hooks below ask for more than they were asked: then the raw domain counts, and malloc is masked. */
static void install_raw(void)
{
    mp_py.get_allocator(MP_DOMAIN_RAW, &mp_py_below[MP_DOMAIN_RAW]);
    void *ctx = mp_py_below[MP_DOMAIN_RAW].ctx, *block = NULL;
    mp_py_below[MP_DOMAIN_RAW].free(ctx, mp_py_ask_masked(MP_DOMAIN_RAW, ctx, ROUNDED, false)); /* 3.15: mimalloc, if it was asked for */
    raw_labels = malloc_counts && arrives(MP_DOMAIN_RAW, ROUNDED, &block) == ROUNDED;
    mp_py_below[MP_DOMAIN_RAW].free(ctx, block);
    struct mp_py_allocator raw = raw_labels ? mp_py_raw_label() : mp_py_raw_count();
    mp_py.set_allocator(MP_DOMAIN_RAW, &raw);
}

void mp_py_hooks_malloc_counts(void)
{
    malloc_counts = true;
}

void mp_py_hooks_install(void)
{
    if (mp_py_has_thread() || mp_py.is_initialized() ||
        (in_place(MP_DOMAIN_MEM) && in_place(MP_DOMAIN_OBJ))) {
        return;
    }
    allocator = ask_name();
    installed_at_boot = true;
    if (!in_place(MP_DOMAIN_RAW)) {
        install_raw();
    }
    mp_py.get_allocator(MP_DOMAIN_MEM, &mp_py_below[MP_DOMAIN_MEM]);
    mp_py.get_allocator(MP_DOMAIN_OBJ, &mp_py_below[MP_DOMAIN_OBJ]);
    publish(HOW_BOOT);
}

/* Whether a request that enters the domain at its top, whoever is there, comes to our hook. */
static bool is_reached(enum mp_domain domain)
{
    struct mp_py_allocator top;
    struct mp_probe probe;
    mp_py.get_allocator((int)domain, &top);
    mp_sample_probe_start(&probe, PROBE_SIZE);
    void *block = top.malloc(top.ctx, PROBE_SIZE);
    mp_sample_probe_stop();
    top.free(top.ctx, block);
    if (domain == MP_DOMAIN_RAW && raw_labels) {
        return probe.asker == MP_DOMAIN_RAW + 1;
    }
    return probe.size == PROBE_SIZE && probe.hook == domain + 1;
}

/* Hooks of the other domains stay where they are. */
static void put_back(bool mem, bool obj)
{
    if (mem) {
        mp_py.get_allocator(MP_DOMAIN_MEM, &mp_py_below[MP_DOMAIN_MEM]);
    }
    if (obj) {
        mp_py.get_allocator(MP_DOMAIN_OBJ, &mp_py_below[MP_DOMAIN_OBJ]);
    }
    enum how how = self_test();
    if (mem && obj) {
        publish(how);
        return;
    }
    if (how == HOW_UNHOOKED && how_now != HOW_UNHOOKED) {
        how = HOW_SMALL; /* the other one's free may be all that sees the end of some records */
    }
    publish_one(mem ? MP_DOMAIN_MEM : MP_DOMAIN_OBJ, how);
}

bool mp_py_hooks_hold(void)
{
    static bool installed;
    if (how_now == HOW_BOOT && installed_at_boot) {
        boot();
    }
    bool raw = !is_reached(MP_DOMAIN_RAW), mem = !is_reached(MP_DOMAIN_MEM), obj = !is_reached(MP_DOMAIN_OBJ);
    if (raw) {
        install_raw();
    }
    if (mem || obj) {
        put_back(mem, obj);
    }
    bool lost = (raw || mem || obj) && (installed || installed_at_boot) &&
                !(malloc_counts && may_unhook && how_now == HOW_UNHOOKED);
    installed = true;
    return !lost;
}

void mp_py_hooks_rate(uint64_t rate)
{
    bool fine = rate < UNHOOKED_RATE_MIN;
    enum how how = fine ? HOW_SMALL : HOW_UNHOOKED;
    if (!may_unhook || how == how_now || how_now == HOW_BOOT || !in_place(MP_DOMAIN_MEM) ||
        !in_place(MP_DOMAIN_OBJ)) {
        return;
    }
    mp_lock_take(&mp_profile.lock);
    bool none_live = mp_profile.live.index.rows == 0;
    mp_lock_release(&mp_profile.lock);
    if (fine || none_live) {
        publish(how);
    }
}

const char *mp_py_hooks_allocator(void)
{
    return allocator;
}

bool mp_py_hooks_free_unhooked(void)
{
    return how_now == HOW_UNHOOKED;
}
