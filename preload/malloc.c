/* SPDX-License-Identifier: MIT
 * The malloc family, interposed: see malloc.h.
 *
 * The next definition of each function (libc's, or another allocator's that is preloaded behind us) is found by the first call of any of
 * them, which may come before our constructor. Until then the pointers lead to functions that look first, so the hot
 * path asks nothing. What the look-up itself allocates comes from a small arena that is never given back; its addresses
 * are pinned in the filter of live samples, so that their free is noticed and ignored.
 *
 * Invariants: a block is sampled before it is handed out and forgotten before it is given back.
 * Context: any.
 */
#include "preload/malloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "core/hot.h"
#include "core/sample.h"
#include "preload/real.h"

#define BOOT_SIZE (32u * 1024)

struct family {
#define MP_MALLOC_SYMBOL(result, name, parameters, arguments) result(*name) parameters;
#include "preload/malloc.def"
#undef MP_MALLOC_SYMBOL
    void (*free)(void *block);
};

#define MP_MALLOC_SYMBOL(result, name, parameters, arguments) static result boot_##name parameters;
#include "preload/malloc.def"
#undef MP_MALLOC_SYMBOL
static void boot_free(void *block);

static struct family real = {
#define MP_MALLOC_SYMBOL(result, name, parameters, arguments) .name = boot_##name,
#include "preload/malloc.def"
#undef MP_MALLOC_SYMBOL
    .free = boot_free,
};

/* The arena of the look-up. */
static char boot_arena[BOOT_SIZE] __attribute__((aligned(16)));
static size_t boot_used;
static bool looking;

static bool is_boot(const void *block)
{
    return (const char *)block >= boot_arena && (const char *)block < boot_arena + sizeof boot_arena;
}

/* 16 bytes before each block hold its size. */
static void *boot_take(size_t size)
{
    size_t whole = (size + 16 + 15) & ~(size_t)15;
    if (size > BOOT_SIZE || whole > BOOT_SIZE - boot_used) {
        errno = ENOMEM;
        return NULL;
    }
    char *block = boot_arena + boot_used + 16;
    memcpy(block - 16, &size, sizeof size);
    boot_used += whole;
    mp_live_pin((uintptr_t)block);
    return block;
}

static size_t boot_size(const void *block)
{
    size_t size;
    memcpy(&size, (const char *)block - 16, sizeof size);
    return size;
}

/* Finds all of them. What is missing keeps its boot function, which then says "no memory". */
static void look(void)
{
    looking = true;
    struct family found = real;
    void *address;
#define MP_MALLOC_SYMBOL(result, name, parameters, arguments)                                      \
    address = mp_real_next(#name);                                                                  \
    if (address != NULL) {                                                                         \
        found.name = (result(*) parameters)address;                                                \
    }
#include "preload/malloc.def"
#undef MP_MALLOC_SYMBOL
    address = mp_real_next("free");
    if (address != NULL) {
        found.free = (void (*)(void *))address;
    }
    real = found;
    looking = false;
}

static bool looked(void)
{
    if (!looking && real.malloc == boot_malloc) {
        look();
    }
    return real.malloc != boot_malloc;
}

static void *boot_malloc(size_t size)
{
    return looked() ? real.malloc(size) : boot_take(size);
}

static void *boot_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (looked() && real.calloc != boot_calloc) {
        return real.calloc(count, size);
    }
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : boot_take(bytes); /* fresh: zero */
}

static void *boot_realloc(void *old, size_t size)
{
    if (looked() && real.realloc != boot_realloc) {
        return real.realloc(old, size);
    }
    return old == NULL ? boot_take(size) : NULL;
}

static int boot_posix_memalign(void **ret_block, size_t alignment, size_t size)
{
    return looked() && real.posix_memalign != boot_posix_memalign
               ? real.posix_memalign(ret_block, alignment, size)
               : ENOMEM;
}

