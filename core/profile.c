/* SPDX-License-Identifier: MIT
 * The profile of this process: see profile.h.
 *
 * Context: attach (init), fork (forked), hook for the rest.
 */
#include "core/profile.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/maths.h"
#include "core/rooms.h"
#include "core/sys.h"

struct mp_profile mp_profile;

static void new_seed(void)
{
    struct mp_generation *self = &mp_profile.lineage[mp_profile.generation];
    uint64_t random[2];
    mp_sys_random(random, sizeof random);
    mp_profile.seed = random[0];
    __atomic_store_n(&mp_profile.seeded_threads, 0, __ATOMIC_RELAXED);
    self->uid = random[1];
    self->pid = (uint64_t)mp_sys_getpid();
    self->clock_ms = mp_sys_monotonic_ms() - mp_profile.start_ms;
}

int mp_profile_init(uint64_t rate, uint32_t frames_max)
{
    struct mp_profile *profile = &mp_profile;
    profile->start_ns = mp_sys_realtime_ns();
    profile->start_ms = mp_sys_monotonic_ms();
    profile->frames_max = frames_max;
    profile->rates[0] = rate;
    profile->rate_count = 1;
    new_seed();
    mp_vec_init(&profile->threads, sizeof(struct mp_thread), 6);
    if (mp_strtab_init(&profile->strings) < 0 || mp_tree_init(&profile->tree) < 0 ||
        mp_sites_init(&profile->sites) < 0 || mp_live_init(&profile->live) < 0 ||
        mp_vec_push(&profile->threads) < 0) {
        return MP_ERR_MEMORY;
    }
    __atomic_store_n(&profile->ready, true, __ATOMIC_RELEASE); /* other threads may look already */
    return MP_OK;
}

void mp_profile_forked(void)
{
    if (mp_profile.generation + 1u < MP_LINEAGE_MAX) {
        mp_profile.generation++;
    }
    mp_profile.sites.generation = mp_profile.generation;
    for (int i = 0; i < MP_COUNTS; i++) {
        if (i != MP_NOTE_THINNED) { /* what was thinned stays so, and so does the rate */
            mp_profile.counts[i] = 0;
        }
    }
    new_seed();
}

int mp_profile_set_rate(uint64_t rate)
{
    int result = MP_OK;
    mp_lock_take(&mp_profile.lock);
    uint16_t row = 0;
    while (row < mp_profile.rate_count && mp_profile.rates[row] != rate) {
        row++;
    }
    if (row == MP_RATES_MAX) {
        result = MP_ERR_FULL;
    } else {
        if (row == mp_profile.rate_count) {
            mp_profile.rates[row] = rate;
            mp_profile.rate_count++;
        }
        __atomic_store_n(&mp_profile.rate, row, __ATOMIC_RELEASE);
    }
    mp_lock_release(&mp_profile.lock);
    return result;
}

uint64_t mp_profile_own_bytes(void)
{
    const struct mp_profile *p = &mp_profile;
    const struct mp_vec *const tables[] = {
        &p->strings.rows,   &p->strings.index.buckets,      &p->tree.functions,
        &p->tree.nodes,     &p->tree.function_index.buckets, &p->tree.node_index.buckets,
        &p->sites.rows,     &p->sites.index.buckets,        &p->live.rows,
        &p->live.index.buckets, &p->threads,
    };
    uint64_t spare = mp_rooms_spare();
    for (size_t i = 0; i < MP_COUNT(tables); i++) {
        spare += mp_vec_spare(tables[i]);
    }
    uint64_t mapped = mp_sys_mapped();
    return mapped > spare ? mapped - spare : 0;
}

uint64_t mp_profile_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* the vDSO: no system call, no errno on success */
    uint64_t ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
    return ms > mp_profile.start_ms ? ms - mp_profile.start_ms : 0;
}

/* Rows whose samples are all gone wait in a queue, so that a program that starts a thread a request does not make
 * us grow. A row may be in the queue and in use again: it is passed over when its turn comes. */
static uint32_t take_idle(void)
{
    struct mp_vec *threads = &mp_profile.threads;
    while (mp_profile.idle_first != 0) {
        uint32_t row = mp_profile.idle_first;
        struct mp_thread *thread = mp_vec_at(threads, row);
        mp_profile.idle_first = thread->next_idle == row ? 0 : thread->next_idle;
        thread->next_idle = 0;
        if (thread->live == 0) {
            return row;
        }
    }
    int64_t row = mp_vec_count(threads) > MP_LIVE_THREAD_MAX ? MP_ERR_FULL : mp_vec_push(threads);
    return row < 0 ? 0 : (uint32_t)row;
}

uint32_t mp_profile_thread_locked(uint32_t *row, uint32_t *stamp)
{
    struct mp_thread *thread = mp_vec_at(&mp_profile.threads, *row);
    if (*row != 0 && thread->stamp == *stamp) {
        return *row;
    }
    *row = take_idle();
    if (*row == 0) {
        return 0;
    }
    thread = mp_vec_at(&mp_profile.threads, *row);
    thread->name[0] = '\0';
    mp_sys_call(SYS_prctl, PR_GET_NAME, (long)thread->name, 0, 0, 0, 0);
    thread->tid = (uint64_t)mp_sys_gettid();
    thread->ident = (uint64_t)pthread_self();
    *stamp = ++thread->stamp;
    return *row;
}

void mp_profile_thread_live_locked(uint32_t row, int sign)
{
    struct mp_thread *thread = mp_vec_at(&mp_profile.threads, row);
    thread->live += (uint32_t)sign;
    if (row == 0 || thread->live != 0 || thread->next_idle != 0) {
        return;
    }
    thread->next_idle = row; /* the end of the queue names itself */
    if (mp_profile.idle_first == 0) {
        mp_profile.idle_first = row;
    } else {
        ((struct mp_thread *)mp_vec_at(&mp_profile.threads, mp_profile.idle_last))->next_idle = row;
    }
    mp_profile.idle_last = row;
}
