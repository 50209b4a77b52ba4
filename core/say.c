/* SPDX-License-Identifier: MIT
 * One line on standard error: see say.h.
 *
 * Context: attach, writer, signal handler. No libc: the writer's thread has none.
 */
#include "core/say.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/sys.h"

static struct stat at_start;
static bool known;

static int stat_stderr(struct stat *ret_stat)
{
    return (int)mp_sys_call(SYS_fstat, 2, (long)ret_stat, 0, 0, 0, 0);
}

void mp_say_init(void)
{
    known = stat_stderr(&at_start) == 0;
}

void mp_say(const char *first, ...)
{
    struct stat now;
    if (!known || stat_stderr(&now) != 0 || now.st_dev != at_start.st_dev ||
        now.st_ino != at_start.st_ino || now.st_rdev != at_start.st_rdev) {
        return;
    }
    char line[1024] = "mprofile: ";
    size_t used = 10;
    va_list texts;
    va_start(texts, first);
    for (const char *text = first; text != NULL; text = va_arg(texts, const char *)) {
        for (; *text != '\0' && used < sizeof line - 1; text++) {
            unsigned char c = (unsigned char)*text;
            line[used++] = c < 0x20 || c == 0x7F ? '?' : *text;
        }
    }
    va_end(texts);
    line[used++] = '\n';
    mp_sys_write(2, line, used);
}

const char *mp_say_number(uint64_t number, char *buffer)
{
    char digits[21];
    int used = 0;
    do {
        digits[used++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (int i = 0; i < used; i++) {
        buffer[i] = digits[used - 1 - i];
    }
    buffer[used] = '\0';
    return buffer;
}

const char *mp_say_error(int error, char *buffer)
{
    switch (error) {
    case EPERM: return "Operation not permitted";
    case ENOENT: return "No such file or directory";
    case EIO: return "Input/output error";
    case EACCES: return "Permission denied";
    case EEXIST: return "File exists";
    case ENOTDIR: return "Not a directory";
    case EISDIR: return "Is a directory";
    case EMFILE: return "Too many open files";
    case EFBIG: return "File too large";
    case ENOSPC: return "No space left on device";
    case EROFS: return "Read-only file system";
    case ENAMETOOLONG: return "File name too long";
    case ELOOP: return "Too many levels of symbolic links";
    case EDQUOT: return "Disk quota exceeded";
    case EBADF: return "The descriptor was taken by the program";
    default: break;
    }
    char number[21];
    mp_say_number((uint64_t)error, number);
    const char *word = "error ";
    int used = 0;
    for (; word[used] != '\0'; used++) {
        buffer[used] = word[used];
    }
    for (int i = 0; i == 0 || number[i - 1] != '\0'; i++) {
        buffer[used + i] = number[i];
    }
    return buffer;
}
