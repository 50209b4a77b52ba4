/* SPDX-License-Identifier: MIT
 * Lines on standard error: what they look like, numbers and errors in words; where descriptor 2 is closed or another file by
 * now, not one byte.
 */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/say.h"

static int real_stderr, ours, other; /* ours, other: files without a name */

static int nameless(void)
{
    char name[] = "/tmp/mprofile-test-say.XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    return fd;
}

static int fresh(void **state)
{
    (void)state;
    real_stderr = dup(2);
    ours = nameless();
    other = nameless();
    return dup2(ours, 2) == 2 && other >= 0 ? 0 : -1;
}

static int done(void **state)
{
    (void)state;
    dup2(real_stderr, 2);
    close(real_stderr);
    close(ours);
    close(other);
    return 0;
}

/* cmocka's own words must not go into our file. */
static const char *written(int fd)
{
    static char text[4096];
    dup2(real_stderr, 2);
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    return text;
}

static void a_line_is_one_line(void **state)
{
    (void)state;
    mp_say_init();
    mp_say("one ", "two", "", " three", NULL);
    mp_say("a\nb\tc\x7f\x1b[0m \xC3\xA9", NULL);
    assert_string_equal(written(ours), "mprofile: one two three\nmprofile: a?b?c??[0m \xC3\xA9\n");
}

static void a_long_line_is_cut(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mp_say_init();
    mp_say(text, "y", NULL);
    const char *line = written(ours);
    assert_int_equal(strlen(line), 1024);
    assert_int_equal(line[1023], '\n');
    assert_int_equal(line[1022], 'x');
}

static void not_before_init(void **state)
{
    (void)state;
    close(2);
    mp_say_init(); /* there was none when we came */
    dup2(ours, 2);
    mp_say("hello", NULL);
    assert_string_equal(written(ours), "");
}

static void not_to_a_file_in_its_place(void **state)
{
    (void)state;
    mp_say_init();
    mp_say("first", NULL);
    close(2);
    mp_say("closed", NULL);
    assert_int_equal(dup2(other, 2), 2);
    mp_say("into the database", NULL);
    dup2(ours, 2);
    mp_say("back", NULL);
    assert_string_equal(written(ours), "mprofile: first\nmprofile: back\n");
    assert_string_equal(written(other), "");
}

static void not_to_a_device_in_its_place(void **state)
{
    (void)state;
    int null = open("/dev/null", O_WRONLY), pipes[2];
    char byte;
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    dup2(null, 2);
    mp_say_init();
    dup2(pipes[1], 2);
    mp_say("lost", NULL);
    dup2(real_stderr, 2);
    assert_int_equal(read(pipes[0], &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);
    close(null);
    close(pipes[0]);
    close(pipes[1]);
}

static void numbers_are_decimal(void **state)
{
    (void)state;
    char buffer[21], want[32];
    uint64_t number = 0;
    dup2(real_stderr, 2);
    for (int i = 0; i < 64; i++) {
        for (int d = -1; d <= 1; d++) {
            snprintf(want, sizeof want, "%llu", (unsigned long long)(number + (uint64_t)d));
            assert_string_equal(mp_say_number(number + (uint64_t)d, buffer), want);
        }
        number = number * 2 + (i % 3 == 0);
    }
    assert_string_equal(mp_say_number(0, buffer), "0");
    assert_string_equal(mp_say_number(UINT64_MAX, buffer), "18446744073709551615");
}

static void errors_are_words_or_a_number(void **state)
{
    (void)state;
    char buffer[32];
    dup2(real_stderr, 2);
    static const int libc_s[] = {EPERM,  ENOENT, EIO,    EACCES, EEXIST,       ENOTDIR, EISDIR,
                                 EMFILE, EFBIG,  ENOSPC, EROFS,  ENAMETOOLONG, ELOOP,   EDQUOT};
    for (size_t i = 0; i < MP_COUNT(libc_s); i++) {
        assert_string_equal(mp_say_error(libc_s[i], buffer), strerror(libc_s[i]));
    }
    assert_string_equal(mp_say_error(EBADF, buffer), "The descriptor was taken by the program");
    assert_string_equal(mp_say_error(12345, buffer), "error 12345");
    assert_string_equal(mp_say_error(INT32_MAX, buffer), "error 2147483647");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_one_line, fresh, done),
        cmocka_unit_test_setup_teardown(a_long_line_is_cut, fresh, done),
        cmocka_unit_test_setup_teardown(not_before_init, fresh, done),
        cmocka_unit_test_setup_teardown(not_to_a_file_in_its_place, fresh, done),
        cmocka_unit_test_setup_teardown(not_to_a_device_in_its_place, fresh, done),
        cmocka_unit_test_setup_teardown(numbers_are_decimal, fresh, done),
        cmocka_unit_test_setup_teardown(errors_are_words_or_a_number, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
