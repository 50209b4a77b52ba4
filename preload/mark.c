/* SPDX-License-Identifier: MIT
 * The mark of a process that listens: see mark.h.
 *
 * Context: attach.
 */
#include "preload/mark.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "core/base.h"
#include "core/say.h"
#include "core/sys.h"

#define NAME_LIMIT 249 /* memfd_create's */
#define PAGE 4096
#define CLOSE_ON_EXEC 1u
#define NO_EXEC 8u /* Linux 6.3 and later: asked for, else the kernel log has a line */

static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7F) {
            return false;
        }
    }
    return true;
}

void mp_mark_listening(int signal, const char *pattern)
{
    char name[NAME_LIMIT + 1] = "mprofile.";
    char digits[21];
    mp_say_number((uint64_t)signal, digits);
    size_t used = strlen(name), length = strlen(pattern);
    memcpy(name + used, digits, strlen(digits) + 1);
    used += strlen(digits);
    if (used + 1 + length <= NAME_LIMIT && is_plain(pattern)) {
        name[used] = '.';
        memcpy(name + used + 1, pattern, length + 1);
    }
    long fd = mp_sys_call(SYS_memfd_create, (long)name, CLOSE_ON_EXEC | NO_EXEC, 0, 0, 0, 0);
    if (fd < 0) {
        fd = mp_sys_call(SYS_memfd_create, (long)name, CLOSE_ON_EXEC, 0, 0, 0, 0);
    }
    if (fd >= 0) {
        mp_sys_call(SYS_mmap, 0, PAGE, PROT_NONE, MAP_PRIVATE, fd, 0);
        mp_sys_close((int)fd);
    }
}