static void *boot_aligned_alloc(size_t alignment, size_t size)
{
    return looked() && real.aligned_alloc != boot_aligned_alloc ? real.aligned_alloc(alignment, size) : NULL;
}

static void *boot_memalign(size_t alignment, size_t size)
{
    return looked() && real.memalign != boot_memalign ? real.memalign(alignment, size) : NULL;
}

static void *boot_valloc(size_t size)
{
    return looked() && real.valloc != boot_valloc ? real.valloc(size) : NULL;
}

static void *boot_pvalloc(size_t size)
{
    return looked() && real.pvalloc != boot_pvalloc ? real.pvalloc(size) : NULL;
}

static void boot_free(void *block)
{
    if (!is_boot(block) && looked() && real.free != boot_free) {
        real.free(block);
    }
}


/* Asked, not looked up: in a program that is not position-independent "malloc" may be an entry of the program's own
 * that leads to us. */
bool mp_malloc_is_ours(void)
{
    const size_t odd_size = 509;
    void *(*first)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "malloc");
    void (*first_free)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "free");
    if (first == NULL || first_free == NULL) {
        return true;
    }
    struct mp_probe probe;
    mp_sample_probe_start(&probe, odd_size);
    first_free(first(odd_size));
    mp_sample_probe_stop();
    return probe.size == odd_size;
}

/* Where an object lies; set at attach, then const. */
struct range {
    uintptr_t start, end;
};
static struct range allocator;   /* that serves malloc */
static struct range interpreter; /* Python's */
static bool is_glibc;

struct wanted {
    uintptr_t code;
    struct range *range;
};

static int find_object(struct dl_phdr_info *info, size_t size, void *data)
{
    const struct wanted *wanted = data;
    (void)size;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD) {
            uintptr_t from = info->dlpi_addr + segment->p_vaddr;
            start = from < start ? from : start;
            end = from + segment->p_memsz > end ? from + segment->p_memsz : end;
        }
    }
    if (wanted->code < start || wanted->code >= end) {
        return 0;
    }
    *wanted->range = (struct range){start, end};
    return 1;
}

/* Of a program that is not position-independent a function may be an entry of its own (see above); rarely all of these. */
static void *find_first(void)
{
    static const char *const names[] = {"malloc", "memalign", "aligned_alloc", "posix_memalign", "calloc", "realloc"};
    Dl_info program, there;
    bool known = dladdr((const void *)getauxval(AT_PHDR), &program) != 0;
    for (size_t i = 0; known && i < MP_COUNT(names); i++) {
        void *address = dlsym(RTLD_DEFAULT, names[i]);
        if (address != NULL && !mp_real_is_us(address) && dladdr(address, &there) != 0 &&
            there.dli_fbase != program.dli_fbase) {
            return address;
        }
    }
    return dlsym(RTLD_DEFAULT, "malloc"); /* it is the program's own */
}

void mp_malloc_learn(void)
{
    Dl_info info;
    looked();
    /* Behind us, or, where another comes first, that one. */
    void *serving = mp_malloc_is_ours() ? (void *)(uintptr_t)real.malloc : find_first();
    struct wanted wanted = {(uintptr_t)serving, &allocator};
    dl_iterate_phdr(find_object, &wanted);
    is_glibc = dladdr(serving, &info) != 0 && strstr(info.dli_fname, "/libc.so.6") != NULL;
}

void mp_malloc_learn_interpreter(const void *code)
{
    struct wanted wanted = {(uintptr_t)code, &interpreter};
    dl_iterate_phdr(find_object, &wanted);
}

static bool is_in(const struct range *range, const void *code)
{
    return (uintptr_t)code >= range->start && (uintptr_t)code < range->end;
}

bool mp_malloc_is_allocator(const void *code)
{
    return is_in(&allocator, code);
}

bool mp_malloc_is_interpreter(const void *code)
{
    return is_in(&interpreter, code);
}

