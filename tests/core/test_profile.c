/* SPDX-License-Identifier: MIT
 * The profile: its rates and when their table is full, forks (lineage, seeds, counters, locks), threads whose rows are used
 * again and whose random numbers are their own, memory that is refused at the beginning.
 */
#include "fresh.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int fresh(void **state)
{
    (void)state;
    return fresh_profile(4096, 128);
}

static void it_begins_empty(void **state)
{
    (void)state;
    assert_true(mp_profile.ready);
    assert_int_equal(mp_profile.rate_count, 1);
    assert_true(mp_profile.rates[mp_profile.rate] == 4096);
    assert_int_equal(mp_profile.frames_max, 128);
    assert_int_equal(mp_profile.generation, 0);
    assert_int_equal(mp_profile.lineage[0].pid, getpid());
    assert_true(mp_profile.lineage[0].uid != 0);
    assert_int_equal(mp_profile.live.index.rows, 0);
    assert_int_equal(mp_vec_count(&mp_profile.threads), 1);
    assert_true(mp_sys_mapped() < 2u << 20);
    assert_true(mp_profile_own_bytes() < mp_sys_mapped() / 2);
    uint64_t own = mp_profile_own_bytes();
    mp_vec_push(&mp_profile.live.rows);
    assert_int_equal(mp_profile_own_bytes(), own + sizeof(struct mp_live_row));
    assert_true(mp_profile_clock_ms() < 60000);
}

static void rates_have_rows_for_ever(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < MP_RATES_MAX; i++) {
        assert_int_equal(mp_profile_set_rate(4096 + i), MP_OK);
        assert_int_equal(mp_profile.rate, i);
        assert_int_equal(mp_profile_set_rate(4096 + i / 2), MP_OK); /* a known one takes no row */
        assert_int_equal(mp_profile.rate, i / 2);
        assert_int_equal(mp_profile.rate_count, i + 1);
    }
    uint16_t before = mp_profile.rate;
    assert_int_equal(mp_profile_set_rate(1), MP_ERR_FULL);
    assert_int_equal(mp_profile.rate, before);
    assert_int_equal(mp_profile_set_rate(4096 + 200), MP_OK);
    assert_int_equal(mp_profile.rate, 200);
    for (uint64_t i = 0; i < MP_RATES_MAX; i++) {
        assert_true(mp_profile.rates[i] == 4096 + i);
    }
}

static void a_fork_is_a_new_generation(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    fresh_alloc(0x1000, 8);
    mp_profile_count(MP_LOST_FREES);
    mp_profile_count(MP_NOTE_THINNED);
    uint64_t seeds[MP_LINEAGE_MAX], uids[MP_LINEAGE_MAX];
    for (int i = 0; i < MP_LINEAGE_MAX; i++) {
        seeds[i] = mp_profile.seed;
        uids[i] = mp_profile.lineage[i].uid;
        for (int j = 0; j < i; j++) {
            assert_true(seeds[i] != seeds[j] && uids[i] != uids[j]);
        }
        assert_int_equal(mp_profile.generation, i);
        assert_int_equal(mp_profile.sites.generation, i);
        mp_sample_fork_prepare();
        mp_sample_fork_child();
        assert_int_equal(fresh_count(MP_LOST_FREES), 0);
        assert_int_equal(fresh_count(MP_NOTE_THINNED), 1); /* the child's samples are thinned, too */
    }
    assert_int_equal(mp_profile.generation, MP_LINEAGE_MAX - 1); /* the table is full: it stays */
    for (int i = 0; i < MP_LINEAGE_MAX - 1; i++) {
        assert_true(mp_profile.lineage[i].uid == uids[i]);
    }
    fresh_alloc(0x2000, 8);
    assert_int_equal(mp_profile.live.index.rows, 2); /* what was inherited is there */
    assert_int_equal(fresh_site(1)->alloc_samples, 1); /* what the parent allocated is not the child's */
    assert_true(fresh_site(1)->live_bytes == 16);
}

