/* SPDX-License-Identifier: MIT
 * The loaded objects that native frames lie in, as they are written into a snapshot; and a native frame.
 *
 * Who finds them is the loader's business (preload/objects.c): here they are data. An object has one row for
 * each place it was ever loaded at; rows are not removed when it is unloaded, because stacks name it.
 *
 * Invariants: row 0 stands for "none"; a row does not change.
 * Context: hook, under the profile's lock (mp_module_count and _get: anywhere, for rows already handed out).
 */
#ifndef MP_CORE_MODULES_H
#define MP_CORE_MODULES_H

#include "core/vec.h"

/* A function with this first line is native: its file is a module's path, and the lines of its frames are addresses. */
#define MP_FIRSTLINE_NATIVE UINT32_MAX

struct mp_module {
    uint32_t path, build_id; /* strings; the build id in hexadecimal */
    uint64_t start, end;     /* addresses in this process */
    uint64_t bias;           /* address in this process minus the address the linker gave */
};

/* A native frame, in the room of MP_FRAME_SIZE bytes that a stack has for each. */
struct mp_native_frame {
    uint32_t address; /* the linker's, of the call */
    uint32_t module;  /* row; 0: in none */
    uint32_t symbol;  /* of the module's dynamic symbols; 0: none covers it */
    uint32_t tag;     /* MP_NATIVE and flags */
};

enum {
    MP_NATIVE_EVAL = 1,     /* in the interpreter's evaluation loop */
    MP_NATIVE_PLUMBING = 2, /* a function that does nothing but call the evaluation loop */
    MP_NATIVE_CALLER = 4,   /* of the interpreter's, or of the allocator's: may lie between two hooks */
    MP_NATIVE_SELF = 8,     /* of the profiler's own */
};
#define MP_NATIVE 0x80000000u /* no other source of frames sets this bit of the last four bytes */

/* Appends a row: its number, or a negative enum mp_err. path and build_id: texts. */
int64_t mp_module_add(const char *path, const char *build_id, uint64_t start, uint64_t end, uint64_t bias);
/* Rows, row 0 included; 0 where there never was one. */
uint32_t mp_module_count(void);
const struct mp_module *mp_module_get(uint32_t row);
/* The node of a native frame under its caller's, or a negative enum mp_err. name: its symbol's, or "". */
int64_t mp_module_node(uint32_t parent, const struct mp_native_frame *frame, const char *name);

#endif
