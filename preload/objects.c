/* SPDX-License-Identifier: MIT
 * The loaded objects: see objects.h.
 *
 * Context: hook. examine() runs inside the loader's lock, which one thread at a time has.
 */
#include "preload/objects.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/index.h"
#include "core/lock.h"
#include "core/modules.h"
#include "core/path.h"
#include "core/profile.h"
#include "core/sys.h"
#include "preload/mapped.h"

#define ROWS_MAX 65536u /* a program that loads and unloads for ever: what comes then has no name */
#define ORDER_MAX 4096u
#define BUILD_ID_MAX 64u
#define STRINGS_HASHED (64u * 1024)

static struct mp_lock lock; /* guards what follows; taken inside the loader's lock, before the profile's */
static struct mp_vec rows = {.item_size = sizeof(struct mp_object), .first_log2 = 8};
static uint32_t order[ORDER_MAX]; /* rows of live objects by address */
static uint32_t order_count;
static uint32_t pass;
static struct {
    uint64_t adds, subs;
} known; /* the loader's counters at the last whole pass; atomic */

static struct mp_lock symbols_lock; /* guards the making of symbol tables */

/* What the loader has done so far. */
struct counters {
    uint64_t adds, subs;
};

static int count(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    *(struct counters *)data = (struct counters){info->dlpi_adds, info->dlpi_subs};
    return 1;
}

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3ull;
    }
    return hash;
}

static bool inside(const struct mp_object *object, uintptr_t address, size_t size)
{
    return address >= object->start && address < object->end && size <= object->end - address;
}

/* The build id of a note segment, in hexadecimal. */
static void read_build_id(const char *notes, size_t size, char *text)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, notes, sizeof note);
        size_t name = (note.n_namesz + 3u) & ~(size_t)3, desc = (note.n_descsz + 3u) & ~(size_t)3;
        if (name > size || desc > size || sizeof note + name + desc > size) {
            return;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + sizeof note, "GNU", 4) == 0) {
            const unsigned char *id = (const unsigned char *)notes + sizeof note + name;
            uint32_t length = note.n_descsz < BUILD_ID_MAX ? note.n_descsz : BUILD_ID_MAX;
            for (uint32_t i = 0; i < length; i++) {
                text[2 * i] = "0123456789abcdef"[id[i] >> 4];
                text[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
            }
            text[2 * length] = '\0';
            return;
        }
        notes += sizeof note + name + desc;
        size -= sizeof note + name + desc;
    }
}

/* The sorted table of .eh_frame_hdr, in the one form that linkers write. */
static void read_header(struct mp_object *object, uintptr_t header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    if (!inside(object, header, 12) || bytes[0] != 1 || bytes[2] != 0x03 || bytes[3] != 0x3B) {
        return;
    }
    unsigned kind = bytes[1] & 15u;
    size_t pointer = kind == 0x3 || kind == 0xB ? 4 : kind == 0x0 || kind == 0x4 || kind == 0xC ? 8 : 0;
    uint32_t entries;
    memcpy(&entries, bytes + 4 + pointer, sizeof entries);
    uintptr_t table = header + 4 + pointer + 4;
    if (pointer == 0 || entries == 0 || !inside(object, table, (size_t)entries * 8)) {
        return;
    }
    object->header = header;
    object->table = table;
    object->table_count = entries;
}

/* The loader makes addresses of these, but not in every object. */
static uintptr_t pointer_of(const struct mp_object *object, ElfW(Addr) value)
{
    return value < object->bias ? value + object->bias : value;
}

/* Without a build id, its strings tell an object from another. */
static uint64_t hash_strings(const struct mp_object *object, uint64_t hash)
{
    uintptr_t strings = 0;
    size_t size = 0;
    if (object->dynamic == 0) {
        return hash;
    }
    for (const ElfW(Dyn) *entry = (const ElfW(Dyn) *)object->dynamic; entry->d_tag != DT_NULL; entry++) {
        strings = entry->d_tag == DT_STRTAB ? pointer_of(object, entry->d_un.d_ptr) : strings;
        size = entry->d_tag == DT_STRSZ ? entry->d_un.d_val : size;
    }
    size = size < STRINGS_HASHED ? size : STRINGS_HASHED;
    return inside(object, strings, size) ? mix(hash, (const void *)strings, size) : hash;
}