static bool stop;

static void *churn(void *unused)
{
    (void)unused;
    fresh_frame(9);
    for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        fresh_alloc(0x100000 + i % 100 * 64, 8);
        fresh_free(0x100000 + (i + 50) % 100 * 64);
    }
    return NULL;
}

/* What the child draws, told through a pipe. Exits 0 where all is well. */
static void child(int pipe)
{
    mp_sample_fork_child();
    alarm(20); /* a lock that stayed taken ends here */
    uint32_t before = mp_profile.live.index.rows;
    bool right = mp_profile.lock.word == 0 && deep.lock.word == 0 && mp_profile.generation == 1 &&
                 mp_profile.lineage[1].pid == (uint64_t)getpid();
    uint64_t random = mp_tls.random;
    right = right && write(pipe, &random, sizeof random) == sizeof random;
    for (uint64_t i = 0; i < 1000; i++) {
        fresh_alloc(0x900000 + i * 64, 8);
    }
    right = right && mp_profile.live.index.rows == before + 1000;
    for (uint64_t i = 0; i < 1000; i++) {
        fresh_free(0x900000 + i * 64);
    }
    _exit(right && mp_profile.live.index.rows == before ? 0 : 1);
}

/* Forks while other threads are in the tables: the child finds them whole, the locks free and numbers of its own. */
static void a_real_fork(void **state)
{
    (void)state;
    pthread_t threads[2];
    uint64_t random[8];
    int pipes[2];
    assert_int_equal(fresh_profile(1, 500), MP_OK);
    fresh_alloc(0x1000, 8);
    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    }
    assert_int_equal(pipe(pipes), 0);
    int failed = 0;
    for (int i = 0; i < 8; i++) {
        int status = -1;
        mp_sample_fork_prepare();
        pid_t pid = fork();
        if (pid == 0) {
            child(pipes[1]);
        }
        mp_sample_fork_parent();
        waitpid(pid, &status, 0);
        failed += status != 0 || read(pipes[0], &random[i], sizeof random[i]) != sizeof random[i];
        for (int j = 0; j < i; j++) {
            failed += random[i] == random[j] || random[i] == mp_tls.random;
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(failed, 0);
    assert_int_equal(mp_profile.generation, 0);
}

static uint64_t random_inside;

static void fork_inside(void)
{
    mp_sample_fork_prepare();
    mp_sample_fork_child();
    random_inside = mp_tls.random;
}

/* A signal handler that forks in the middle of a sample: the child goes on with it, and has its own numbers too. */
static void a_fork_in_the_middle_of_a_sample(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 500), MP_OK);
    fresh_alloc(0x1000, 8);
    uint64_t before = mp_tls.random;
    fresh_stack.meanwhile = fork_inside;
    fresh_alloc(0x2000, 8);
    assert_int_equal(mp_profile.lock.word, 0);
    assert_int_equal(deep.lock.word, 0);
    assert_int_equal(mp_profile.live.index.rows, 2);
    assert_false(mp_tls.inside);
    assert_true(random_inside != before);
}

static void rows_of_threads_are_used_again(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    for (uint32_t i = 0; i < 100000; i++) {
        memset(&mp_tls, 0, sizeof mp_tls); /* a new thread */
        assert_true(fresh_alloc(0x1000 + i % 10 * 16, 8));
        if (i >= 9) {
            fresh_free(0x1000 + (i + 1) % 10 * 16);
        }
    }
    assert_true(mp_vec_count(&mp_profile.threads) <= 12);
    for (uint32_t i = 0; i < 10; i++) {
        fresh_free(0x1000 + i * 16);
    }
    uint64_t live = 0;
    for (uint32_t i = 0; i < mp_vec_count(&mp_profile.threads); i++) {
        live += ((struct mp_thread *)mp_vec_at(&mp_profile.threads, i))->live;
    }
    assert_int_equal(live, 0);
}