bool mp_malloc_is_glibc(void)
{
    return is_glibc;
}

static enum mp_domain domain_asked(void)
{
    return mp_tls.asker != 0 ? (enum mp_domain)(mp_tls.asker - 1) : MP_DOMAIN_MALLOC;
}

static void *sampled(void *block, size_t size, uint32_t due)
{
    if (due != 0 && block != NULL) {
        mp_sample_add(block, size, domain_asked(), due);
    }
    return block;
}

static MP_COLD void *malloc_slow(size_t size)
{
    uint32_t due = mp_sample_due(size);
    return sampled(real.malloc(size), size, due);
}

MP_EXPORT void *malloc(size_t size)
{
    if (MP_LIKELY(!mp_hot_count(size))) {
        return real.malloc(size);
    }
    return malloc_slow(size);
}

static MP_COLD void *calloc_slow(size_t count, size_t size, size_t bytes)
{
    uint32_t due = mp_sample_due(bytes);
    return sampled(real.calloc(count, size), bytes, due);
}

MP_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (MP_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)) || MP_LIKELY(!mp_hot_count(bytes))) {
        return real.calloc(count, size);
    }
    return calloc_slow(count, size, bytes);
}

static void *realloc_boot(void *old, size_t size)
{
    void *block = malloc(size);
    if (block != NULL) {
        size_t had = boot_size(old);
        memcpy(block, old, had < size ? had : size);
    }
    return block;
}

/* The old record out, one draw on the whole new size; a realloc that failed puts the record back. */
static MP_COLD void *realloc_slow(void *old, size_t size, bool ran_out)
{
    if (is_boot(old)) {
        return realloc_boot(old, size);
    }
    struct mp_live_row row;
    bool forgotten = mp_hot_maybe_sampled(old) && mp_sample_forget(old, &row);
    uint32_t due = ran_out ? mp_sample_due(size) : 0;
    void *block = real.realloc(old, size);
    if (block == NULL && forgotten && size != 0) { /* of size 0, NULL means freed */
        mp_sample_restore(&row);
    }
    return sampled(block, size, due);
}

MP_EXPORT void *realloc(void *old, size_t size)
{
    bool ran_out = mp_hot_count(size);
    if (MP_LIKELY(!ran_out && !mp_hot_maybe_sampled(old))) {
        return real.realloc(old, size);
    }
    return realloc_slow(old, size, ran_out);
}

MP_EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}

static MP_COLD void free_slow(void *block)
{
    if (is_boot(block)) {
        return;
    }
    mp_sample_drop(block);
    real.free(block);
}

MP_EXPORT void free(void *block)
{
    if (MP_LIKELY(!mp_hot_maybe_sampled(block))) {
        real.free(block);
        return;
    }
    free_slow(block);
}

MP_EXPORT void free_sized(void *block, size_t size)
{
    (void)size;
    free(block);
}

MP_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free(block);
}

/* The aligned ones are rare: counted here, without an instance of the slow path for each. */

static uint32_t count_aligned(size_t size)
{
    return mp_hot_count(size) ? mp_sample_due(size) : 0;
}

MP_EXPORT int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
    uint32_t due = count_aligned(size);
    int result = real.posix_memalign(ret_block, alignment, size);
    if (result == 0) {
        sampled(*ret_block, size, due);
    }
    return result;
}

MP_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    uint32_t due = count_aligned(size);
    return sampled(real.aligned_alloc(alignment, size), size, due);
}

MP_EXPORT void *memalign(size_t alignment, size_t size)
{
    uint32_t due = count_aligned(size);
    return sampled(real.memalign(alignment, size), size, due);
}

MP_EXPORT void *valloc(size_t size)
{
    uint32_t due = count_aligned(size);
    return sampled(real.valloc(size), size, due);
}

MP_EXPORT void *pvalloc(size_t size)
{
    uint32_t due = count_aligned(size);
    return sampled(real.pvalloc(size), size, due);
}
