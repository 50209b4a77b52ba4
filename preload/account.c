/* SPDX-License-Identifier: MIT
 * What malloc holds: see account.h.
 *
 * Invariants: `latest` is written by one thread at a time (`busy`), and read by the writer field by field: the fields
 * of one look may be mixed with those of the next, which differ by what happened in between.
 * Context: see account.h.
 */
#include "preload/account.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <string.h>

#include "core/profile.h"
#include "core/say.h"
#include "core/sys.h"
#include "core/writer.h"
#include "preload/images.h"
#include "preload/malloc.h"
#include "preload/mmap.h"
#include "preload/stacks.h"
#include "pyshim/arenas.h"

#define FIRST_MS 50
#define LEAST_GAP_MS 100
/* A look that took t is followed by no other for 100 t; a slow one, for which malloc's lock was held while others waited, for
 * 1000 t. */
#define GAP_FACTOR 100
#define SLOW_MS 3
#define SLOW_FACTOR 1000

static struct mallinfo2 (*get_info)(void); /* NULL: not glibc's malloc, or older than 2.33 */
static uint32_t busy;
static uint64_t next_ms;
static struct {
    uint64_t system, mapped, used, free, top, clock_ms;
} latest;

/* The texts of the facts, made by the writer. */
static char texts[12][24];
static char served[64];

void mp_account_init(void)
{
    const char *version = gnu_get_libc_version();
    if (mp_malloc_is_glibc()) {
        get_info = (struct mallinfo2(*)(void))dlsym(RTLD_DEFAULT, "mallinfo2");
        memcpy(served, "glibc ", 7);
        strncat(served, version, sizeof served - 8);
    } else {
        memcpy(served, "another allocator", 18);
    }
    next_ms = FIRST_MS;
    mp_stacks_init();
}

void mp_account_look(uint64_t now_ms)
{
    if (MP_LIKELY(now_ms < __atomic_load_n(&next_ms, __ATOMIC_RELAXED)) || get_info == NULL ||
        __atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE) != 0) {
        return;
    }
    uint64_t before = mp_sys_monotonic_ms();
    struct mallinfo2 info = get_info();
    uint64_t took = mp_sys_monotonic_ms() - before;
    latest.system = info.arena;
    latest.mapped = info.hblkhd;
    latest.used = info.uordblks;
    latest.free = info.fordblks;
    latest.top = info.keepcost;
    latest.clock_ms = now_ms;
    uint64_t gap = took < SLOW_MS ? (took + 1) * GAP_FACTOR : took * SLOW_FACTOR;
    __atomic_store_n(&next_ms, now_ms + (gap > LEAST_GAP_MS ? gap : LEAST_GAP_MS), __ATOMIC_RELAXED);
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
}

void mp_account_fork_child(void)
{
    __atomic_store_n(&busy, 0, __ATOMIC_RELAXED); /* it was another thread's look */
}

static void fact(int slot, const char *key, uint64_t number)
{
    mp_say_number(number, texts[slot]);
    mp_writer_fact(key, texts[slot]);
}

void mp_account_facts(bool arenas)
{
    if (arenas) {
        fact(0, "arena_bytes", mp_py_arenas_bytes());
    }
    mp_writer_fact("malloc.served_by", served);
    uint32_t threads;
    uint64_t stacks = mp_stacks_resident(&threads);
    fact(7, "stacks.bytes", stacks);
    fact(8, "stacks.threads", threads);
    fact(9, "mimalloc.bytes", mp_mmap_regions_resident());
    struct mp_resident written;
    if (mp_images_written(&written)) {
        fact(10, "files.written", written.own);
        fact(11, "files.inherited", written.copied);
    }
    if (latest.clock_ms != 0) {
        fact(1, "malloc.system", latest.system);
        fact(2, "malloc.mapped", latest.mapped);
        fact(3, "malloc.used", latest.used);
        fact(4, "malloc.free", latest.free);
        fact(5, "malloc.top", latest.top);
        fact(6, "malloc.clock_ms", latest.clock_ms);
    }
}
