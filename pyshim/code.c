/* SPDX-License-Identifier: MIT
 * Frames to nodes, by content: see code.h.
 *
 * Invariants: a line_entry's key is the serial of a code_entry that was filled once and never changed; serials are not
 * used twice, so a line of a code object that is gone cannot be found.
 * Context: hook, under the profile's lock.
 */
#include "pyshim/code.h"

#include <string.h>

#include "core/profile.h"
#include "core/sys.h"
#include "pyshim/interp.h"
#include "pyshim/walk.h"

#define CODE_ENTRIES 2048u
#define LINE_ENTRIES 8192u

/* A str that a code object holds. */
struct text_key {
    const char *str;
    int64_t own;   /* CPython's own hash of its characters; -1: not computed */
    uint64_t hash; /* ours */
};

struct code_entry {
    const char *code;
    struct text_key name, file;
    const char *table;
    uint32_t version; /* CPython's number of the code object, which does not come back; 0: it has none */
    uint32_t function;
    uint64_t lines_hash;
    uint32_t serial; /* 0: empty */
};

struct line_entry {
    uint32_t serial, instr, line;
};

static struct code_entry *codes;
static struct line_entry *lines;
static uint32_t last_serial;
static char text[MP_STRING_MAX]; /* guarded by the profile's lock */

int mp_py_code_init(void)
{
    codes = mp_sys_map(CODE_ENTRIES * sizeof *codes);
    lines = mp_sys_map(LINE_ENTRIES * sizeof *lines);
    return codes == NULL || lines == NULL ? MP_ERR_MEMORY : MP_OK;
}

static const char *pointer_at(const char *object, uint16_t offset)
{
    const char *pointer;
    memcpy(&pointer, object + offset, sizeof pointer);
    return pointer;
}

static const char *code_name(const char *code)
{
    uint16_t qualname = mp_py.layout->code.qualname;
    return pointer_at(code, qualname != MP_PY_NONE ? qualname : mp_py.layout->code.name);
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
    int64_t file = name < 0 ? name : intern_str(pointer_at(code, mp_py.layout->code.filename));
    if (file < 0) {
        return file;
    }
    int32_t firstline;
    memcpy(&firstline, code + mp_py.layout->code.firstlineno, sizeof firstline);
    return mp_tree_function(&mp_profile.tree, (uint32_t)name, (uint32_t)file,
                            firstline < 0 ? 0 : (uint32_t)firstline);
}

static int64_t own_hash(const char *str)
{
    int64_t hash;
    memcpy(&hash, str + mp_py.layout->str.hash, sizeof hash);
    return hash;
}

static struct text_key text_key_of(const char *str)
{
    uint64_t hash = mp_py_str_hash_nopy(mp_py.layout, mp_py.str_type, str);
    return (struct text_key){str, hash != 0 ? own_hash(str) : -1, hash};
}

static bool same_text(const struct text_key *key, const char *str)
{
    return (key->str == str && key->own != -1 && key->own == own_hash(str)) ||
           key->hash == mp_py_str_hash_nopy(mp_py.layout, mp_py.str_type, str);
}

static uint32_t version_of(const char *code)
{
    uint32_t version = 0;
    if (mp_py.layout->code.version != MP_PY_NONE) {
        memcpy(&version, code + mp_py.layout->code.version, sizeof version);
    }
    return version;
}

static const char *table_of(const char *code)
{
    return pointer_at(code, mp_py.layout->code.linetable);
}

static bool is_of(const struct code_entry *entry, const char *code, const char *name, const char *file)
{
    uint32_t version = version_of(code);
    if (entry->code != code || entry->version != version) {
        return false;
    }
    if (version != 0) {
        return entry->table == table_of(code) && entry->name.str == name && entry->file.str == file;
    }
    return same_text(&entry->name, name) && same_text(&entry->file, file) &&
           entry->lines_hash == mp_py_lines_fingerprint_nopy(mp_py.layout, code);
}

/* The entry of this code object, filled in if what is there is another's or out of date; NULL without memory. */
static const struct code_entry *code_entry_of(const char *code)
{
    const char *name = code_name(code), *file = pointer_at(code, mp_py.layout->code.filename);
    struct code_entry *entry = &codes[mp_hash_u64((uintptr_t)code) & (CODE_ENTRIES - 1)];
    if (MP_LIKELY(is_of(entry, code, name, file))) {
        return entry;
    }
    int64_t function = function_of(code);
    if (function < 0) {
        return NULL;
    }
    *entry = (struct code_entry){.code = code,
                                 .name = text_key_of(name),
                                 .file = text_key_of(file),
                                 .table = table_of(code),
                                 .version = version_of(code),
                                 .function = (uint32_t)function,
                                 .lines_hash = mp_py_lines_fingerprint_nopy(mp_py.layout, code),
                                 .serial = ++last_serial};
    return entry;
}

static uint32_t line_of(const struct code_entry *code, int32_t instr)
{
    uint64_t key = (uint64_t)code->serial << 32 | (uint32_t)instr;
    struct line_entry *entry = &lines[mp_hash_u64(key) & (LINE_ENTRIES - 1)];
    if (entry->serial != code->serial || entry->instr != (uint32_t)instr) {
        int line = mp_py_code_line_nopy(mp_py.layout, code->code, instr);
        *entry = (struct line_entry){code->serial, (uint32_t)instr, line < 0 ? 0 : (uint32_t)line};
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
    return mp_tree_node(&mp_profile.tree, parent, code->function, line_of(code, frame->instr));
}