/* A thread whose row went to another while it had nothing live gets a new one, and no two live threads share. */
static void a_row_that_was_given_away_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    struct mp_tls first, second;
    fresh_alloc(0x1000, 8);
    first = mp_tls;
    fresh_free(0x1000);
    memset(&mp_tls, 0, sizeof mp_tls);
    fresh_alloc(0x2000, 8); /* takes the idle row */
    second = mp_tls;
    assert_int_equal(second.thread, first.thread);
    mp_tls = first;
    fresh_alloc(0x3000, 8);
    assert_int_not_equal(mp_tls.thread, second.thread);
    mp_tls = second;
    fresh_alloc(0x4000, 8);
    assert_int_equal(mp_tls.thread, second.thread);
    assert_int_equal(mp_vec_count(&mp_profile.threads), 3);
}

/* A row that waits in the queue and is used again meanwhile: neither given away nor lost, nor are those behind it. */
static void a_row_may_wait_and_be_used(void **state)
{
    (void)state;
    enum { MANY = 20 };
    struct mp_tls threads[MANY];
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    for (uint64_t i = 0; i < MANY; i++) {
        memset(&mp_tls, 0, sizeof mp_tls);
        fresh_alloc(0x1000 + i * 16, 8);
        threads[i] = mp_tls;
    }
    for (uint64_t i = 0; i < MANY; i++) { /* all wait, in this order */
        fresh_free(0x1000 + i * 16);
    }
    for (uint64_t i = 0; i < MANY; i += 3) { /* some come and go again; of these, every other one stays */
        mp_tls = threads[i];
        fresh_alloc(0x1000 + i * 16, 8);
        assert_int_equal(mp_tls.thread, threads[i].thread);
        if (i % 2 == 0) {
            fresh_free(0x1000 + i * 16);
        }
    }
    for (uint64_t i = 0; i < MANY; i++) { /* new threads: they get the rows that are free, each one once */
        memset(&mp_tls, 0, sizeof mp_tls);
        fresh_alloc(0x8000 + i * 16, 8);
    }
    uint64_t stayed = 0;
    for (uint32_t row = 1; row < mp_vec_count(&mp_profile.threads); row++) {
        assert_int_equal(((struct mp_thread *)mp_vec_at(&mp_profile.threads, row))->live, 1);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        stayed += fresh_live(0x1000 + i * 16) != NULL;
    }
    assert_int_equal(mp_vec_count(&mp_profile.threads), 1 + MANY + stayed);
}

static void each_thread_has_its_own_numbers(void **state)
{
    (void)state;
    enum { MANY = 500 };
    uint64_t drawn[MANY];
    assert_int_equal(fresh_profile(1ull << 40, 128), MP_OK);
    for (int i = 0; i < MANY; i++) {
        memset(&mp_tls, 0, sizeof mp_tls);
        assert_false(fresh_alloc(16, 1));
        drawn[i] = mp_tls.left + mp_tls.rest;
        for (int j = 0; j < i; j++) {
            assert_true(drawn[i] != drawn[j]);
        }
    }
}

static void memory_refused_is_said(void **state)
{
    (void)state;
    int granted = 0;
    for (;; granted++) {
        fresh_release();
        mp_sys_map_fail_after(granted);
        if (mp_profile_init(4096, 128) == MP_OK) {
            break;
        }
        assert_false(mp_profile.ready);
    }
    assert_in_range(granted, 10, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_begins_empty, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(rates_have_rows_for_ever, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(a_fork_is_a_new_generation, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(a_real_fork, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(a_fork_in_the_middle_of_a_sample, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(rows_of_threads_are_used_again, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(a_row_that_was_given_away_is_noticed, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(a_row_may_wait_and_be_used, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(each_thread_has_its_own_numbers, fresh, fresh_done),
        cmocka_unit_test_setup_teardown(memory_refused_is_said, fresh, fresh_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
