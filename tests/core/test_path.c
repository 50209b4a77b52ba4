/* SPDX-License-Identifier: MIT
 * Templates of file names: what is good, what each becomes, the number that comes in by itself, names that are too long.
 */
#include "suite.h"

#include <string.h>

#include "core/path.h"

static const struct mp_path_values first = {.pid = 42, .number = 1, .time_s = 1700000000, .host = "box.lan"};
static const struct mp_path_values third = {.pid = 42, .number = 3, .time_s = 1700000000, .host = "box.lan"};

static void expect(const char *pattern, const struct mp_path_values *values, const char *want)
{
    char path[MP_PATH_MAX];
    assert_null(mp_path_check(pattern));
    assert_int_equal(mp_path_expand(pattern, values, path), MP_OK);
    assert_string_equal(path, want);
}

static void every_letter_has_its_value(void **state)
{
    (void)state;
    expect("/tmp/mprofile.%p.%n.bin", &first, "/tmp/mprofile.42.1.bin");
    expect("/tmp/mprofile.%p.%n.bin", &third, "/tmp/mprofile.42.3.bin");
    expect("/%h/%t-%n", &third, "/box.lan/1700000000-3");
    expect("/a%%b%n", &third, "/a%b3");
    expect("%n%n", &third, "33");
    expect("plain", &first, "plain");
    const struct mp_path_values large = {UINT64_MAX, UINT64_MAX, UINT64_MAX, ""};
    expect("%p %n %t%h", &large, "18446744073709551615 18446744073709551615 18446744073709551615");
}

static void the_number_goes_before_the_extension(void **state)
{
    (void)state;
    expect("/tmp/x.bin", &first, "/tmp/x.bin");
    expect("/tmp/x.bin", &third, "/tmp/x.3.bin");
    expect("/tmp/x", &third, "/tmp/x.3");
    expect("/tmp/.hidden", &third, "/tmp/.hidden.3");
    expect("/tmp/.hidden.bin", &third, "/tmp/.hidden.3.bin");
    expect("/tmp/a.tar.gz", &third, "/tmp/a.tar.3.gz");
    expect("/tmp.d/x", &third, "/tmp.d/x.3");
    expect("/tmp/x.", &third, "/tmp/x.3.");
    expect("/tmp/%p.%t", &third, "/tmp/42.3.1700000000");
    expect("x%%n.bin", &third, "x%n.3.bin"); /* %%n is no %n */
    expect("/tmp/%h", &third, "/tmp/box.lan.3"); /* a dot of the host's is no extension */
}

static void bad_templates_are_refused(void **state)
{
    (void)state;
    assert_non_null(mp_path_check(""));
    assert_non_null(mp_path_check("%"));
    assert_non_null(mp_path_check("a%"));
    assert_non_null(mp_path_check("a%%%"));
    assert_non_null(mp_path_check("a%P"));
    assert_non_null(mp_path_check("a%s"));
    assert_non_null(mp_path_check("%5n"));
    for (int c = 1; c < 256; c++) {
        char pattern[] = {'x', '%', (char)c, '\0'};
        assert_int_equal(mp_path_check(pattern) == NULL, strchr("pnth%", c) != NULL);
    }
    static char pattern[MP_PATH_MAX];
    memset(pattern, 'x', sizeof pattern - 1);
    assert_non_null(mp_path_check(pattern));
    pattern[MP_PATH_MAX / 2] = '\0';
    assert_null(mp_path_check(pattern));
}

/* At every length around the limit: whole, or an error; never a byte behind the buffer. */
static void too_long_is_an_error(void **state)
{
    (void)state;
    static char host[MP_PATH_MAX + 8];
    struct {
        char path[MP_PATH_MAX];
        char guard[8];
    } room;
    for (size_t length = MP_PATH_MAX - 8; length < MP_PATH_MAX + 8; length++) {
        memset(host, 'h', length);
        host[length] = '\0';
        struct mp_path_values values = {.pid = 1, .number = 1, .host = host};
        memset(room.guard, 0x5A, sizeof room.guard);
        int result = mp_path_expand("/%h", &values, room.path);
        assert_int_equal(result, length + 1 < MP_PATH_MAX ? MP_OK : MP_ERR_FULL);
        if (result == MP_OK) {
            assert_int_equal(strlen(room.path), length + 1);
        }
        for (size_t i = 0; i < sizeof room.guard; i++) {
            assert_int_equal(room.guard[i], 0x5A);
        }
        assert_int_equal(mp_path_expand("/%h%h", &values, room.path), MP_ERR_FULL);
        assert_non_null(memchr(room.path, '\0', sizeof room.path)); /* still a text, for the message */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_letter_has_its_value),
        cmocka_unit_test(the_number_goes_before_the_extension),
        cmocka_unit_test(bad_templates_are_refused),
        cmocka_unit_test(too_long_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
