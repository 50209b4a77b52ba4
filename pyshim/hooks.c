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
 * Context: hook. The self-test runs once, with the GIL, before there are other threads.
 */
#include "pyshim/hooks.h"

#include <string.h>

#include "core/hot.h"
#include "core/profile.h"
#include "core/sample.h"
#include "pyshim/interp.h"

#define SMALL_MAX 512u /* pymalloc's SMALL_REQUEST_THRESHOLD */
#define ROUNDED (SMALL_MAX + 1)
#define UNHOOKED_RATE_MIN (16u * 1024)

enum how { HOW_BOOT, HOW_UNHOOKED, HOW_SMALL, HOW_WHOLE };

static struct mp_py_allocator below[3]; /* written before the hooks above it are published */
static enum how how_now;
static const char *allocator = "unknown";

static bool malloc_counts; /* libc's malloc is interposed */

static enum mp_domain asked_or(enum mp_domain domain)
{
    return mp_tls.asker != 0 ? (enum mp_domain)(mp_tls.asker - 1) : domain;
}

MP_INLINE void *ask(enum mp_domain domain, void *ctx, size_t size, bool zeroed)
{
    return zeroed ? below[domain].calloc(ctx, 1, size) : below[domain].malloc(ctx, size);
}

static void *ask_masked(enum mp_domain domain, void *ctx, size_t size, bool zeroed)
{
    uint64_t left = mp_hot_mask();
    void *block = ask(domain, ctx, size, zeroed);
    mp_hot_unmask(left);
    return block;
}

static void *realloc_masked(enum mp_domain domain, void *ctx, void *old, size_t size)
{
    uint64_t left = mp_hot_mask();
    void *block = below[domain].realloc(ctx, old, size);
    mp_hot_unmask(left);
    return block;
}

/* The raw domain, counted here. */

static MP_COLD void *raw_slow(void *ctx, size_t size, bool zeroed)
{
    enum mp_domain asker = asked_or(MP_DOMAIN_RAW);
    uint32_t due = mp_sample_due(size);
    void *block = ask_masked(MP_DOMAIN_RAW, ctx, size, zeroed);
    if (due != 0 && block != NULL) {
        mp_sample_add(block, size, asker, due);
    }
    return block;
}

static void *raw_count_malloc(void *ctx, size_t size)
{
    if (MP_LIKELY(!mp_hot_count(size))) {
        return ask_masked(MP_DOMAIN_RAW, ctx, size, false);
    }
    return raw_slow(ctx, size, false);
}

static void *raw_count_calloc(void *ctx, size_t count, size_t size)
{
    if (MP_LIKELY(!mp_hot_count(count * size))) { /* CPython has refused products that overflow */
        return ask_masked(MP_DOMAIN_RAW, ctx, count * size, true);
    }
    return raw_slow(ctx, count * size, true);
}

/* A realloc is the old record out and one draw on the whole new size. */
static MP_COLD void *raw_realloc_slow(void *ctx, void *old, size_t size, bool ran_out)
{
    enum mp_domain asker = asked_or(MP_DOMAIN_RAW);
    struct mp_live_row row;
    bool forgotten = mp_hot_maybe_sampled(old) && mp_sample_forget(old, &row);
    uint32_t due = ran_out ? mp_sample_due(size) : 0;
    void *block = realloc_masked(MP_DOMAIN_RAW, ctx, old, size);
    if (block == NULL) {
        if (forgotten) {
            mp_sample_restore(&row);
        }
    } else if (due != 0) {
        mp_sample_add(block, size, asker, due);
    }
    return block;
}

static void *raw_count_realloc(void *ctx, void *old, size_t size)
{
    bool ran_out = mp_hot_count(size);
    if (MP_LIKELY(!ran_out && !mp_hot_maybe_sampled(old))) {
        return realloc_masked(MP_DOMAIN_RAW, ctx, old, size);
    }
    return raw_realloc_slow(ctx, old, size, ran_out);
}

