/* SPDX-License-Identifier: MIT
 * The snapshot file's life: what it says of itself, names and numbers, what is there already and what appears meanwhile,
 * temporaries that were left or laid as a trap, KEEP, modes, and a large heap that is written while it changes.
 * (When it cannot be written: test_writer_fails.c.)
 */
#include "snapshots.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

static uint32_t before_calls;

static void count_before(void)
{
    before_calls++;
    mp_writer_fact("python.alloc", before_calls == 1 ? "first" : "later");
}

static void the_file_says_what_it_is(void **state)
{
    (void)state;
    static const char *const triggers[] = {"signal", "exit", "interval", "api"};
    before_calls = 0;
    settings.before = count_before;
    settings.argv = true;
    mp_writer_fact("python", "3.12.1");
    mp_writer_fact("cwd", "/some%where\n");
    errno = 777;
    for (int trigger = 0; trigger < 4; trigger++) {
        assert_int_equal(mp_writer_write((enum mp_trigger)trigger), 0);
        struct decoded d = decode_file(mp_writer_last_path());
        assert_string_equal(decode_fact(&d, "trigger"), triggers[trigger]);
        assert_string_equal(decode_fact(&d, "python.alloc"), trigger == 0 ? "first" : "later");
        assert_string_equal(decode_fact(&d, "mprofile"), MP_VERSION);
        assert_string_equal(decode_fact(&d, "host"), uts.nodename);
        assert_string_equal(decode_fact(&d, "machine"), uts.machine);
        assert_string_equal(decode_fact(&d, "python"), "3.12.1");
        assert_string_equal(decode_fact(&d, "cwd"), "/some%25where%0A");
        assert_non_null(decode_fact(&d, "cmdline"));
        decode_free(&d);
    }
    assert_int_equal(before_calls, 4);
    assert_int_equal(errno, 777);
}

static void facts_fill_their_table(void **state)
{
    (void)state;
    static char keys[FACTS_MAX + 1][8];
    for (int i = 0; i <= FACTS_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "key%d", i);
        assert_int_equal(mp_writer_fact(keys[i], "1"), i < FACTS_MAX ? MP_OK : MP_ERR_FULL);
    }
    assert_int_equal(mp_writer_fact("key3", "2"), MP_OK);
    assert_int_equal(mp_writer_write(MP_TRIGGER_API), 0);
    struct decoded d = decode_file(mp_writer_last_path());
    assert_string_equal(decode_fact(&d, "key3"), "2");
    assert_string_equal(decode_fact(&d, "key15"), "1");
    assert_null(decode_fact(&d, keys[FACTS_MAX]));
    decode_free(&d);
}

static void numbers_count_on(void **state)
{
    (void)state;
    write_one("x.1.bin", "1");
    write_one("x.2.bin", "2");
    mp_writer_forked(); /* as a child, whose template would have another %p */
    assert_string_equal(mp_writer_last_path(), "");
    write_one("x.3.bin", "3");
    use("plain.bin");
    mp_writer_forked();
    write_one("plain.bin", "1");
    write_one("plain.2.bin", "2");
    write_one("plain.3.bin", "3");
}

static void nothing_is_replaced(void **state)
{
    (void)state;
    put_file(in_folder("x.1.bin"), "mine");
    assert_int_equal(symlink("nowhere", in_folder("x.2.bin")), 0);
    assert_int_equal(mkdir(in_folder("x.3.bin"), 0700), 0);
    write_one("x.4.bin", "4");
    expect_text(in_folder("x.1.bin"), "mine");
    assert_int_equal(access(in_folder("nowhere"), F_OK), -1);
    put_file(in_folder("x.5.bin"), "mine too");
    write_one("x.6.bin", "6");
    expect_text(in_folder("x.5.bin"), "mine too");
}

static void a_name_taken_meanwhile_costs_a_number(void **state)
{
    (void)state;
    uint64_t number;
    int fd;
    assert_int_equal(choose_name(options->pattern, last_number, 1, &number), 0);
    assert_int_equal(open_temporary(&fd), 0);
    assert_int_equal(write(fd, "snapshot", 8), 8);
    close(fd);
    put_file(final_path, "mine");
    put_file(in_folder("x.2.bin"), "mine as well");
    assert_int_equal(publish(options->pattern, 1, &number), 0);
    assert_int_equal(number, 3);
    expect_text(in_folder("x.1.bin"), "mine");
    expect_text(in_folder("x.3.bin"), "snapshot");
    assert_int_equal(access(temporary(), F_OK), -1);
}