/* What the loader says of one object. */
static void describe(const struct dl_phdr_info *info, struct mp_object *object, char *build_id)
{
    *object = (struct mp_object){.start = UINTPTR_MAX, .bias = info->dlpi_addr};
    const ElfW(Phdr) *segments = info->dlpi_phdr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (segments[i].p_type == PT_LOAD) {
            uintptr_t from = object->bias + segments[i].p_vaddr, to = from + segments[i].p_memsz;
            object->start = from < object->start ? from : object->start;
            object->end = to > object->end ? to : object->end;
        }
    }
    build_id[0] = '\0';
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t from = object->bias + segments[i].p_vaddr;
        if (segments[i].p_type == PT_NOTE && build_id[0] == '\0' && inside(object, from, segments[i].p_memsz)) {
            read_build_id((const char *)from, segments[i].p_memsz, build_id);
        } else if (segments[i].p_type == PT_GNU_EH_FRAME) {
            read_header(object, from);
        } else if (segments[i].p_type == PT_DYNAMIC && inside(object, from, segments[i].p_memsz)) {
            object->dynamic = from;
        }
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t from = object->bias + segments[i].p_vaddr;
        if (segments[i].p_type == PT_LOAD && object->header - from < segments[i].p_filesz) {
            object->segment_start = from;
            object->segment_end = from + segments[i].p_filesz;
        }
    }
    uintptr_t place[] = {object->start, object->end, object->bias, object->header, object->table_count};
    object->identity = mix(mix(0xCBF29CE484222325ull, place, sizeof place), info->dlpi_name, strlen(info->dlpi_name));
    object->identity = build_id[0] != '\0' ? mix(object->identity, build_id, strlen(build_id))
                                           : hash_strings(object, object->identity);
}

/* Place in `order` of the last object that begins at or before the address; -1: none. */
static int64_t place_of(uintptr_t address)
{
    uint32_t low = 0, high = order_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (((const struct mp_object *)mp_vec_at(&rows, order[middle]))->start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (int64_t)low - 1;
}

/* The row that was made for this very object at this very place. */
static struct mp_object *find_again(const struct mp_object *object)
{
    int64_t place = place_of(object->start);
    if (place >= 0) {
        struct mp_object *there = mp_vec_at(&rows, order[place]);
        if (there->start == object->start && there->identity == object->identity) {
            return there;
        }
    }
    for (uint32_t i = 1; i < rows.count; i++) {
        struct mp_object *there = mp_vec_at(&rows, i);
        if (there->identity == object->identity && there->start == object->start) {
            return there;
        }
    }
    return NULL;
}

static void add(const char *name, const struct mp_object *object, const char *build_id)
{
    static char program[MP_PATH_MAX];
    if (rows.count >= ROWS_MAX || (rows.count == 0 && mp_vec_push(&rows) < 0)) {
        return;
    }
    if (name[0] == '\0') { /* the program itself */
        long length = mp_sys_call(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)program,
                                  sizeof program - 1, 0, 0);
        program[length > 0 ? length : 0] = '\0';
        name = program;
    } else if (name[0] != '/') {
        const char *file = mp_mapped_file(object->start);
        name = file != NULL ? file : name; /* the kernel's own object is no file */
    }
    mp_lock_take(&mp_profile.lock);
    int64_t row = mp_module_add(name, build_id, object->start, object->end, object->bias);
    mp_lock_release(&mp_profile.lock);
    int64_t ours = row < 0 ? row : mp_vec_push(&rows);
    if (ours >= 0 && ours == row) {
        *(struct mp_object *)mp_vec_at(&rows, (uint32_t)ours) = *object;
    }
}

