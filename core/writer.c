/* SPDX-License-Identifier: MIT
 * The snapshot file's life: its name, its sections in order, its end. See writer.h; the tables are
 * written by sections.c.
 *
 * Context: writer.
 */
#include "core/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "core/out.h"
#include "core/path.h"
#include "core/profile.h"
#include "core/say.h"
#include "core/sections.h"
#include "core/sweep.h"
#include "core/sys.h"

#define FACTS_MAX 32
#define KEEP_MAX 1024
#define NUMBER_TRIES 100000

static const struct mp_writer_options *options;
static struct {
    const char *key, *value;
} facts[FACTS_MAX];
static uint32_t fact_count;

/* The writer's own, one at a time. */
static struct mp_out out;
static struct utsname uts;
static char final_path[MP_PATH_MAX], temporary_path[MP_PATH_MAX], old_path[MP_PATH_MAX];
static char last_path[MP_PATH_MAX];
static uint64_t last_number;
static struct {
    uint64_t number, time_s;
    uint64_t device, inode; /* the file that we wrote: by now its name may be another's */
} kept[KEEP_MAX]; /* a ring of the snapshots that MPROFILEKEEP lets stay */
static uint64_t kept_count;
static bool swept;

void mp_writer_init(const struct mp_writer_options *writer_options)
{
    options = writer_options;
}

int mp_writer_fact(const char *key, const char *value)
{
    uint32_t i = 0;
    while (i < fact_count && strcmp(facts[i].key, key) != 0) {
        i++;
    }
    if (i == FACTS_MAX) {
        return MP_ERR_FULL;
    }
    facts[i].key = key;
    facts[i].value = value;
    fact_count = i == fact_count ? i + 1 : fact_count;
    return MP_OK;
}

const char *mp_writer_last_path(void)
{
    return last_path;
}

void mp_writer_forked(void)
{
    last_number = 0;
    kept_count = 0;
    last_path[0] = '\0';
}

static int expand(const char *pattern, uint64_t number, uint64_t time_s, char *ret_path)
{
    struct mp_path_values values = {.pid = (uint64_t)mp_sys_getpid(),
                                    .number = number,
                                    .time_s = time_s,
                                    .host = uts.nodename};
    return mp_path_expand(pattern, &values, ret_path) == MP_OK ? 0 : ENAMETOOLONG;
}

static bool stat_path(const char *path, struct stat *ret_file)
{
    return mp_sys_call(SYS_newfstatat, AT_FDCWD, (long)path, (long)ret_file, AT_SYMLINK_NOFOLLOW, 0, 0) == 0;
}

static bool exists(const char *path)
{
    struct stat unused;
    return stat_path(path, &unused);
}

/* The first free number above `after`: 0 and *ret_number, with final_path set. */
static int choose_name(const char *pattern, uint64_t after, uint64_t time_s, uint64_t *ret_number)
{
    for (uint64_t number = after + 1; number < after + NUMBER_TRIES; number++) {
        int error = expand(pattern, number, time_s, final_path);
        if (error != 0) {
            return error;
        }
        if (!exists(final_path)) {
            *ret_number = number;
            return 0;
        }
    }
    return EEXIST;
}

/* Opens the temporary: 0 and *ret_fd, or positive errno. */
static int open_temporary(int *ret_fd)
{
    uint64_t uid = mp_profile.lineage[mp_profile.generation].uid;
    int error = mp_sweep_temporary(final_path, mp_sys_getpid(), uid, temporary_path);
    if (error != 0) {
        return error;
    }
    if (!swept) {
        mp_sweep(temporary_path, mp_sys_getpid());
        swept = true;
    }
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    int fd = mp_sys_open(temporary_path, flags, 0600);
    if (fd == -EEXIST) { /* of a writer of ours that was killed: writers do not overlap */
        mp_sys_unlink(temporary_path);
        fd = mp_sys_open(temporary_path, flags, 0600);
    }
    if (fd < 0) {
        return -fd;
    }
    struct stat named, opened;
    if (!stat_path(temporary_path, &named) || mp_sys_call(SYS_fstat, fd, (long)&opened, 0, 0, 0, 0) != 0 ||
        named.st_dev != opened.st_dev || named.st_ino != opened.st_ino) {
        mp_sys_unlink(temporary_path);
        return EBADF; /* the program was quicker: the descriptor is its own */
    }
    mp_sys_call(SYS_fchmod, fd, 0600, 0, 0, 0, 0); /* whatever the umask */
    *ret_fd = fd;
    return 0;
}