/* Processes that write by one template, all at once: every file is whole and none is lost. */
static void processes_share_a_folder(void **state)
{
    (void)state;
    enum { PROCESSES = 4, EACH = 15 };
    pid_t pids[PROCESSES];
    int failed = 0;
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            int bad = 0;
            mp_sample_fork_child();
            for (int n = 0; n < EACH; n++) {
                bad += mp_writer_write(MP_TRIGGER_API) != 0;
            }
            _exit(bad);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        failed += status != 0;
    }
    assert_int_equal(failed, 0);
    assert_int_equal(files_in_folder(), PROCESSES * EACH);
    for (int n = 1; n <= PROCESSES * EACH; n++) {
        char name[32];
        snprintf(name, sizeof name, "x.%d.bin", n);
        struct decoded d = decode_file(in_folder(name));
        decode_free(&d);
    }
}

static void a_temporary_that_was_left_is_replaced(void **state)
{
    (void)state;
    put_file(temporary(), "half a snapshot, and much longer than a tiny file would ever need to be");
    write_one("x.1.bin", "1");
}

static void a_link_laid_as_a_trap_is_not_followed(void **state)
{
    (void)state;
    put_file(in_folder("precious"), "data");
    assert_int_equal(symlink(in_folder("precious"), temporary()), 0);
    write_one("x.1.bin", "1");
    expect_text(in_folder("precious"), "data");
    assert_int_equal(symlink(in_folder("new"), temporary()), 0);
    write_one("x.2.bin", "2");
    assert_int_equal(access(in_folder("new"), F_OK), -1);
    struct stat file;
    assert_int_equal(lstat(in_folder("x.2.bin"), &file), 0);
    assert_true(S_ISREG(file.st_mode));
}

static void modes_do_not_depend_on_the_umask(void **state)
{
    (void)state;
    static const mode_t masks[] = {0777, 0, 022, 0277};
    for (size_t i = 0; i < MP_COUNT(masks); i++) {
        struct stat file;
        mode_t old = umask(masks[i]);
        int error = mp_writer_write(MP_TRIGGER_API);
        umask(old);
        assert_int_equal(error, 0);
        assert_int_equal(stat(mp_writer_last_path(), &file), 0);
        assert_int_equal(file.st_mode & 07777, 0600);
    }
}

static void the_oldest_go(void **state)
{
    (void)state;
    settings.keep = 3;
    put_file(in_folder("x.2.bin"), "somebody's");
    for (int n = 0; n < 10; n++) {
        assert_int_equal(mp_writer_write(MP_TRIGGER_API), 0);
        assert_int_equal(files_in_folder(), n < 3 ? n + 2 : 4);
    }
    expect_text(in_folder("x.2.bin"), "somebody's");
    for (int n = 9; n <= 11; n++) { /* number 2 was passed over */
        char name[32], number[8];
        snprintf(name, sizeof name, "x.%d.bin", n);
        snprintf(number, sizeof number, "%d", n);
        expect_snapshot(in_folder(name), number);
    }
    mp_writer_forked(); /* a child does not remove its parent's */
    for (int n = 0; n < 5; n++) {
        assert_int_equal(mp_writer_write(MP_TRIGGER_API), 0);
    }
    assert_int_equal(files_in_folder(), 4 + 3);
    settings.keep = 1;
    use("only.bin");
    mp_writer_forked();
    write_one("only.bin", "1");
    write_one("only.2.bin", "2");
    write_one("only.3.bin", "3");
    assert_int_equal(files_in_folder(), 4 + 3 + 1);
}

static void names_with_the_time_are_found_again(void **state)
{
    (void)state;
    settings.keep = 2;
    use("%t.%p.%h.%n");
    for (int n = 0; n < 6; n++) {
        assert_int_equal(mp_writer_write(MP_TRIGGER_API), 0);
    }
    assert_int_equal(files_in_folder(), 2);
}

static void what_a_dead_writer_left_goes(void **state)
{
    (void)state;
    char path[MP_PATH_MAX];
    struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(mp_sweep_temporary(pattern, pid, 1, path), 0);
    put_file(path, "");
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    write_one("x.1.bin", "1");
    assert_int_equal(access(path, F_OK), -1);
}

enum { STEADY = 200000, CHURN = 20000 };

static bool stop;

static uint32_t rounds;

