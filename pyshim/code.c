/* SPDX-License-Identifier: MIT
 * Frames to nodes, by content: see code.h.
 *
 * Invariants:
 * - The key of a line_entry or a node_entry has the serial of a code_entry that was filled once and never changed; serials come back after 2^32
 *   only, so a line of a code object that is gone is not found.
 * - A code_entry's address is the one field that is written without the lock, and only to NULL, at any moment: it is compared, and not used. All else
 *   in an entry that was found stays as it is while the lock is held.
 * - Nodes and functions are never taken back, so their numbers may be kept.
 * Context: hook, under the profile's lock.
 */
#include "pyshim/code.h"

#include "core/profile.h"
#include "core/sys.h"
#include "pyshim/interp.h"
#include "pyshim/layout_read.h"
#include "pyshim/walk.h"

#define CODE_ENTRIES 2048u
#define WAYS 4u /* two code objects of one place would push each other out, with their lines, at each sample */
#define LINE_ENTRIES 8192u
#define NODE_ENTRIES 8192u

struct code_entry {
    const char *code; /* atomic */
    const char *file; /* the one thing in a code object that CPython changes, when a module is imported from elsewhere */
    uint32_t function;
    uint32_t serial; /* 0: empty */
};

struct line_entry {
    uint32_t serial, instr, line;
};

struct node_entry {
    uint32_t serial, instr, parent, node;
};

static struct code_entry *codes;
static struct line_entry *lines;
static struct node_entry *nodes;
static uint32_t last_serial;
static char text[MP_STRING_MAX]; /* guarded by the profile's lock */

int mp_py_code_init(void)
{
    codes = mp_sys_map(CODE_ENTRIES * sizeof *codes);
    lines = mp_sys_map(LINE_ENTRIES * sizeof *lines);
    nodes = mp_sys_map(NODE_ENTRIES * sizeof *nodes);
    return codes == NULL || lines == NULL || nodes == NULL ? MP_ERR_MEMORY : MP_OK;
}

static const char *code_name(const char *code)
{
    uint16_t qualname = mp_py.layout->code.qualname;
    return mp_py_read_ptr(code, qualname != MP_PY_NONE ? qualname : mp_py.layout->code.name);
}

static const char *code_file(const char *code)
{
    return mp_py_read_ptr(code, mp_py.layout->code.filename);
}

static int64_t intern_str(const char *str)
{
    int length = mp_py_str_utf8_nopy(mp_py.layout, mp_py.str_type, str, text, sizeof text);
    if (length < 0) {
        return mp_strtab_intern(&mp_profile.strings, "?", 1);
    }
    if (length > MP_STRING_MAX - 4) {
        mp_profile_count(MP_NOTE_NAMES_CUT);
    }
    return mp_strtab_intern(&mp_profile.strings, text, (uint32_t)length);
}

static int64_t function_of(const char *code)
{
    int64_t name = intern_str(code_name(code));
    int64_t file = name < 0 ? name : intern_str(code_file(code));
    if (file < 0) {
        return file;
    }
    int32_t firstline = mp_py_read_i32(code, mp_py.layout->code.firstlineno);
    return mp_tree_function(&mp_profile.tree, (uint32_t)name, (uint32_t)file,
                            firstline < 0 ? 0 : (uint32_t)firstline);
}

/* The nth place of WAYS where the entry of this code object may be. */
static struct code_entry *entry_at(const char *code, uint32_t way)
{
    return &codes[(mp_hash_u64((uintptr_t)code) & (CODE_ENTRIES - 1)) ^ way];
}

void mp_py_code_forget(const void *code)
{
    for (uint32_t way = 0; way < WAYS; way++) {
        struct code_entry *entry = entry_at(code, way);
        const char *expected = code;
        if (__atomic_load_n(&entry->code, __ATOMIC_RELAXED) == expected) {
            __atomic_compare_exchange_n(&entry->code, &expected, NULL, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        }
    }
}

void mp_py_code_forget_all(void)
{
    for (uint32_t i = 0; i < CODE_ENTRIES; i++) {
        __atomic_store_n(&codes[i].code, NULL, __ATOMIC_RELAXED);
    }
}

/* Where the entry of this code object goes: where one out of date is, else where none is, else anywhere. */
static struct code_entry *entry_to_fill(const char *code)
{
    struct code_entry *place = entry_at(code, last_serial % WAYS);
    for (uint32_t way = WAYS; way-- > 0;) {
        struct code_entry *entry = entry_at(code, way);
        const char *there = __atomic_load_n(&entry->code, __ATOMIC_RELAXED);
        if (there == code) {
            return entry;
        }
        if (there == NULL) {
            place = entry;
        }
    }
    return place;
}

static const struct code_entry *fill_entry(const char *code)
{
    int64_t function = function_of(code);
    if (function < 0) {
        return NULL;
    }
    struct code_entry *entry = entry_to_fill(code);
    last_serial += last_serial < UINT32_MAX ? 1 : 2;
    *entry = (struct code_entry){code, code_file(code), (uint32_t)function, last_serial};
    return entry;
}

/* The entry of this code object, filled in if there is none or it is out of date; NULL without memory. */
static const struct code_entry *code_entry_of(const char *code)
{
    for (uint32_t way = 0; way < WAYS; way++) {
        const struct code_entry *entry = entry_at(code, way);
        if (MP_LIKELY(__atomic_load_n(&entry->code, __ATOMIC_RELAXED) == code && entry->file == code_file(code))) {
            return entry;
        }
    }
    return fill_entry(code);
}

static uint32_t line_of(uint32_t serial, const struct mp_py_frame *frame)
{
    uint64_t key = (uint64_t)serial << 32 | (uint32_t)frame->instr;
    struct line_entry *entry = &lines[mp_hash_u64(key) & (LINE_ENTRIES - 1)];
    if (entry->serial != serial || entry->instr != (uint32_t)frame->instr) {
        int line = mp_py_code_line_nopy(mp_py.layout, frame->code, frame->instr);
        *entry = (struct line_entry){serial, (uint32_t)frame->instr, line < 0 ? 0 : (uint32_t)line};
    }
    return entry->line;
}

int64_t mp_py_code_intern_locked(const void *opaque, uint32_t parent)
{
    const struct mp_py_frame *frame = opaque;
    const struct code_entry *code = code_entry_of(frame->code);
    if (code == NULL) {
        return MP_ERR_MEMORY;
    }
    uint64_t key = (uint64_t)code->serial << 32 | (uint32_t)frame->instr;
    struct node_entry *entry = &nodes[mp_hash_u64(key ^ (uint64_t)parent << 20) & (NODE_ENTRIES - 1)];
    if (MP_LIKELY(entry->serial == code->serial && entry->instr == (uint32_t)frame->instr && entry->parent == parent)) {
        return entry->node;
    }
    int64_t node = mp_tree_node(&mp_profile.tree, parent, code->function, line_of(code->serial, frame));
    if (node >= 0) {
        *entry = (struct node_entry){code->serial, (uint32_t)frame->instr, parent, (uint32_t)node};
    }
    return node;
}
