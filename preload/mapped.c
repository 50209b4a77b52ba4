/* SPDX-License-Identifier: MIT
 * The file that is mapped at an address: see mapped.h.
 *
 * A line is `start-end permissions offset device inode      path`.
 *
 * Context: hook, one thread at a time.
 */
#include "preload/mapped.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "core/path.h"
#include "core/sys.h"

#define MAPS_MAX (16u << 20)

enum { START, END, PERMISSIONS, OFFSET, DEVICE, INODE, PATH };

struct line {
    uintptr_t start, end;
    uint32_t field, length; /* length: of the path */
};

static char buffer[4096], path[MP_PATH_MAX];

static uintptr_t with_digit(uintptr_t number, char digit)
{
    return number << 4 | (uintptr_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* True once a line is whole. */
static bool parse(struct line *line, char c)
{
    if (c == '\n') {
        path[line->length] = '\0';
        return true;
    }
    if (line->field == START) {
        if (c == '-') {
            line->field = END;
        } else {
            line->start = with_digit(line->start, c);
        }
    } else if (line->field == PATH) {
        if ((c != ' ' || line->length > 0) && line->length + 1 < sizeof path) {
            path[line->length++] = c;
        }
    } else if (c == ' ') {
        line->field++;
    } else if (line->field == END) {
        line->end = with_digit(line->end, c);
    }
    return false;
}

static const char *found(uint32_t length)
{
    static const char gone[] = " (deleted)";
    const size_t size = sizeof gone - 1;
    if (length > size && memcmp(path + length - size, gone, size) == 0) {
        path[length - size] = '\0';
    }
    return path[0] == '/' && length + 1 < sizeof path ? path : NULL;
}

const char *mp_mapped_file(uintptr_t address)
{
    int fd = mp_sys_open("/proc/self/maps", O_RDONLY, 0);
    if (fd < 0) {
        return NULL;
    }
    struct line line = {0, 0, START, 0};
    const char *result = NULL;
    bool done = false;
    long got;
    for (uint32_t seen = 0; !done && seen < MAPS_MAX && (got = mp_sys_read(fd, buffer, sizeof buffer)) > 0;
         seen += (uint32_t)got) {
        for (long i = 0; i < got && !done; i++) {
            if (!parse(&line, buffer[i])) {
                continue;
            }
            if (address >= line.start && address < line.end) {
                result = found(line.length);
                done = true;
            }
            line = (struct line){0, 0, START, 0};
        }
    }
    mp_sys_close(fd);
    return result;
}
