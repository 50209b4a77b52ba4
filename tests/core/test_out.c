/* SPDX-License-Identifier: MIT
 * Sections and checksums as FORMAT.md says them, byte by byte; the first error sticks, whichever it is: a descriptor that the
 * program took, a full disk, a file that may not grow.
 */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/out.h"

static struct mp_out out;
static int fd;
static uint8_t file[1 << 20];

static int nameless(void)
{
    char name[] = "/tmp/mprofile-test-out.XXXXXX";
    int made = mkstemp(name);
    unlink(name);
    return made;
}

static int fresh(void **state)
{
    (void)state;
    fd = nameless();
    mp_out_start(&out, fd);
    return fd < 0;
}

static int done(void **state)
{
    (void)state;
    close(fd);
    return 0;
}

static size_t read_back(void)
{
    ssize_t size = pread(fd, file, sizeof file, 0);
    assert_true(size >= 0);
    return (size_t)size;
}

static uint32_t crc_bit_by_bit(const uint8_t *bytes, size_t size)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        c ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
        }
    }
    return ~c;
}

static uint32_t u32_at(size_t offset)
{
    uint32_t value;
    memcpy(&value, file + offset, sizeof value);
    return value;
}

static uint64_t u64_at(size_t offset)
{
    uint64_t value;
    memcpy(&value, file + offset, sizeof value);
    return value;
}

static void checksum_is_zlib_s(void **state)
{
    (void)state;
    assert_int_equal(mp_crc32("", 0), 0);
    assert_int_equal(mp_crc32("a", 1), 0xE8B7BE43);
    assert_int_equal(mp_crc32("123456789", 9), 0xCBF43926);
    assert_int_equal(mp_crc32("The quick brown fox jumps over the lazy dog", 43), 0x414FA339);
    static uint8_t bytes[2048];
    uint64_t seed = 9;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)suite_random(&seed);
    }
    for (size_t start = 0; start < 9; start++) {
        for (size_t size = 0; size < 300; size++) {
            assert_int_equal(mp_crc32(bytes + start, size), crc_bit_by_bit(bytes + start, size));
        }
    }
    assert_int_equal(mp_crc32(bytes, sizeof bytes), crc_bit_by_bit(bytes, sizeof bytes));
}

/* A section's header and checksums at this offset; returns the offset behind it. */
static size_t expect_section(size_t at, const char *tag, uint32_t flags, uint64_t length)
{
    assert_memory_equal(file + at, tag, 4);
    assert_int_equal(u32_at(at + 4), flags);
    assert_int_equal(u64_at(at + 8), length);
    assert_int_equal(u32_at(at + 16), crc_bit_by_bit(file + at + 24, length));
    assert_int_equal(u32_at(at + 20), crc_bit_by_bit(file + at, 20));
    size_t end = at + 24 + length;
    for (; end % 8 != 0; end++) {
        assert_int_equal(file[end], 0);
    }
    return end;
}

static void a_file_as_documented(void **state)
{
    (void)state;
    mp_out_begin(&out, "HEAD", 0);
    mp_out_fact_text(&out, "pid", "1");
    mp_out_end(&out);
    mp_out_begin(&out, "ZERO", 1);
    mp_out_end(&out);
    mp_out_begin(&out, "MANY", 0);
    for (uint32_t i = 0; i < 1000; i++) {
        mp_out_u64(&out, i);
    }
    mp_out_u32(&out, 7);
    mp_out_end(&out);
    assert_int_equal(mp_out_finish(&out), 0);
    size_t size = read_back();
    assert_memory_equal(file, "\x89MPROF\r\n\x01\0\x01\0", 12);
    assert_int_equal(u32_at(12), crc_bit_by_bit(file, 12));
    size_t at = expect_section(16, "HEAD", 0, 6);
    assert_memory_equal(file + 40, "pid=1\n", 6);
    at = expect_section(at, "ZERO", 1, 0);
    size_t many = at;
    at = expect_section(at, "MANY", 0, 8004);
    assert_int_equal(u64_at(many + 24 + 999 * 8), 999);
    size_t end = at;
    at = expect_section(at, "END ", 0, 16);
    assert_int_equal(at, size);
    assert_int_equal(u64_at(end + 24), 3);
    assert_int_equal(u64_at(end + 32), size);
}

static void columns_are_padded(void **state)
{
    (void)state;
    struct {
        uint64_t a;
        uint32_t b;
        uint16_t c;
        uint8_t d;
    } rows[5] = {{1, 10, 100, 201}, {2, 20, 200, 202}, {3, 30, 300, 203}, {4, 40, 400, 204}, {5, 50, 500, 205}};
    mp_out_begin(&out, "ROWS", 0);
    mp_out_column(&out, &rows->a, 5, 8, sizeof *rows);
    mp_out_column(&out, &rows->b, 5, 4, sizeof *rows);
    mp_out_column(&out, &rows->c, 5, 2, sizeof *rows);
    mp_out_column(&out, &rows->d, 5, 1, sizeof *rows);
    mp_out_column(&out, rows, 0, 8, sizeof *rows);
    mp_out_end(&out);
    read_back();
    expect_section(16, "ROWS", 0, 40 + 24 + 16 + 8);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(u64_at(40 + 8 * i), i + 1);
        assert_int_equal(u32_at(80 + 4 * i), 10 * (i + 1));
        assert_int_equal(file[104 + 2 * i] | file[105 + 2 * i] << 8, 100 * (i + 1));
        assert_int_equal(file[120 + i], 201 + i);
    }
    assert_int_equal(u32_at(100), 0);
    assert_int_equal(u32_at(114) | u32_at(116), 0);
}

