/* SPDX-License-Identifier: MIT
 * What mmap.c tells of the mappings that are not counted because what lies in them is.
 *
 * Context: writer.
 */
#ifndef MP_PRELOAD_MMAP_H
#define MP_PRELOAD_MMAP_H

#include <stdint.h>

/* Bytes resident in the regions of the allocator that serves Python's objects, where it is mimalloc; else 0. */
uint64_t mp_mmap_regions_resident(void);

#endif