static void sift(uint32_t *heap, uint32_t root, uint32_t end, bool (*before)(uint32_t a, uint32_t b, const void *of),
                 const void *of)
{
    for (uint32_t child; (child = 2 * root + 1) < end; root = child) {
        child += child + 1 < end && before(heap[child], heap[child + 1], of);
        if (!before(heap[root], heap[child], of)) {
            return;
        }
        uint32_t moved = heap[root];
        heap[root] = heap[child];
        heap[child] = moved;
    }
}

/* In place, without recursion, at worst n log n. */
static void heap_sort(uint32_t *items, uint32_t count_of, bool (*before)(uint32_t a, uint32_t b, const void *of),
                      const void *of)
{
    for (uint32_t i = count_of / 2; i-- > 0;) {
        sift(items, i, count_of, before, of);
    }
    for (uint32_t end = count_of; end-- > 1;) {
        uint32_t largest = items[0];
        items[0] = items[end];
        items[end] = largest;
        sift(items, 0, end, before, of);
    }
}

static bool lies_before(uint32_t a, uint32_t b, const void *of)
{
    return ((const struct mp_object *)mp_vec_at(of, a))->start < ((const struct mp_object *)mp_vec_at(of, b))->start;
}

/* What this pass has not found is gone. */
static void finish(const struct counters *now)
{
    order_count = 0;
    for (uint32_t i = 1; i < rows.count; i++) {
        struct mp_object *object = mp_vec_at(&rows, i);
        bool found = object->pass == pass && order_count < ORDER_MAX;
        __atomic_store_n(&object->live, found, __ATOMIC_RELEASE);
        if (found) {
            order[order_count++] = i;
        }
    }
    heap_sort(order, order_count, lies_before, &rows);
    __atomic_store_n(&known.adds, now->adds, __ATOMIC_RELAXED);
    __atomic_store_n(&known.subs, now->subs, __ATOMIC_RELEASE);
}

/* The whole pass runs inside the loader's lock: of two threads one comes second, and finds nothing new. */
static int examine(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    uint64_t *seen = data;
    char build_id[2 * BUILD_ID_MAX + 1];
    struct mp_object object;
    struct counters now = {info->dlpi_adds, info->dlpi_subs};
    describe(info, &object, build_id);
    mp_lock_take(&lock);
    pass += *seen == 0;
    object.pass = pass;
    struct mp_object *again = find_again(&object);
    if (again != NULL) {
        again->pass = pass;
    } else if (object.start < object.end) {
        add(info->dlpi_name, &object, build_id);
    }
    if (++*seen == now.adds - now.subs) { /* the last */
        finish(&now);
    }
    mp_lock_release(&lock);
    return 0;
}

void mp_objects_refresh(void)
{
    struct counters now = {0, 0};
    dl_iterate_phdr(count, &now);
    if (MP_LIKELY(now.subs == __atomic_load_n(&known.subs, __ATOMIC_ACQUIRE) &&
                  now.adds == __atomic_load_n(&known.adds, __ATOMIC_RELAXED))) {
        return;
    }
    uint64_t seen = 0;
    dl_iterate_phdr(examine, &seen);
}

uint32_t mp_objects_find(uintptr_t address)
{
    uint32_t row = 0;
    mp_lock_take(&lock);
    int64_t place = place_of(address);
    if (place >= 0 && address < ((const struct mp_object *)mp_vec_at(&rows, order[place]))->end) {
        row = order[place];
    }
    mp_lock_release(&lock);
    return row;
}

const struct mp_object *mp_object_get(uint32_t row)
{
    return mp_vec_at(&rows, row);
}

/* Symbols. */

static bool symbol_before(uint32_t a, uint32_t b, const void *of)
{
    const ElfW(Sym) *symbols = of;
    if (symbols[a].st_value != symbols[b].st_value) {
        return symbols[a].st_value < symbols[b].st_value;
    }
    unsigned bind_a = ELF64_ST_BIND(symbols[a].st_info), bind_b = ELF64_ST_BIND(symbols[b].st_info);
    if (bind_a != bind_b) { /* of several names the global one comes last, where the search begins */
        return bind_a != STB_GLOBAL && bind_b == STB_GLOBAL;
    }
    return a > b;
}

