/* SPDX-License-Identifier: MIT
 * Temporary names and their removal: see sweep.h.
 *
 * Context: writer.
 */
#include "core/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/path.h"
#include "core/say.h"
#include "core/sys.h"

#define STALE_SECONDS 600
#define ENTRIES_MAX 100000 /* of a folder; what lies beyond is not looked at */

static const char prefix[] = ".mprofile-";
static const char suffix[] = ".tmp";
static const char hex[] = "0123456789abcdef";

/* As the kernel writes it (getdents64(2)). */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

int mp_sweep_temporary(const char *path, int pid, uint64_t uid, char *ret_path)
{
    size_t folder = folder_length(path);
    char digits[21];
    mp_say_number((uint64_t)pid, digits);
    if (folder + sizeof prefix + sizeof digits + 1 + 16 + sizeof suffix > MP_PATH_MAX) {
        return ENAMETOOLONG;
    }
    memcpy(ret_path, path, folder);
    char *to = ret_path + folder;
    memcpy(to, prefix, sizeof prefix - 1);
    to += sizeof prefix - 1;
    memcpy(to, digits, strlen(digits));
    to += strlen(digits);
    *to++ = '-';
    for (int shift = 60; shift >= 0; shift -= 4) {
        *to++ = hex[(uid >> shift) & 15];
    }
    memcpy(to, suffix, sizeof suffix);
    return 0;
}

/* The process that a temporary is of; 0: it is no temporary of ours. */
static int pid_of(const char *name)
{
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) {
        return 0;
    }
    int pid = 0;
    for (name += sizeof prefix - 1; *name >= '0' && *name <= '9' && pid < 100000000; name++) {
        pid = pid * 10 + (*name - '0');
    }
    return *name == '-' && strspn(name + 1, hex) == 16 && strcmp(name + 17, suffix) == 0 ? pid : 0;
}

static void look_at(int folder, const char *name, int self)
{
    int pid = pid_of(name);
    if (pid == 0 || pid == self || mp_sys_call(SYS_kill, pid, 0, 0, 0, 0, 0) != -ESRCH) {
        return;
    }
    struct stat file;
    if (mp_sys_call(SYS_newfstatat, folder, (long)name, (long)&file, AT_SYMLINK_NOFOLLOW, 0, 0) != 0 ||
        (uint64_t)file.st_mtime + STALE_SECONDS > mp_sys_realtime_ns() / 1000000000u) {
        return;
    }
    mp_sys_call(SYS_unlinkat, folder, (long)name, 0, 0, 0, 0);
}

void mp_sweep(const char *path, int self)
{
    static char folder[MP_PATH_MAX]; /* not on the stack: it may be a signal's */
    size_t length = folder_length(path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    int fd = mp_sys_open(length > 0 ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return;
    }
    static uint64_t buffer[512];
    int seen = 0;
    long got;
    while (seen < ENTRIES_MAX &&
           (got = mp_sys_call(SYS_getdents64, fd, (long)buffer, sizeof buffer, 0, 0, 0)) > 0) {
        for (long at = 0; at < got; seen++) {
            const struct entry *entry = (const struct entry *)((const char *)buffer + at);
            look_at(fd, entry->name, self);
            at += entry->length;
        }
    }
    mp_sys_close(fd);
}
