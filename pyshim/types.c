/* SPDX-License-Identifier: MIT
 * The types of live objects: see types.h.
 *
 * What lies before an object, by _PyType_PreHeaderSize of CPython (Include/internal/pycore_object.h): the collector's header of 16 bytes
 * where its type is collected (not in free-threaded builds), and from 3.11 16 bytes more where its type has a managed
 * dictionary, from 3.12 also for managed weak references. The head of PyTypeObject (tp_name, tp_basicsize, tp_flags) has
 * not changed since 3.0, but for the size of the object's own header before it.
 *
 * Context: writer, under the profile's lock.
 */
#include "pyshim/types.h"

#include <string.h>
#include <sys/syscall.h>

#include "core/profile.h"
#include "core/sys.h"
#include "pyshim/type_head.h"

#define PRE_STEP 16u /* headers come in these */
#define PRES 3u
#define HEAD_MAX (PRE_STEP * (PRES - 1) + 32)
#define NAME_MAX 128u
#define META_STEPS 4
#define PIECE_SLOTS 1024u
#define COPIES_SIZE (128u * 1024)
#define CACHE_SIZE 1024u
#define PAGE 4096u

#define FLAG_MANAGED_WEAKREF ((uint64_t)1 << 3)
#define FLAG_MANAGED_DICT ((uint64_t)1 << 4)
#define FLAG_READY ((uint64_t)1 << 12)
#define FLAG_GC ((uint64_t)1 << 14)
#define FLAG_IS_TYPE ((uint64_t)1 << 31)
#define FLAG_IS_STR ((uint64_t)1 << 28)

struct iovec_raw {
    void *base;
    size_t length;
};

struct type {
    uint64_t address; /* 0: the slot is free */
    uint64_t least_size; /* of its objects */
    uint32_t name; /* string; 0: no type */
    uint32_t pre;  /* bytes before its objects */
};

static uint16_t type_field; /* ob_type */
static uint64_t type_type;
static struct type cache[CACHE_SIZE];
static bool can;

static bool read_word(uint64_t address, uint64_t *ret_word)
{
    return mp_sys_peek((const void *)(uintptr_t)address, ret_word, sizeof *ret_word) == 0;
}

/* The type of a type is `type`, or a class derived from it, whose own type is such a one: the chain ends at `type`. Nothing
 * weaker will do: a word in a block may point to anything. */
static bool is_type(const struct mp_py_type_head *head)
{
    struct mp_py_type_head meta = *head;
    if (!(head->flags & FLAG_READY) || head->name == 0) {
        return false;
    }
    for (int steps = 0; steps < META_STEPS; steps++) {
        uint64_t address = meta.type;
        if (address == type_type) {
            return true;
        }
        if (address % 8 != 0 || !mp_py_type_head_read(address, &meta) || !(meta.flags & FLAG_IS_TYPE)) {
            return false;
        }
    }
    return false;
}

static uint32_t pre_of(uint64_t flags)
{
    uint32_t pre = (flags & FLAG_GC) && !mp_py.free_threaded ? PRE_STEP : 0;
    uint64_t managed = mp_py.minor >= 12   ? FLAG_MANAGED_DICT | FLAG_MANAGED_WEAKREF
                       : mp_py.minor == 11 ? FLAG_MANAGED_DICT
                                           : 0;
    return flags & managed ? pre + PRE_STEP : pre;
}

/* Length of the name at address, at most NAME_MAX, in ret_text; a page that cannot be read ends it. */
static uint32_t read_name(uint64_t address, char *ret_text)
{
    uint32_t length = 0;
    while (length < NAME_MAX) {
        uint64_t at = address + length;
        uint64_t here = PAGE - at % PAGE;
        uint64_t want = here < NAME_MAX - length ? here : NAME_MAX - length;
        if (mp_sys_peek((const void *)(uintptr_t)at, ret_text + length, want) != 0) {
            break;
        }
        const char *end = memchr(ret_text + length, '\0', want);
        if (end != NULL) {
            return (uint32_t)(end - ret_text);
        }
        length += (uint32_t)want;
    }
    while (length > 0 && ((unsigned char)ret_text[length - 1] & 0xC0) == 0x80) {
        length--; /* not in the middle of a character */
    }
    return length > 0 ? length - 1 : 0;
}

static bool is_between(char c, unsigned low, unsigned high)
{
    return (unsigned char)c >= low && (unsigned char)c <= high;
}

