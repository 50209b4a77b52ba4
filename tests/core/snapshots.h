/* SPDX-License-Identifier: MIT
 * A folder for the snapshots of one test, and a writer that remembers no earlier ones.
 *
 * writer.c is included: a process has one writer, a test wants another.
 */
#ifndef MP_TESTS_CORE_SNAPSHOTS_H
#define MP_TESTS_CORE_SNAPSHOTS_H

#include "fresh.h"

#include <dirent.h>

#include "decode.h"

#include "core/writer.c"

static char folder[] = "/tmp/mprofile-test-writer.XXXXXX";
static char pattern[300];
static struct mp_writer_options settings;

static inline void use(const char *name)
{
    snprintf(pattern, sizeof pattern, "%s/%s", folder, name);
}

static inline int fresh(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL || fresh_profile(1, 128) != MP_OK) {
        return -1;
    }
    use("x.%n.bin");
    settings = (struct mp_writer_options){.pattern = pattern};
    mp_writer_init(&settings);
    mp_writer_forked();
    fact_count = 0;
    swept = false;
    fresh_alloc(0x1000, 100);
    return 0;
}

static inline int done(void **state)
{
    (void)state;
    char path[600];
    DIR *list = opendir(folder);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0) {
            rmdir(path);
        }
    }
    closedir(list);
    fresh_release();
    return rmdir(folder);
}

static inline const char *in_folder(const char *name)
{
    static char paths[4][300];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline uint32_t files_in_folder(void)
{
    uint32_t count = 0;
    DIR *list = opendir(folder);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(list);
    return count;
}

static inline const char *temporary(void)
{
    static char path[MP_PATH_MAX];
    uint64_t uid = mp_profile.lineage[mp_profile.generation].uid;
    assert_int_equal(mp_sweep_temporary(pattern, getpid(), uid, path), 0);
    return path;
}

static inline void put_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline void expect_text(const char *path, const char *want)
{
    char text[100] = "";
    assert_true(mp_sys_slurp(path, text, sizeof text - 1) >= 0);
    assert_string_equal(text, want);
}

/* The file is whole and says this number. */
static inline void expect_snapshot(const char *path, const char *number)
{
    struct decoded d = decode_file(path);
    assert_string_equal(decode_fact(&d, "number"), number);
    assert_int_equal(d.live_count, mp_profile.live.index.rows);
    decode_free(&d);
}

static inline void write_one(const char *name, const char *number)
{
    assert_int_equal(mp_writer_write(MP_TRIGGER_API), 0);
    assert_string_equal(mp_writer_last_path(), in_folder(name));
    expect_snapshot(mp_writer_last_path(), number);
    assert_int_equal(access(temporary(), F_OK), -1);
}

#endif
