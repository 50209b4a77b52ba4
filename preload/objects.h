/* SPDX-License-Identifier: MIT
 * The loaded objects: where each lies, what it is, its tables for unwinding, its dynamic symbols.
 *
 * The loader is asked with dl_iterate_phdr, which takes a lock of the loader's. Our own lock is only ever taken inside it or
 * without it, and nothing waits for the loader while it holds a lock of ours, so a thread that allocates while it
 * holds the loader's lock cannot meet one that samples the other way round.
 *
 * What is read of an object's memory (its tables, its symbols) is read for an address on the calling thread's stack, so the
 * object cannot be unloaded meanwhile.
 *
 * Invariants: numbers of rows are those of core/modules.h; an object loaded at the place of another has another row.
 * Context: hook.
 */
#ifndef MP_PRELOAD_OBJECTS_H
#define MP_PRELOAD_OBJECTS_H

#include "core/base.h"

struct mp_object {
    uintptr_t start, end, bias;
    uintptr_t segment_start, segment_end; /* the segment that the tables below lie in */
    uintptr_t table;                      /* of .eh_frame_hdr: pairs of i32, relative to header; 0: none */
    uintptr_t header;
    uint32_t table_count;
    bool live;      /* loaded, as of the last refresh */
    uint32_t pass;  /* the last refresh that found it */
    uintptr_t dynamic;
    uint64_t identity;
    /* Made when the first symbol is asked for: numbers of functions in the order of their addresses. */
    bool symbols_known;
    uint32_t symbol_count;
    const uint32_t *symbols;
    const void *symbol_table;
    const char *names;
};

/* Sees whether the loader has loaded or unloaded anything, and looks at it. Holds no lock when it asks the loader. */
void mp_objects_refresh(void);
/* The row of the object that the address lies in; 0: none that is known. */
uint32_t mp_objects_find(uintptr_t address);
const struct mp_object *mp_object_get(uint32_t row);
/* The function of the object that covers the address: number of a dynamic symbol, 0: none. *ret_start: where it begins. */
uint32_t mp_object_symbol(uint32_t row, uintptr_t address, uintptr_t *ret_start);
const char *mp_object_symbol_name(uint32_t row, uint32_t symbol);
/* The piece of code around the address that has unwind information of its own. */
bool mp_object_piece(const struct mp_object *object, uintptr_t address, uintptr_t *ret_start, uintptr_t *ret_end);
/* In a forked child. */
void mp_objects_forked(void);

#endif