/* Whether it is UTF-8 without control characters. A name whose type has just died may be anything by now. */
static bool is_text(const char *text, uint32_t length)
{
    for (uint32_t i = 0; i < length;) {
        unsigned c = (unsigned char)text[i++];
        uint32_t more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (c < 0x20 || c == 0x7F || (c >= 0x80 && c < 0xC2) || c > 0xF4 || more > length - i) {
            return false;
        }
        if ((c == 0xE0 && !is_between(text[i], 0xA0, 0xBF)) || (c == 0xF0 && !is_between(text[i], 0x90, 0xBF)) ||
            (c == 0xF4 && !is_between(text[i], 0x80, 0x8F))) {
            return false;
        }
        for (; more > 0; more--) {
            if (!is_between(text[i++], 0x80, 0xBF)) {
                return false;
            }
        }
    }
    return true;
}

static struct type *slot_of(uint64_t address)
{
    return &cache[mp_hash_u64(address) % CACHE_SIZE];
}

static bool is_name(const char *text, uint32_t length, const char *name)
{
    return length == strlen(name) && memcmp(text, name, length) == 0;
}

/* The least that an object of the type takes, where CPython makes it shorter than the type says: a str has its characters right behind
 * the short form of its head (length, hash, state), and a time of no zone has no room for one. */
static uint64_t least_size(uint64_t address, const struct mp_py_type_head *head, const char *name, uint32_t length)
{
    if (address == (uint64_t)(uintptr_t)mp_py.str_type) {
        return type_field + 8u + 3 * 8 + 1;
    }
    if (is_name(name, length, "datetime.datetime") || is_name(name, length, "datetime.time")) {
        return head->basic_size - 8;
    }
    return head->basic_size;
}

static struct type *look_up(uint64_t address)
{
    struct type *slot = slot_of(address);
    if (slot->address == address) {
        return slot;
    }
    struct mp_py_type_head head;
    *slot = (struct type){.address = address};
    if (!mp_py_type_head_read(address, &head) || !is_type(&head)) {
        return slot;
    }
    char text[NAME_MAX];
    uint32_t length = read_name(head.name, text);
    int64_t name = length > 0 && is_text(text, length) ? mp_strtab_intern(&mp_profile.strings, text, length) : 0;
    slot->name = name > 0 ? (uint32_t)name : 0;
    slot->least_size = least_size(address, &head, text, length);
    slot->pre = pre_of(head.flags);
    return slot;
}

static uint32_t head_length(const struct mp_live_row *row)
{
    return row->size < HEAD_MAX ? (uint32_t)row->size : HEAD_MAX;
}

/* Nothing that is an address of an object looks otherwise. */
static bool may_be_address(uint64_t word)
{
    return word % 8 == 0 && word >= PAGE && word < (uint64_t)1 << 56;
}

/* The word that would be the type of an object `pre` bytes into the block; 0: it cannot be one. */
static uint64_t type_at(const char *head, uint32_t length, uint32_t pre)
{
    uint64_t word;
    uint32_t references;
    if (pre + type_field + 8 > length) {
        return 0;
    }
    memcpy(&references, head + pre, sizeof references);
    memcpy(&word, head + pre + type_field, sizeof word);
    /* An object in one of the interpreter's free lists has no references. (Free-threaded builds count otherwise.) */
    return may_be_address(word) && (references != 0 || mp_py.free_threaded) ? word : 0;
}

static bool fits(const struct type *type, uint32_t pre, uint64_t size)
{
    return type->name != 0 && type->pre == pre && pre + type->least_size <= size;
}

/* head: the first bytes of a block. Types that were seen before come first: to find out that a word is none costs calls. */
static uint32_t name_of(const char *head, uint32_t length, uint64_t size)
{
    uint64_t words[PRES];
    for (uint32_t i = 0; i < PRES; i++) {
        words[i] = type_at(head, length, i * PRE_STEP);
        const struct type *seen = slot_of(words[i]);
        if (words[i] != 0 && seen->address == words[i] && fits(seen, i * PRE_STEP, size)) {
            return seen->name;
        }
    }
    for (uint32_t i = 0; i < PRES; i++) {
        const struct type *type = words[i] != 0 ? look_up(words[i]) : NULL;
        if (type != NULL && fits(type, i * PRE_STEP, size)) {
            return type->name;
        }
    }
    return 0;
}

