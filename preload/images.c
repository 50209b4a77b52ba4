/* SPDX-License-Identifier: MIT
 * What has been written of private mappings of files: see images.h.
 *
 * What begins as zeroes is a mapping without a name right behind its file's. The kernel may have joined a program's own mapping
 * to it, so a large one is left out.
 *
 * Context: writer, one at a time.
 */
#include "preload/images.h"

#include "core/maps.h"

#define ZEROED_MAX ((uint64_t)16 << 20)

static struct mp_maps maps;

bool mp_images_written(struct mp_resident *ret)
{
    *ret = (struct mp_resident){0};
    if (!mp_maps_open(&maps)) {
        return false;
    }
    bool known = mp_resident_begin();
    struct mp_mapping now;
    uint64_t end_of_file = 0;
    while (known && mp_maps_next(&maps, &now)) {
        bool file = now.file && now.private;
        bool zeroed = !now.named && now.private && now.start == end_of_file && now.end - now.start <= ZEROED_MAX;
        struct mp_resident pages;
        if ((file || zeroed) && mp_resident_ask(now.start, now.end, &pages)) {
            ret->own += pages.own;
            ret->copied += pages.copied;
        }
        end_of_file = file ? now.end : 0;
    }
    if (known) {
        mp_resident_end();
    }
    mp_maps_close(&maps);
    return known;
}