/* Blocks that come and go between those that stay; new stacks as well, but no more than are there already. */
static void *churn(void *unused)
{
    (void)unused;
    uint64_t seed_of_thread = 4;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t which = suite_below(&seed_of_thread, CHURN);
        fresh_frame(1 + (uint32_t)which % 5000);
        fresh_alloc(((uint64_t)1 << 40) + which * 16, 33);
        fresh_free(((uint64_t)1 << 40) + suite_below(&seed_of_thread, CHURN) * 16);
        __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static uint64_t pages_of_process(void)
{
    char text[200] = "";
    assert_true(mp_sys_slurp("/proc/self/statm", text, sizeof text - 1) > 0);
    return strtoull(text, NULL, 10);
}

/* Every block that was there all the time is in the file, once, with its stack; the others are whole rows. */
static void expect_all_steady(const char *path)
{
    static uint8_t seen[STEADY];
    memset(seen, 0, sizeof seen);
    struct decoded d = decode_file(path);
    uint32_t steady = 0;
    for (uint32_t i = 0; i < d.live_count; i++) {
        const struct decoded_live *live = &d.live[i];
        if (live->address >> 40 != 0) {
            assert_true(live->size == 33 && live->address < ((uint64_t)1 << 40) + CHURN * 16);
            continue;
        }
        uint64_t which = live->address / 16 - 1;
        assert_true(which < STEADY && live->size == which % 1000 && seen[which] == 0);
        seen[which] = 1;
        steady++;
        const struct decoded_triple *node = &d.nodes[d.sites[live->site].node];
        assert_int_equal(d.functions[node->b].c, 1 + which % 5000);
    }
    assert_int_equal(steady, STEADY);
    decode_free(&d);
}

static void a_large_heap_that_changes(void **state)
{
    (void)state;
    fresh_free(0x1000);
    for (uint64_t i = 0; i < STEADY + CHURN; i++) {
        fresh_frame(1 + (uint32_t)i % 5000);
        uint64_t address = i < STEADY ? (i + 1) * 16 : ((uint64_t)1 << 40) + (i - STEADY) * 16;
        fresh_alloc(address, i < STEADY ? i % 1000 : 33);
    }
    pthread_t thread;
    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    __atomic_store_n(&rounds, 0, __ATOMIC_RELAXED);
    assert_int_equal(pthread_create(&thread, NULL, churn, NULL), 0);
    while (__atomic_load_n(&rounds, __ATOMIC_RELAXED) < CHURN) { /* the thread has all that it will ever have */
        sched_yield();
    }
    for (int i = 0; i < 3; i++) {
        uint32_t began = __atomic_load_n(&rounds, __ATOMIC_RELAXED);
        size_t mapped = mp_sys_mapped();
        uint64_t pages = pages_of_process();
        int error = mp_writer_write(MP_TRIGGER_API);
        uint64_t pages_after = pages_of_process();
        bool ran_on = __atomic_load_n(&rounds, __ATOMIC_RELAXED) != began;
        if (error != 0 || !ran_on || mp_sys_mapped() != mapped || (!suite_sanitized && pages_after != pages)) {
            __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
            pthread_join(thread, NULL);
            fail_msg("error %d, ran on %d, %zu to %zu bytes, %lu to %lu pages", error, ran_on, mapped,
                     mp_sys_mapped(), (unsigned long)pages, (unsigned long)pages_after);
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    expect_all_steady(in_folder("x.1.bin"));
    expect_all_steady(in_folder("x.3.bin"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_says_what_it_is, fresh, done),
        cmocka_unit_test_setup_teardown(facts_fill_their_table, fresh, done),
        cmocka_unit_test_setup_teardown(numbers_count_on, fresh, done),
        cmocka_unit_test_setup_teardown(nothing_is_replaced, fresh, done),
        cmocka_unit_test_setup_teardown(a_name_taken_meanwhile_costs_a_number, fresh, done),
        cmocka_unit_test_setup_teardown(processes_share_a_folder, fresh, done),
        cmocka_unit_test_setup_teardown(a_temporary_that_was_left_is_replaced, fresh, done),
        cmocka_unit_test_setup_teardown(a_link_laid_as_a_trap_is_not_followed, fresh, done),
        cmocka_unit_test_setup_teardown(modes_do_not_depend_on_the_umask, fresh, done),
        cmocka_unit_test_setup_teardown(the_oldest_go, fresh, done),
        cmocka_unit_test_setup_teardown(names_with_the_time_are_found_again, fresh, done),
        cmocka_unit_test_setup_teardown(what_a_dead_writer_left_goes, fresh, done),
        cmocka_unit_test_setup_teardown(a_large_heap_that_changes, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