bool mp_py_types_init(mp_py_resolve resolve)
{
    const char *type = resolve("PyType_Type");
    struct mp_py_type_head of_type, of_str;
    char name[NAME_MAX];
    uint64_t word;
    type_field = mp_py.layout->object.type;
    type_type = (uint64_t)(uintptr_t)type;
    struct iovec_raw local = {&word, sizeof word}, remote = {(void *)(uintptr_t)&type_type, sizeof type_type};
    if (mp_sys_call(SYS_process_vm_readv, mp_sys_getpid(), (long)&local, 1, (long)&remote, 1, 0) != sizeof word) {
        return false; /* one by one, through a pipe, would take too long with the lock held */
    }
    /* Before the interpreter has made its types ready, only their names are there. */
    can = type != NULL && read_word(type_type, &word) && mp_py_type_head_read(type_type, &of_type) &&
          mp_py_type_head_read((uint64_t)(uintptr_t)mp_py.str_type, &of_str) && read_name(of_type.name, name) == 4 &&
          memcmp(name, "type", 4) == 0 && read_name(of_str.name, name) == 3 && memcmp(name, "str", 3) == 0 &&
          (of_type.flags & FLAG_IS_TYPE) && (of_str.flags & FLAG_IS_STR) && !(of_str.flags & FLAG_IS_TYPE);
    return can;
}

void mp_py_types_begin(void)
{
    memset(cache, 0, sizeof cache);
}

/* Heads of blocks are read by page, for the kernel takes its time for each piece: a piece is what is wanted of one page. */
struct piece {
    uint64_t from, to; /* addresses */
    const char *copy;  /* NULL: could not be read */
};
static struct piece pieces[MP_PY_TYPES_STEP];
static uint32_t piece_count;
static uint16_t piece_by_page[PIECE_SLOTS]; /* piece + 1 */
static uint16_t piece_of[MP_PY_TYPES_STEP]; /* of each row; piece + 1, 0: none */
static char copies[COPIES_SIZE];

static void want(uint32_t row, uint64_t from, uint64_t to)
{
    uint64_t page = from / PAGE;
    uint16_t *slot = &piece_by_page[mp_hash_u64(page) % PIECE_SLOTS];
    if (*slot != 0 && (to - 1) / PAGE == page) {
        struct piece *piece = &pieces[*slot - 1];
        if (piece->from / PAGE == page && (piece->to - 1) / PAGE == page) {
            piece->from = from < piece->from ? from : piece->from;
            piece->to = to > piece->to ? to : piece->to;
            piece_of[row] = *slot;
            return;
        }
    }
    pieces[piece_count] = (struct piece){.from = from, .to = to};
    piece_of[row] = *slot = (uint16_t)++piece_count;
}

/* As many pieces as fit from `first` on; returns how many were tried. */
static uint32_t read_pieces(uint32_t first)
{
    static struct iovec_raw local[MP_PY_TYPES_STEP], remote[MP_PY_TYPES_STEP];
    size_t used = 0;
    uint32_t count = 0;
    for (; first + count < piece_count; count++) {
        struct piece *piece = &pieces[first + count];
        size_t length = piece->to - piece->from;
        if (used + length > sizeof copies) {
            break;
        }
        local[count] = (struct iovec_raw){copies + used, length};
        remote[count] = (struct iovec_raw){(void *)(uintptr_t)piece->from, length};
        used += length;
    }
    for (uint32_t done = 0; done < count; done++) { /* what cannot be read stops the call, and is left out */
        long got = mp_sys_call(SYS_process_vm_readv, mp_sys_getpid(), (long)&local[done], count - done,
                               (long)&remote[done], count - done, 0);
        for (; done < count && got >= (long)local[done].length; done++) {
            got -= (long)local[done].length;
            pieces[first + done].copy = local[done].base;
        }
    }
    return count;
}

void mp_py_types_locked(const struct mp_live_row *rows, uint32_t count, uint32_t *ret_names)
{
    memset(ret_names, 0, count * sizeof *ret_names);
    memset(piece_by_page, 0, sizeof piece_by_page);
    memset(piece_of, 0, sizeof piece_of);
    piece_count = 0;
    for (uint32_t i = 0; i < count && can; i++) {
        const struct mp_site *site = mp_vec_at(&mp_profile.sites.rows, rows[i].site);
        if (site->domain == MP_DOMAIN_OBJ && rows[i].size >= type_field + 8u) {
            want(i, rows[i].address, rows[i].address + head_length(&rows[i]));
        }
    }
    for (uint32_t first = 0; first < piece_count;) {
        uint32_t end = first + read_pieces(first);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = piece_of[i] - 1u;
            if (at >= first && at < end && pieces[at].copy != NULL) {
                const char *head = pieces[at].copy + (rows[i].address - pieces[at].from);
                ret_names[i] = name_of(head, head_length(&rows[i]), rows[i].size);
            }
        }
        first = end;
    }
}
