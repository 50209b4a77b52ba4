/* SPDX-License-Identifier: MIT
 * The lock: one at a time, sleepers are woken, a reset frees it.
 */
#include "suite.h"

#include <pthread.h>
#include <sched.h>

#include "core/lock.h"

enum { THREADS = 6, ROUNDS = 40000 };

static struct mp_lock lock;
static uint64_t counter, other; /* not atomic on purpose: guarded by lock */
static uint32_t inside, overlaps;

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        mp_lock_take(&lock);
        if (__atomic_fetch_add(&inside, 1, __ATOMIC_RELAXED) != 0) {
            __atomic_fetch_add(&overlaps, 1, __ATOMIC_RELAXED);
        }
        counter++;
        other = counter * 3;
        __atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
        mp_lock_release(&lock);
    }
    return NULL;
}

static void one_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    counter = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(overlaps, 0);
    assert_true(counter == (uint64_t)THREADS * ROUNDS && other == counter * 3);
    assert_int_equal(lock.word, 0);
}

static void *wait_for_it(void *unused)
{
    (void)unused;
    mp_lock_take(&lock);
    counter++;
    mp_lock_release(&lock);
    return NULL;
}

/* The word says 2 when somebody is about to sleep; each release must then wake one until none is left. */
static void sleepers_are_woken(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        pthread_t threads[THREADS];
        counter = 0;
        mp_lock_take(&lock);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, wait_for_it, NULL), 0);
        }
        while (__atomic_load_n(&lock.word, __ATOMIC_RELAXED) != 2) {
            sched_yield();
        }
        assert_int_equal(counter, 0);
        mp_lock_release(&lock);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_true(counter == THREADS);
        assert_int_equal(lock.word, 0);
    }
}

static void words_are_as_documented(void **state)
{
    (void)state;
    struct mp_lock one = {0};
    mp_lock_take(&one);
    assert_int_equal(one.word, 1);
    mp_lock_release(&one);
    assert_int_equal(one.word, 0);
    one.word = 2;
    mp_lock_reset(&one);
    assert_int_equal(one.word, 0);
    mp_lock_take(&one);
    mp_lock_release(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_as_documented),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(sleepers_are_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
