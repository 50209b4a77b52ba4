/* SPDX-License-Identifier: MIT
 * A CPython version as data: where the few fields we read lie in its structures.
 *
 * One library serves every CPython, so nothing here is decided by the preprocessor. Each supported
 * version and build kind has one constant table, printed by pyshim/layouts/generate.c (the only
 * file of the project that includes CPython's headers) and committed as pyshim/layouts/<name>.inc.
 * All numbers are bytes; an offset that a version does not have is MP_PY_NONE. The tables are those
 * of 64-bit little-endian machines. An interpreter built --with-trace-refs lays its objects out
 * otherwise: mp_py_validate_*() is there to refuse it.
 *
 * Invariants: a table is used only after mp_py_validate_*() has compared it with the process.
 * Context: constant data, any context.
 */
#ifndef MP_PYSHIM_LAYOUT_H
#define MP_PYSHIM_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#define MP_PY_NONE UINT16_MAX

/* How a code object maps instructions to lines. */
enum mp_py_lines {
    MP_PY_LINES_LNOTAB,    /* 3.8, 3.9: co_lnotab, pairs of byte and line deltas */
    MP_PY_LINES_LINETABLE, /* 3.10: co_linetable of PEP 626 */
    MP_PY_LINES_LOCATIONS, /* 3.11 and later: co_linetable with location entries */
};

/* Where the chain of frames begins. */
enum mp_py_chain {
    MP_PY_CHAIN_FRAME,  /* 3.8 to 3.10: tstate->frame, a PyFrameObject; links by f_back */
    MP_PY_CHAIN_CFRAME, /* 3.11, 3.12: tstate->cframe->current_frame */
    MP_PY_CHAIN_DIRECT, /* 3.13 and later: tstate->current_frame */
};

struct mp_py_layout {
    uint8_t minor;      /* of version 3 */
    bool free_threaded; /* built with --disable-gil */
    enum mp_py_chain chain;
    enum mp_py_lines lines;
    uint8_t code_tag_mask;   /* bits of frame.code that are not address: 0, or 3 from 3.14 */
    uint8_t owner_skip;      /* frames with this owner or above have no code; 255: none such */
    uint8_t owner_generator; /* a generator's frame: never "incomplete"; 255: no owner field */
    uint8_t instr_scale;     /* f_lasti counts this many bytes; 0 where instr is a pointer */

    struct {
        uint16_t frame;          /* ->frame, ->cframe or ->current_frame, by chain */
        uint16_t cframe_current; /* _PyCFrame.current_frame */
        uint16_t interp, thread_id, native_thread_id;
        uint16_t base_frame; /* pointer to a frame below all others that runs nothing, 3.15 and later */
    } tstate;
    struct {
        uint16_t previous;   /* f_back or previous */
        uint16_t code;       /* f_code or f_executable */
        uint16_t instr;      /* i32 f_lasti (3.8 to 3.10), or pointer prev_instr / instr_ptr */
        uint16_t owner;      /* char */
        uint16_t entry;      /* bool is_entry: the outermost frame of an evaluation loop, 3.11 */
        uint16_t tlbc_index; /* i32, free-threaded 3.14 and later */
    } frame;
    struct {
        uint16_t filename, name, qualname; /* PyObject *, str */
        uint16_t firstlineno;              /* int */
        uint16_t linetable;                /* PyObject *, bytes: co_lnotab or co_linetable */
        uint16_t bytecode;                 /* PyObject *, bytes: co_code, 3.8 to 3.10 */
        uint16_t firsttraceable;           /* int, in code units of two bytes, 3.11 and later */
        uint16_t code_adaptive;            /* instructions, inside the object, 3.11 and later */
        uint16_t size_field;               /* Py_SIZE: code units, 3.11 and later */
        uint16_t tlbc;                     /* _PyCodeArray *, free-threaded 3.14 and later */
    } code;
    struct {
        uint16_t size, entries; /* _PyCodeArray: Py_ssize_t; char *[] */
    } tlbc_array;
    struct {
        uint16_t type; /* ob_type */
    } object;
    struct {
        uint16_t size, data; /* ob_size, ob_sval */
    } bytes;
    struct {
        uint16_t length;                    /* Py_ssize_t */
        uint16_t state;                     /* u32 bit field */
        uint16_t ascii_data, compact_data;  /* sizeof PyASCIIObject, PyCompactUnicodeObject */
        uint8_t kind_shift, kind_mask;      /* kind: 1, 2 or 4 bytes a character */
        uint8_t compact_shift, ascii_shift; /* one bit each */
    } str;
    /* From 3.13 the process publishes its own offsets at _PyRuntime. Where in that table each is
     * found; NONE for all before 3.13. */
    struct {
        uint16_t version, free_threaded;
        uint16_t tstate_current_frame, tstate_interp, tstate_thread_id, tstate_native_thread_id;
        uint16_t tstate_base_frame;
        uint16_t frame_previous, frame_executable, frame_instr_ptr, frame_owner, frame_tlbc_index;
        uint16_t code_filename, code_name, code_qualname, code_linetable, code_firstlineno;
        uint16_t code_adaptive, code_tlbc;
        uint16_t object_type, bytes_size, bytes_data;
        uint16_t str_state, str_length, str_ascii_size, str_compact_size;
    } debug;
};

/* The table for 3.minor, or NULL where there is none. */
const struct mp_py_layout *mp_py_layout_find(int minor, bool free_threaded);

#endif