static void raw_count_free(void *ctx, void *block)
{
    if (mp_hot_maybe_sampled(block)) {
        mp_sample_drop(block);
    }
    below[MP_DOMAIN_RAW].free(ctx, block);
}

/* The raw domain, where libc's malloc below counts the very same bytes: only who asks is handed down. */

static void *raw_label_malloc(void *ctx, size_t size)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = asker != 0 ? asker : MP_DOMAIN_RAW + 1;
    void *block = below[MP_DOMAIN_RAW].malloc(ctx, size);
    mp_tls.asker = asker;
    return block;
}

static void *raw_label_calloc(void *ctx, size_t count, size_t size)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = asker != 0 ? asker : MP_DOMAIN_RAW + 1;
    void *block = below[MP_DOMAIN_RAW].calloc(ctx, count, size);
    mp_tls.asker = asker;
    return block;
}

static void *raw_label_realloc(void *ctx, void *old, size_t size)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = asker != 0 ? asker : MP_DOMAIN_RAW + 1;
    void *block = below[MP_DOMAIN_RAW].realloc(ctx, old, size);
    mp_tls.asker = asker;
    return block;
}

/* mem and obj. `zeroed` tells calloc from malloc; the constants fold in each instance. */

/* pymalloc passes it on to the raw domain, where it is counted as the asker's. */
MP_INLINE void *ask_large(enum mp_domain domain, void *ctx, size_t size, bool zeroed)
{
    uint8_t asker = mp_tls.asker;
    mp_tls.asker = (uint8_t)(domain + 1);
    void *block = ask(domain, ctx, size, zeroed);
    mp_tls.asker = asker;
    return block;
}

static MP_COLD void *ask_slow(enum mp_domain domain, enum how how, void *ctx, size_t size, bool zeroed)
{
    uint32_t due = mp_sample_due(size);
    if (how == HOW_WHOLE || how == HOW_BOOT || (how == HOW_UNHOOKED && due != 0)) {
        void *block = ask_masked(domain, ctx, how == HOW_UNHOOKED ? ROUNDED : size, zeroed);
        if (block == NULL && how == HOW_UNHOOKED) {
            mp_profile_count(MP_NOTE_REFUSED_513);
            return ask_masked(domain, ctx, size, zeroed);
        }
        if (due != 0 && block != NULL) {
            mp_sample_add(block, size, domain, due);
        }
        return block;
    }
    void *block = ask(domain, ctx, size, zeroed);
    if (due != 0 && block != NULL) {
        mp_sample_add(block, size, domain, due);
    }
    return block;
}

