/* SPDX-License-Identifier: MIT
 * Every way in which a snapshot cannot be written: its error is returned, counted and said, and nothing is left behind, no
 * file and no descriptor.
 */
#include "snapshots.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void expect_failure(int error)
{
    uint64_t lost = fresh_count(MP_LOST_SNAPSHOTS);
    assert_int_equal(mp_writer_write(MP_TRIGGER_API), error);
    assert_int_equal(fresh_count(MP_LOST_SNAPSHOTS), lost + 1);
}

static void folders_that_will_not_do(void **state)
{
    (void)state;
    use("missing/x.bin");
    expect_failure(ENOENT);
    put_file(in_folder("file"), "");
    use("file/x.bin");
    expect_failure(ENOTDIR);
    assert_int_equal(symlink("loop", in_folder("loop")), 0);
    use("loop/x.bin");
    expect_failure(ELOOP);
    static char longer[400];
    memset(longer, 'n', sizeof longer - 1);
    settings.pattern = longer; /* a relative one, and a name of 399 bytes */
    expect_failure(ENAMETOOLONG);
    static char host[MP_PATH_MAX];
    for (size_t i = 0; i + 2 < sizeof host; i += 2) {
        memcpy(host + i, "%h", 3);
    }
    settings.pattern = host; /* becomes far too long, unless the host has no name */
    expect_failure(ENAMETOOLONG);
    settings.pattern = pattern;
    use("x.bin");
    assert_int_equal(mkdir(temporary(), 0700), 0);
    expect_failure(EEXIST);
    assert_int_equal(files_in_folder(), 3); /* file, loop and the folder: nothing was left */
    assert_string_equal(mp_writer_last_path(), "");
    rmdir(temporary());
    write_one("x.bin", "1"); /* the next one is numbered as if nothing had happened */
}

/* In a child that is nobody, where we are root. */
static void a_folder_that_may_not_be_written(void **state)
{
    (void)state;
    int status = -1;
    assert_int_equal(chmod(folder, 0555), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(77);
        }
        int error = mp_writer_write(MP_TRIGGER_API);
        _exit(error == EACCES && fresh_count(MP_LOST_SNAPSHOTS) == 1 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    chmod(folder, 0700);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
}

/* In a child that sees another file system on the folder; skipped where the kernel does not let us. */
static void expect_on_mount(unsigned long flags, const char *data, int want)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
            mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("none", folder, "tmpfs", flags, data) != 0) {
            _exit(77);
        }
        int error = mp_writer_write(MP_TRIGGER_API);
        _exit(error != want ? 1 : files_in_folder() != 0 ? 2 : fresh_count(MP_LOST_SNAPSHOTS) != 1 ? 3 : 0);
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
}

static void a_file_system_that_is_read_only(void **state)
{
    (void)state;
    expect_on_mount(MS_RDONLY, "", EROFS);
}

static void a_file_system_that_is_full(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3000; i++) { /* about 120 kB */
        fresh_alloc(i * 16, 8);
    }
    expect_on_mount(0, "size=4k", ENOSPC);
    expect_on_mount(0, "size=64k", ENOSPC);
}

static void no_descriptor_to_be_had(void **state)
{
    (void)state;
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int error = mp_writer_write(MP_TRIGGER_API);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(error, EMFILE);
    write_one("x.1.bin", "1");
}

static void a_file_that_may_not_grow(void **state)
{
    (void)state;
    struct rlimit old, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t limit = 0; limit < 3000; limit += 500) {
        small = old;
        small.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &small);
        int error = mp_writer_write(MP_TRIGGER_API);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(error, EFBIG);
        assert_int_equal(files_in_folder(), 0);
    }
    signal(SIGXFSZ, handler);
    write_one("x.1.bin", "1");
}

/* No descriptor is left open, whatever happened, and no mapping is asked for. */
static void nothing_is_kept(void **state)
{
    (void)state;
    int before = open("/dev/null", O_RDONLY);
    close(before);
    size_t mapped = mp_sys_mapped();
    mp_sys_map_fail_after(0);
    for (int i = 0; i < 20; i++) {
        use(i % 2 == 0 ? "x.%n.bin" : "missing/x.bin");
        assert_int_equal(mp_writer_write(MP_TRIGGER_API), i % 2 == 0 ? 0 : ENOENT);
    }
    mp_sys_map_fail_after(-1);
    int after = open("/dev/null", O_RDONLY);
    close(after);
    assert_int_equal(after, before);
    assert_int_equal(mp_sys_mapped(), mapped);
}

static void failures_are_said(void **state)
{
    (void)state;
    int real = dup(2), mine = open(in_folder("stderr"), O_CREAT | O_RDWR, 0600);
    char want[600], text[600] = "";
    dup2(mine, 2);
    mp_say_init();
    use("missing/x.bin");
    int error = mp_writer_write(MP_TRIGGER_API);
    use("good.bin");
    int quiet = mp_writer_write(MP_TRIGGER_API);
    settings.verbose = true;
    int verbose = mp_writer_write(MP_TRIGGER_API);
    dup2(real, 2);
    close(real);
    assert_true(error == ENOENT && quiet == 0 && verbose == 0);
    assert_true(pread(mine, text, sizeof text - 1, 0) > 0);
    close(mine);
    snprintf(want, sizeof want,
             "mprofile: cannot write a snapshot: No such file or directory: %s/missing/x.bin\n"
             "mprofile: wrote %s/good.2.bin\n",
             folder, folder);
    assert_string_equal(text, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(folders_that_will_not_do, fresh, done),
        cmocka_unit_test_setup_teardown(a_folder_that_may_not_be_written, fresh, done),
        cmocka_unit_test_setup_teardown(a_file_system_that_is_read_only, fresh, done),
        cmocka_unit_test_setup_teardown(a_file_system_that_is_full, fresh, done),
        cmocka_unit_test_setup_teardown(no_descriptor_to_be_had, fresh, done),
        cmocka_unit_test_setup_teardown(a_file_that_may_not_grow, fresh, done),
        cmocka_unit_test_setup_teardown(nothing_is_kept, fresh, done),
        cmocka_unit_test_setup_teardown(failures_are_said, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
