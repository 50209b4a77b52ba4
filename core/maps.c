/* SPDX-License-Identifier: MIT
 * The mappings of this process: see maps.h. A line is
 *
 *     start-end perm offset device inode      name
 *
 * Context: writer, hook.
 */
#include "core/maps.h"

#include <fcntl.h>

#include "core/sys.h"

bool mp_maps_open(struct mp_maps *maps)
{
    maps->fd = mp_sys_open("/proc/self/maps", O_RDONLY, 0);
    maps->at = maps->size = 0;
    maps->seen = 0;
    maps->name = NULL;
    return maps->fd >= 0;
}

void mp_maps_close(struct mp_maps *maps)
{
    mp_sys_close(maps->fd);
}

/* The next character; 0 at the end. */
static char next(struct mp_maps *maps)
{
    if (maps->at == maps->size) {
        long got = maps->seen < MP_MAPS_BYTES ? mp_sys_read(maps->fd, maps->text, sizeof maps->text) : 0;
        if (got <= 0) {
            return '\0';
        }
        maps->seen += (uint64_t)got;
        maps->size = (uint32_t)got;
        maps->at = 0;
    }
    return maps->text[maps->at++];
}

/* A hexadecimal number; what ends it is passed over. */
static uint64_t number(struct mp_maps *maps, char *ret_end)
{
    uint64_t value = 0;
    char c;
    while (((c = next(maps)) >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_end = c;
    return value;
}

bool mp_maps_next(struct mp_maps *maps, struct mp_mapping *ret)
{
    char c;
    *ret = (struct mp_mapping){.start = number(maps, &c)};
    if (c != '-') {
        return false;
    }
    ret->end = number(maps, &c);
    for (int i = 0; i < 4; i++) {
        c = next(maps);
        ret->open |= c == 'r' || c == 'w';
        ret->private |= c == 'p';
    }
    next(maps);
    ret->offset = number(maps, &c);
    uint32_t length = 0;
    bool blank = true;
    for (int field = 0; (c = next(maps)) != '\n'; blank = c == ' ') { /* 1 device, 2 inode, 3 name, which may have blanks */
        if (c == '\0') {
            return false;
        }
        if (c != ' ' && blank && ++field == 3) {
            ret->named = true;
            ret->file = c == '/';
        }
        if (ret->named && maps->name != NULL && length + 1 < maps->name_size) {
            maps->name[length++] = c;
        }
    }
    if (maps->name != NULL) {
        maps->name[length] = '\0';
    }
    return true;
}

bool mp_maps_find(struct mp_maps *maps, uint64_t address, struct mp_mapping *ret, char *ret_name, uint32_t name_size)
{
    if (!mp_maps_open(maps)) {
        return false;
    }
    maps->name = ret_name;
    maps->name_size = name_size;
    bool found = false;
    while (!found && mp_maps_next(maps, ret)) {
        found = address >= ret->start && address < ret->end;
    }
    mp_maps_close(maps);
    return found;
}
