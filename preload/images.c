/* SPDX-License-Identifier: MIT
 * What has been written of private mappings of files: see images.h.
 *
 * What begins as zeroes is a mapping without a name right behind its file's, that the kernel may have joined with whatever lies above
 * it. How far it goes is in the program headers, at the beginning of the file's first mapping.
 *
 * Context: writer, one at a time. Memory is read as any may be that goes meanwhile: by the kernel.
 */
#include "preload/images.h"

#include <elf.h>
#include <string.h>

#include "core/maps.h"
#include "core/sys.h"

#define PAGE ((uint64_t)4096)
#define HEADERS_MAX 32u

static struct mp_maps maps;

/* Where the image ends whose file is mapped here from its beginning; 0 where it is none. */
static uint64_t end_of_image(uint64_t start)
{
    Elf64_Ehdr head;
    Elf64_Phdr headers[HEADERS_MAX];
    if (mp_sys_peek((const void *)(uintptr_t)start, &head, sizeof head) != 0 || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_phentsize != sizeof headers[0]) {
        return 0;
    }
    uint32_t count = head.e_phnum < HEADERS_MAX ? head.e_phnum : HEADERS_MAX;
    if (mp_sys_peek((const void *)(uintptr_t)(start + head.e_phoff), headers, count * sizeof headers[0]) != 0) {
        return 0;
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (headers[i].p_type == PT_LOAD) {
            uint64_t end = headers[i].p_vaddr + headers[i].p_memsz;
            low = headers[i].p_vaddr < low ? headers[i].p_vaddr : low;
            high = end > high ? end : high;
        }
    }
    return high > low ? start + ((high - (low & ~(PAGE - 1)) + PAGE - 1) & ~(PAGE - 1)) : 0;
}

static void add(struct mp_resident *sum, uint64_t low, uint64_t high)
{
    struct mp_resident pages;
    if (low < high && mp_resident_ask(low, high, &pages)) {
        sum->own += pages.own;
        sum->copied += pages.copied;
    }
}

bool mp_images_written(struct mp_resident *ret)
{
    *ret = (struct mp_resident){0};
    if (!mp_maps_open(&maps)) {
        return false;
    }
    bool known = mp_resident_begin();
    struct mp_mapping now;
    uint64_t end_of_file = 0, end = 0;
    while (known && mp_maps_next(&maps, &now)) {
        if (now.file && now.private) {
            end = now.offset == 0 && now.open ? end_of_image(now.start) : end;
            add(ret, now.start, now.end);
            end_of_file = now.end;
        } else if (!now.named && now.private && now.start == end_of_file) {
            add(ret, now.start, now.end < end ? now.end : end);
        }
    }
    if (known) {
        mp_resident_end();
    }
    mp_maps_close(&maps);
    return known;
}
