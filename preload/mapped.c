/* SPDX-License-Identifier: MIT
 * The file that is mapped at an address: see mapped.h.
 *
 * Context: hook, one thread at a time.
 */
#include "preload/mapped.h"

#include <string.h>

#include "core/maps.h"
#include "core/path.h"

static struct mp_maps maps;
static char path[MP_PATH_MAX];

/* Without what the kernel says of a file that is gone; NULL where it may have been cut. */
static const char *whole_path(void)
{
    static const char gone[] = " (deleted)";
    size_t length = strlen(path);
    if (length + 1 == sizeof path) {
        return NULL;
    }
    if (length >= sizeof gone && strcmp(path + length - (sizeof gone - 1), gone) == 0) {
        path[length - (sizeof gone - 1)] = '\0';
    }
    return path;
}

const char *mp_mapped_file(uintptr_t address)
{
    struct mp_mapping now;
    return mp_maps_find(&maps, address, &now, path, sizeof path) && now.file ? whole_path() : NULL;
}