static uint32_t count_by_gnu_hash(const uint32_t *table)
{
    uint32_t buckets = table[0], first = table[1], bloom = table[2], last = 0;
    const uint32_t *bucket = table + 4 + (size_t)bloom * (sizeof(ElfW(Addr)) / 4), *chain = bucket + buckets;
    for (uint32_t i = 0; i < buckets; i++) {
        last = bucket[i] > last ? bucket[i] : last;
    }
    if (last < first) {
        return first;
    }
    while ((chain[last - first] & 1) == 0) {
        last++;
    }
    return last + 1;
}

static bool is_function(const ElfW(Sym) *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    return symbol->st_shndx != SHN_UNDEF && symbol->st_value != 0 &&
           (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE);
}

static void learn_symbols(struct mp_object *object)
{
    const ElfW(Sym) *table = NULL;
    uint32_t all = 0;
    for (const ElfW(Dyn) *entry = (const ElfW(Dyn) *)object->dynamic; entry->d_tag != DT_NULL; entry++) {
        uintptr_t at = pointer_of(object, entry->d_un.d_ptr);
        switch (entry->d_tag) {
        case DT_SYMTAB: table = (const void *)at; break;
        case DT_STRTAB: object->names = (const char *)at; break;
        case DT_HASH: all = all == 0 ? ((const uint32_t *)at)[1] : all; break;
        case DT_GNU_HASH: all = all == 0 ? count_by_gnu_hash((const uint32_t *)at) : all; break;
        default: break;
        }
    }
    if (table == NULL || object->names == NULL || all == 0) {
        return;
    }
    uint32_t *found = mp_sys_map((size_t)all * sizeof *found), kept = 0;
    if (found == NULL) {
        return;
    }
    for (uint32_t i = 1; i < all; i++) {
        if (is_function(&table[i])) {
            found[kept++] = i;
        }
    }
    heap_sort(found, kept, symbol_before, table);
    object->symbol_table = table;
    object->symbols = found;
    object->symbol_count = kept;
}

uint32_t mp_object_symbol(uint32_t row, uintptr_t address, uintptr_t *ret_start)
{
    struct mp_object *object = mp_vec_at(&rows, row);
    mp_lock_take(&symbols_lock);
    if (!object->symbols_known && object->dynamic != 0) {
        learn_symbols(object);
    }
    object->symbols_known = true;
    mp_lock_release(&symbols_lock);
    const ElfW(Sym) *table = object->symbol_table;
    uintptr_t value = address - object->bias;
    uint32_t low = 0, high = object->symbol_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (table[object->symbols[middle]].st_value <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    /* Behind its end a symbol says nothing: what is there is some function without one. */
    for (uint32_t i = low, tries = 0; i-- > 0 && tries < 8; tries++) {
        const ElfW(Sym) *symbol = &table[object->symbols[i]];
        if (value - symbol->st_value < symbol->st_size || (symbol->st_size == 0 && tries == 0)) {
            *ret_start = symbol->st_value + object->bias;
            return object->symbols[i];
        }
    }
    return 0;
}

const char *mp_object_symbol_name(uint32_t row, uint32_t symbol)
{
    const struct mp_object *object = mp_object_get(row);
    return object->names + ((const ElfW(Sym) *)object->symbol_table)[symbol].st_name;
}

static uintptr_t piece_start(const struct mp_object *object, uint32_t i)
{
    int32_t offset;
    memcpy(&offset, (const char *)object->table + (size_t)i * 8, sizeof offset);
    return object->header + (uintptr_t)(intptr_t)offset;
}

bool mp_object_piece(const struct mp_object *object, uintptr_t address, uintptr_t *ret_start, uintptr_t *ret_end)
{
    uint32_t low = 0, high = object->table_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (piece_start(object, middle) <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0 || !inside(object, address, 1)) {
        return false;
    }
    *ret_start = piece_start(object, low - 1);
    *ret_end = low < object->table_count ? piece_start(object, low) : object->end;
    return true;
}

void mp_objects_forked(void)
{
    mp_lock_reset(&lock);
    mp_lock_reset(&symbols_lock);
}