MP_INLINE void *hook_ask(enum mp_domain domain, enum how how, void *ctx, size_t size, bool zeroed)
{
    if (how == HOW_WHOLE) {
        if (MP_LIKELY(!mp_hot_count(size))) {
            return ask_masked(domain, ctx, size, zeroed);
        }
        return ask_slow(domain, how, ctx, size, zeroed);
    }
    if (MP_LIKELY(size - 1 < SMALL_MAX)) {
        if (MP_LIKELY(!mp_hot_count_some(size))) {
            return how == HOW_BOOT ? ask_masked(domain, ctx, size, zeroed) : ask(domain, ctx, size, zeroed);
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
    void *block = realloc_masked(domain, ctx, old, round ? ROUNDED : size);
    if (block == NULL && round) {
        mp_profile_count(MP_NOTE_REFUSED_513);
        return realloc_masked(domain, ctx, old, size);
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
        return realloc_masked(domain, ctx, old, size);
    }
    return realloc_slow(domain, how, ctx, old, size, ran_out);
}

MP_INLINE void hook_free(enum mp_domain domain, void *ctx, void *block)
{
    if (mp_hot_maybe_sampled(block)) {
        mp_sample_drop(block);
    }
    below[domain].free(ctx, block);
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

static void publish(enum how how)
{
    struct mp_py_allocator mem = mem_hooks[how];
    struct mp_py_allocator obj = obj_hooks[how];
    mem.ctx = below[MP_DOMAIN_MEM].ctx;
    obj.ctx = below[MP_DOMAIN_OBJ].ctx;
    mem.free = how == HOW_UNHOOKED ? below[MP_DOMAIN_MEM].free : mem_free;
    obj.free = how == HOW_UNHOOKED ? below[MP_DOMAIN_OBJ].free : obj_free;
    mp_py.set_allocator(MP_DOMAIN_MEM, &mem);
    mp_py.set_allocator(MP_DOMAIN_OBJ, &obj);
    how_now = how;
}

/* The size in which a request of the domain arrives where the next one below counts; 0: it does not. */
static size_t arrives(enum mp_domain domain, size_t size, void **ret_block)
{
    mp_sample_probe_start();
    *ret_block = below[domain].malloc(below[domain].ctx, size);
    return mp_sample_probe_stop();
}

/* A record of the block goes when the block is freed through the obj domain's own free. */
static bool free_is_seen(void *block)
{
    struct mp_live_row row = {.address = (uintptr_t)block}, old;
    mp_lock_take(&mp_profile.lock);
    int inserted = mp_live_insert(&mp_profile.live, &row, &old);
    mp_lock_release(&mp_profile.lock);
    below[MP_DOMAIN_OBJ].free(below[MP_DOMAIN_OBJ].ctx, block);
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
    void *warm = ask_masked(MP_DOMAIN_OBJ, below[MP_DOMAIN_OBJ].ctx, SMALL_MAX, false);
    size_t small_arrives = arrives(MP_DOMAIN_OBJ, SMALL_MAX, &small);
    size_t rounded_arrives = arrives(MP_DOMAIN_OBJ, ROUNDED, &rounded);
    below[MP_DOMAIN_OBJ].free(below[MP_DOMAIN_OBJ].ctx, small);
    below[MP_DOMAIN_OBJ].free(below[MP_DOMAIN_OBJ].ctx, warm);
    bool seen = rounded != NULL && free_is_seen(rounded);
    bool pymalloc = small != NULL && small_arrives == 0 && rounded_arrives == ROUNDED;
    if (strcmp(allocator, "unknown") == 0) {
        allocator = pymalloc ? "pymalloc" : rounded_arrives > ROUNDED ? "pymalloc_debug" : "malloc";
    }
    if (!pymalloc) {
        return HOW_WHOLE;
    }
    uint64_t rate = mp_profile.rates[mp_profile.rate];
    return seen && rate >= UNHOOKED_RATE_MIN ? HOW_UNHOOKED : HOW_SMALL;
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
        return top.malloc == raw_count_malloc || top.malloc == raw_label_malloc;
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
    mp_py.get_allocator(MP_DOMAIN_RAW, &below[MP_DOMAIN_RAW]);
    void *ctx = below[MP_DOMAIN_RAW].ctx, *block = NULL;
    below[MP_DOMAIN_RAW].free(ctx, ask_masked(MP_DOMAIN_RAW, ctx, ROUNDED, false)); /* 3.15: mimalloc, if it was asked for */
    bool label = malloc_counts && arrives(MP_DOMAIN_RAW, ROUNDED, &block) == ROUNDED;
    below[MP_DOMAIN_RAW].free(ctx, block);
    struct mp_py_allocator raw = {ctx, raw_count_malloc, raw_count_calloc, raw_count_realloc, raw_count_free};
    if (label) {
        raw = (struct mp_py_allocator){ctx, raw_label_malloc, raw_label_calloc, raw_label_realloc,
                                       below[MP_DOMAIN_RAW].free};
    }
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
    if (!in_place(MP_DOMAIN_RAW)) {
        install_raw();
    }
    mp_py.get_allocator(MP_DOMAIN_MEM, &below[MP_DOMAIN_MEM]);
    mp_py.get_allocator(MP_DOMAIN_OBJ, &below[MP_DOMAIN_OBJ]);
    publish(HOW_BOOT);
}

const char *mp_py_hooks_allocator(void)
{
    return allocator;
}

bool mp_py_hooks_free_unhooked(void)
{
    return how_now == HOW_UNHOOKED;
}
