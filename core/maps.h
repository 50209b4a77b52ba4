/* SPDX-License-Identifier: MIT
 * The mappings of this process, one after another, as /proc/self/maps tells them.
 *
 * Context: writer; hook, one thread at a time with the same struct. The process runs on meanwhile: a mapping may have gone when it is told.
 */
#ifndef MP_CORE_MAPS_H
#define MP_CORE_MAPS_H

#include "core/base.h"

/* More than that of the text is not read: some 150,000 mappings. */
#define MP_MAPS_BYTES (16u << 20)

struct mp_mapping {
    uint64_t start, end;
    uint64_t offset; /* in its file */
    bool open;    /* may be read or written */
    bool private; /* what is written stays with this process */
    bool file;    /* of a file, with a path */
    bool named;   /* has any name at all: [heap], [stack], a path */
};

struct mp_maps {
    int fd;
    uint32_t at, size;
    uint64_t seen;
    char text[4 * 1024];
    /* Where the name goes, terminated, cut where it is too long; NULL: nobody wants it. */
    char *name;
    uint32_t name_size;
};

/* Names are not kept unless `name` is set after this. False where the mappings are not told; then the others need not be called. */
bool mp_maps_open(struct mp_maps *maps);
/* False at the end. */
bool mp_maps_next(struct mp_maps *maps, struct mp_mapping *ret);
void mp_maps_close(struct mp_maps *maps);
/* The one that has the address, and its name, cut where it is too long. False: none has it, or they are not told. */
bool mp_maps_find(struct mp_maps *maps, uint64_t address, struct mp_mapping *ret, char *ret_name, uint32_t name_size);

#endif
