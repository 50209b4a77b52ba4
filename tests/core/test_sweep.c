/* SPDX-License-Identifier: MIT
 * Temporaries: how they are named; those of processes that are gone are removed once they are ten minutes old, and nothing else
 * is.
 */
#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/path.h"
#include "core/sweep.h"

#define OLD 700
#define YOUNG 500

static char folder[] = "/tmp/mprofile-test-sweep.XXXXXX";
static char output[300]; /* a snapshot's path in folder */
static int gone;         /* a process that is no more */

static int fresh(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(output, sizeof output, "%s/x.bin", folder);
    gone = fork();
    if (gone == 0) {
        _exit(0);
    }
    return waitpid(gone, NULL, 0) == gone ? 0 : -1;
}

static int done(void **state)
{
    (void)state;
    char path[600];
    DIR *list = opendir(folder);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    closedir(list);
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* An empty file of this age. */
static void make(const char *path, int seconds)
{
    struct timespec times[2] = {{time(NULL) - seconds, 0}, {time(NULL) - seconds, 0}};
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool there(const char *path)
{
    struct stat unused;
    return lstat(path, &unused) == 0;
}

static const char *temporary_of(int pid, uint64_t uid)
{
    static char path[MP_PATH_MAX];
    assert_int_equal(mp_sweep_temporary(output, pid, uid, path), 0);
    return path;
}

static void names_are_hidden_and_in_the_same_folder(void **state)
{
    (void)state;
    char path[MP_PATH_MAX];
    assert_int_equal(mp_sweep_temporary("/a/b/c.bin", 42, 0xAB, path), 0);
    assert_string_equal(path, "/a/b/.mprofile-42-00000000000000ab.tmp");
    assert_int_equal(mp_sweep_temporary("/c.bin", 1, UINT64_MAX, path), 0);
    assert_string_equal(path, "/.mprofile-1-ffffffffffffffff.tmp");
    assert_int_equal(mp_sweep_temporary("c.bin", INT32_MAX, 0, path), 0);
    assert_string_equal(path, ".mprofile-2147483647-0000000000000000.tmp");
}

static void a_folder_that_is_too_long(void **state)
{
    (void)state;
    static char longer[MP_PATH_MAX + 200], path[MP_PATH_MAX];
    for (size_t length = MP_PATH_MAX - 100; length < MP_PATH_MAX + 100; length++) {
        memset(longer, 'd', length);
        longer[length - 1] = '/';
        longer[length] = '\0';
        int error = mp_sweep_temporary(longer, 1234567, 1, path);
        assert_true(error == 0 || error == ENAMETOOLONG);
        if (error == 0) {
            assert_int_equal(strlen(path), length + strlen(".mprofile-1234567-0000000000000001.tmp"));
        }
    }
}

static void what_the_dead_left_goes(void **state)
{
    (void)state;
    make(temporary_of(gone, 1), OLD);
    make(temporary_of(gone, 2), OLD);
    make(temporary_of(gone, 3), YOUNG);
    mp_sweep(output, getpid());
    assert_false(there(temporary_of(gone, 1)));
    assert_false(there(temporary_of(gone, 2)));
    assert_true(there(temporary_of(gone, 3))); /* of a process that only we cannot see, perhaps */
}

static void what_the_living_write_stays(void **state)
{
    (void)state;
    make(temporary_of(getppid(), 1), OLD);
    make(temporary_of(1, 1), OLD); /* not ours to signal, but there */
    make(temporary_of(getpid(), 1), OLD);
    mp_sweep(output, getpid());
    assert_true(there(temporary_of(getppid(), 1)));
    assert_true(there(temporary_of(1, 1)));
    assert_true(there(temporary_of(getpid(), 1)));
}

static void what_others_made_stays(void **state)
{
    (void)state;
    static const char *const shapes[] = {"x.bin",
                                         ".mprofile-%d.bin",
                                         ".mprofile-%d-0000000000000001.tmp.old",
                                         ".mprofile-%d-0000000000000001.tmp~",
                                         ".mprofile-%d-00000000000000001.tmp",
                                         ".mprofile-%d-000000000000001.tmp",
                                         ".mprofile-%d-00000000000000XY.tmp",
                                         ".mprofile-%d-.tmp",
                                         ".mprofile-%d.tmp",
                                         ".mprofile-x%d-0000000000000001.tmp",
                                         ".mprofile--%d-0000000000000001.tmp",
                                         ".mprofile--0000000000000001.tmp",
                                         ".mprofile-0-0000000000000001.tmp",
                                         ".mprofile-99999999999999999999-0000000000000001.tmp",
                                         "mprofile-%d-0000000000000001.tmp",
                                         ".mprofile"};
    char name[100];
    for (size_t i = 0; i < MP_COUNT(shapes); i++) {
        snprintf(name, sizeof name, shapes[i], gone);
        make(in_folder(name), OLD);
    }
    mp_sweep(output, getpid());
    for (size_t i = 0; i < MP_COUNT(shapes); i++) {
        snprintf(name, sizeof name, shapes[i], gone);
        assert_true(there(in_folder(name)));
    }
}

static void a_link_is_not_followed(void **state)
{
    (void)state;
    struct timespec times[2] = {{time(NULL) - OLD, 0}, {time(NULL) - OLD, 0}};
    make(in_folder("precious"), OLD);
    assert_int_equal(symlink("precious", temporary_of(gone, 1)), 0);
    assert_int_equal(utimensat(AT_FDCWD, temporary_of(gone, 1), times, AT_SYMLINK_NOFOLLOW), 0);
    mp_sweep(output, getpid());
    assert_true(there(in_folder("precious")));
    assert_false(there(temporary_of(gone, 1)));
}

static void a_folder_of_that_name_stays(void **state)
{
    (void)state;
    struct timespec times[2] = {{time(NULL) - OLD, 0}, {time(NULL) - OLD, 0}};
    assert_int_equal(mkdir(temporary_of(gone, 1), 0700), 0);
    assert_int_equal(utimensat(AT_FDCWD, temporary_of(gone, 1), times, 0), 0);
    mp_sweep(output, getpid());
    assert_true(there(temporary_of(gone, 1)));
    rmdir(temporary_of(gone, 1));
}

/* More entries than one read of the folder gives. */
static void a_full_folder(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 300; i++) {
        make(temporary_of(gone, i), i % 2 == 0 ? OLD : YOUNG);
    }
    mp_sweep(output, getpid());
    for (uint64_t i = 0; i < 300; i++) {
        assert_int_equal(there(temporary_of(gone, i)), i % 2);
    }
    mp_sweep("/nonexistent-folder/x", getpid());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_hidden_and_in_the_same_folder),
        cmocka_unit_test(a_folder_that_is_too_long),
        cmocka_unit_test_setup_teardown(what_the_dead_left_goes, fresh, done),
        cmocka_unit_test_setup_teardown(what_the_living_write_stays, fresh, done),
        cmocka_unit_test_setup_teardown(what_others_made_stays, fresh, done),
        cmocka_unit_test_setup_teardown(a_link_is_not_followed, fresh, done),
        cmocka_unit_test_setup_teardown(a_folder_of_that_name_stays, fresh, done),
        cmocka_unit_test_setup_teardown(a_full_folder, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