static void write_facts(enum mp_trigger trigger, uint64_t number, uint64_t now_ns, uint64_t began_ms)
{
    static const char *const names[] = {"signal", "exit", "interval", "api"};
    mp_out_begin(&out, "HEAD", 0);
    mp_out_fact_text(&out, "mprofile", MP_VERSION);
    mp_out_fact_text(&out, "trigger", names[trigger]);
    mp_out_fact_number(&out, "number", number);
    mp_out_fact_text(&out, "host", uts.nodename);
    mp_out_fact_text(&out, "machine", uts.machine);
    for (uint32_t i = 0; i < fact_count; i++) {
        mp_out_fact_text(&out, facts[i].key, facts[i].value);
    }
    mp_sections_head(&out, options->argv, now_ns, began_ms);
    mp_out_end(&out);
}

/* MPROFILEKEEP: the oldest goes when one more than `keep` is there. */
static void drop_oldest(uint64_t number, uint64_t time_s)
{
    uint32_t keep = options->keep < KEEP_MAX ? options->keep : KEEP_MAX;
    if (keep == 0) {
        return;
    }
    uint64_t slot = kept_count++ % keep;
    struct stat file;
    if (kept_count > keep && expand(options->pattern, kept[slot].number, kept[slot].time_s, old_path) == 0 &&
        stat_path(old_path, &file) && file.st_dev == kept[slot].device && file.st_ino == kept[slot].inode) {
        mp_sys_unlink(old_path);
    }
    kept[slot].device = out.file_id[0];
    kept[slot].inode = out.file_id[1];
    kept[slot].number = number;
    kept[slot].time_s = time_s;
}

/* Gives the file its final name; a name taken meanwhile by another process costs a number. */
static int publish(const char *pattern, uint64_t time_s, uint64_t *number)
{
    for (int tries = 0; tries < 100; tries++) {
        int result = mp_sys_rename_new(temporary_path, final_path);
        if (result != -EEXIST) {
            return -result;
        }
        int error = choose_name(pattern, *number, time_s, number);
        if (error != 0) {
            return error;
        }
    }
    return EEXIST;
}

static int write_tables(int fd, enum mp_trigger trigger, uint64_t number, uint64_t now_ns, uint64_t began_ms)
{
    mp_out_start(&out, fd);
    write_facts(trigger, number, now_ns, began_ms);
    mp_sections_tables(&out, options->types);
    return mp_out_finish(&out);
}

/* 0, or positive errno. The name is in final_path, the number in *number, which was the last one used. */
static int write_file(const char *pattern, enum mp_trigger trigger, uint64_t now_ns, uint64_t *number)
{
    uint64_t began_ms = mp_sys_monotonic_ms();
    uint64_t time_s = now_ns / 1000000000u;
    int fd = -1;
    int error = choose_name(pattern, *number, time_s, number);
    if (error == 0) {
        error = open_temporary(&fd);
    }
    if (error != 0) {
        return error;
    }
    error = write_tables(fd, trigger, *number, now_ns, began_ms);
    if (error != EBADF) { /* else the descriptor is the program's by now */
        int closed = mp_sys_close(fd);
        error = error != 0 ? error : -closed;
    }
    if (error == 0) {
        error = publish(pattern, time_s, number);
    }
    if (error != 0) {
        mp_sys_unlink(temporary_path);
    }
    return error;
}

static void prepare(void)
{
    mp_sys_call(SYS_uname, (long)&uts, 0, 0, 0, 0, 0);
    if (options->before != NULL) {
        options->before();
    }
}

int mp_writer_write_as(const char *pattern, enum mp_trigger trigger, char *ret_path)
{
    uint64_t number = 0;
    prepare();
    int error = write_file(pattern, trigger, mp_sys_realtime_ns(), &number);
    if (error == 0) {
        memcpy(ret_path, final_path, sizeof final_path);
    }
    return error;
}

int mp_writer_write_to(int fd, enum mp_trigger trigger)
{
    prepare();
    return write_tables(fd, trigger, 0, mp_sys_realtime_ns(), mp_sys_monotonic_ms());
}

int mp_writer_write(enum mp_trigger trigger)
{
    uint64_t number = last_number, now_ns = mp_sys_realtime_ns();
    prepare();
    int error = write_file(options->pattern, trigger, now_ns, &number);
    if (error != 0) {
        char text[32];
        mp_profile_count(MP_LOST_SNAPSHOTS);
        mp_say("cannot write a snapshot: ", mp_say_error(error, text), ": ", final_path, NULL);
        return error;
    }
    last_number = number;
    memcpy(last_path, final_path, sizeof last_path);
    drop_oldest(number, now_ns / 1000000000u);
    if (options->verbose) {
        mp_say("wrote ", last_path, NULL);
    }
    return 0;
}