static void facts_are_escaped(void **state)
{
    (void)state;
    char all[256];
    for (int c = 0; c < 256; c++) {
        all[c] = (char)c;
    }
    mp_out_begin(&out, "HEAD", 0);
    mp_out_fact(&out, "a", "x\0y\n%", 5);
    mp_out_fact_text(&out, "b", "");
    mp_out_fact_number(&out, "c", UINT64_MAX);
    mp_out_fact(&out, "d", all, 256);
    mp_out_end(&out);
    read_back();
    const char want[] = "a=x%00y%0A%25\nb=\nc=18446744073709551615\nd=%00%01%02";
    assert_memory_equal(file + 40, want, sizeof want - 1);
    assert_int_equal(u64_at(24), sizeof want - 1 - 9 + 256 + 2 * 34 + 1);
    assert_int_equal(file[40 + u64_at(24) - 1], '\n');
}

static void a_fact_without_room_is_left_out(void **state)
{
    (void)state;
    static char text[MP_OUT_CAPACITY];
    memset(text, 't', sizeof text);
    mp_out_begin(&out, "HEAD", 0);
    mp_out_fact_text(&out, "first", "1");
    uint32_t before = out.used;
    mp_out_fact(&out, "long", text, mp_out_room(&out) / 3);
    assert_int_equal(out.used, before);
    mp_out_fact_text(&out, "second", "2");
    mp_out_end(&out);
    assert_int_equal(mp_out_finish(&out), 0);
    read_back();
    assert_memory_equal(file + 40, "first=1\nsecond=2\n", 17);
}

static void a_section_fills_the_buffer_and_no_more(void **state)
{
    (void)state;
    static char text[MP_OUT_CAPACITY];
    memset(text, 'f', sizeof text);
    for (uint32_t spare = 0; spare < 9; spare++) {
        mp_out_begin(&out, "FULL", 0);
        mp_out_bytes(&out, text, mp_out_room(&out) - spare);
        assert_int_equal(mp_out_room(&out), spare);
        mp_out_end(&out);
        assert_int_equal(out.error, 0);
    }
    mp_out_begin(&out, "FULL", 0);
    mp_out_bytes(&out, text, mp_out_room(&out) + 1u);
    assert_int_equal(out.used, MP_OUT_HEADER);
    assert_int_equal(mp_out_finish(&out), EFBIG);
}

/* After an error nothing is written, and a later error does not hide it. */
static void expect_stuck(int error)
{
    static char text[MP_OUT_CAPACITY];
    off_t size = lseek(fd, 0, SEEK_END);
    mp_out_begin(&out, "MORE", 0);
    mp_out_fact_text(&out, "key", "value");
    mp_out_bytes(&out, text, sizeof text); /* never fits */
    mp_out_end(&out);
    assert_int_equal(mp_out_finish(&out), error);
    assert_int_equal(lseek(fd, 0, SEEK_END), size);
}

static void a_taken_descriptor_gets_nothing(void **state)
{
    (void)state;
    int other = nameless();
    mp_out_begin(&out, "GOOD", 0);
    mp_out_end(&out);
    int kept = dup(fd);
    dup2(other, fd);
    mp_out_begin(&out, "LOST", 0);
    mp_out_end(&out);
    assert_int_equal(out.error, EBADF);
    expect_stuck(EBADF);
    assert_int_equal(lseek(other, 0, SEEK_END), 0);
    dup2(kept, fd); /* it came back: too late */
    expect_stuck(EBADF);
    assert_int_equal(read_back(), 16 + 24);
    close(kept);
    close(other);
    mp_out_start(&out, 9999);
    assert_int_equal(mp_out_finish(&out), EBADF);
}

static void a_full_disk(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        skip();
    }
    mp_out_start(&out, full);
    assert_int_equal(out.error, ENOSPC);
    expect_stuck(ENOSPC);
    close(full);
}

static void a_file_that_may_not_grow(void **state)
{
    (void)state;
    struct rlimit old, small;
    static char text[1000];
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 3000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 5; i++) {
        mp_out_begin(&out, "ROWS", 0);
        mp_out_bytes(&out, text, sizeof text);
        mp_out_end(&out);
    }
    int error = out.error;
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_int_equal(error, EFBIG);
    expect_stuck(EFBIG);
    assert_int_equal(read_back(), 3000); /* the last write was cut, then refused */
}

static void a_pipe_nobody_reads(void **state)
{
    (void)state;
    int pipes[2];
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(pipes), 0);
    mp_out_start(&out, pipes[1]);
    assert_int_equal(out.error, 0);
    close(pipes[0]);
    mp_out_begin(&out, "ROWS", 0);
    mp_out_end(&out);
    assert_int_equal(mp_out_finish(&out), EPIPE);
    close(pipes[1]);
    signal(SIGPIPE, handler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_zlib_s),
        cmocka_unit_test_setup_teardown(a_file_as_documented, fresh, done),
        cmocka_unit_test_setup_teardown(columns_are_padded, fresh, done),
        cmocka_unit_test_setup_teardown(facts_are_escaped, fresh, done),
        cmocka_unit_test_setup_teardown(a_fact_without_room_is_left_out, fresh, done),
        cmocka_unit_test_setup_teardown(a_section_fills_the_buffer_and_no_more, fresh, done),
        cmocka_unit_test_setup_teardown(a_taken_descriptor_gets_nothing, fresh, done),
        cmocka_unit_test_setup_teardown(a_full_disk, fresh, done),
        cmocka_unit_test_setup_teardown(a_file_that_may_not_grow, fresh, done),
        cmocka_unit_test_setup_teardown(a_pipe_nobody_reads, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
