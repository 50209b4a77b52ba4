/* SPDX-License-Identifier: MIT
 * Reads a snapshot straight from FORMAT.md, for tests: every checksum, every padding byte, every id is checked; anything wrong
 * fails the test. It shares no code with core.
 */
#ifndef MP_TESTS_CORE_DECODE_H
#define MP_TESTS_CORE_DECODE_H

#include "suite.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct decoded_live {
    uint64_t address, size, time;
    uint32_t site, thread, type;
    uint16_t rate, generation, depth;
};

struct decoded_site {
    uint32_t node;
    uint8_t domain;
    uint64_t alloc_samples;
    double alloc_blocks, alloc_bytes, alloc_blocks_var, alloc_bytes_var, peak_bytes, peak_bytes_var;
};

struct decoded_triple {
    uint32_t a, b, c;
};

struct decoded_string {
    const char *text; /* not terminated */
    uint32_t length;
};

/* Tables with an id have a row 0, written or not. */
struct decoded {
    uint8_t *data;
    size_t size;
    const char *head;
    size_t head_length;
    struct decoded_live *live;
    struct decoded_site *sites;
    struct decoded_triple *nodes, *functions;
    struct decoded_string *strings;
    uint64_t *tids;
    uint32_t *thread_names;
    uint64_t *rates, *uids, *pids;
    uint32_t live_count, site_count, node_count, function_count, string_count, thread_count, rate_count,
        generation_count;
    uint32_t sections, string_sections, proc_sections;
    /* Rows of RESI: address, own, copied, shared. */
    uint64_t resident[64][4];
    uint32_t resident_count;
};

struct decode_cursor {
    const uint8_t *payload;
    uint64_t at, length;
};

static inline uint32_t decode_crc(const uint8_t *bytes, size_t size)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256 && table[255] == 0; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
        }
        table[i] = c;
    }
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        c = table[(c ^ bytes[i]) & 0xFF] ^ c >> 8;
    }
    return ~c;
}

static inline uint64_t decode_number(const uint8_t *at, uint32_t width)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < width; i++) {
        value |= (uint64_t)at[i] << 8 * i;
    }
    return value;
}

static inline double decode_double(const uint8_t *at)
{
    double value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t decode_u32(struct decode_cursor *cursor)
{
    assert_true(cursor->at + 4 <= cursor->length);
    cursor->at += 4;
    return (uint32_t)decode_number(cursor->payload + cursor->at - 4, 4);
}

/* The bytes of one column; steps over them and over their padding, which must be zeros. */
static inline const uint8_t *decode_column(struct decode_cursor *cursor, uint64_t count, uint32_t width)
{
    const uint8_t *column = cursor->payload + cursor->at;
    cursor->at += count * width;
    for (; cursor->at % 8 != 0; cursor->at++) {
        assert_int_equal(cursor->payload[cursor->at], 0);
    }
    assert_true(cursor->at <= (cursor->length + 7) / 8 * 8);
    return column;
}

/* Room for count items; what is there is kept. */
static inline void *decode_grow(void *items, uint64_t count, size_t size)
{
    void *grown = realloc(items, (count + 1) * size);
    assert_non_null(grown);
    return grown;
}

static inline void decode_live(struct decoded *d, struct decode_cursor *c)
{
    uint32_t n = decode_u32(c);
    assert_int_equal(decode_u32(c), 0);
    d->live = decode_grow(d->live, d->live_count + n, sizeof *d->live);
    const uint8_t *address = decode_column(c, n, 8), *size = decode_column(c, n, 8);
    const uint8_t *time = decode_column(c, n, 8), *site = decode_column(c, n, 4);
    const uint8_t *thread = decode_column(c, n, 4), *rate = decode_column(c, n, 2);
    const uint8_t *generation = decode_column(c, n, 2), *depth = decode_column(c, n, 2);
    const uint8_t *type = c->at < c->length ? decode_column(c, n, 4) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        d->live[d->live_count++] = (struct decoded_live){
            .address = decode_number(address + 8 * i, 8),
            .size = decode_number(size + 8 * i, 8),
            .time = decode_number(time + 8 * i, 8),
            .site = (uint32_t)decode_number(site + 4 * i, 4),
            .thread = (uint32_t)decode_number(thread + 4 * i, 4),
            .type = type != NULL ? (uint32_t)decode_number(type + 4 * i, 4) : UINT32_MAX,
            .rate = (uint16_t)decode_number(rate + 2 * i, 2),
            .generation = (uint16_t)decode_number(generation + 2 * i, 2),
            .depth = (uint16_t)decode_number(depth + 2 * i, 2)};
    }
}

static inline void decode_sites(struct decoded *d, struct decode_cursor *c)
{
    uint32_t first = decode_u32(c), n = decode_u32(c);
    assert_int_equal(first, d->site_count == 0 ? 1 : d->site_count);
    d->sites = decode_grow(d->sites, first + n, sizeof *d->sites);
    const uint8_t *node = decode_column(c, n, 4), *domain = decode_column(c, n, 1);
    const uint8_t *samples = decode_column(c, n, 8), *sums[6];
    for (int i = 0; i < 6; i++) {
        sums[i] = decode_column(c, n, 8);
    }
    for (uint32_t i = 0; i < n; i++) {
        d->sites[first + i] = (struct decoded_site){(uint32_t)decode_number(node + 4 * i, 4),
                                                    domain[i],
                                                    decode_number(samples + 8 * i, 8),
                                                    decode_double(sums[0] + 8 * i),
                                                    decode_double(sums[1] + 8 * i),
                                                    decode_double(sums[2] + 8 * i),
                                                    decode_double(sums[3] + 8 * i),
                                                    decode_double(sums[4] + 8 * i),
                                                    decode_double(sums[5] + 8 * i)};
    }
    d->site_count = first + n;
}

static inline void decode_triples(struct decode_cursor *c, struct decoded_triple **rows, uint32_t *count,
                                  uint32_t skip)
{
    uint32_t first = decode_u32(c), n = decode_u32(c);
    assert_int_equal(first, *count == 0 ? skip : *count);
    *rows = decode_grow(*rows, first + n, sizeof **rows);
    const uint8_t *a = decode_column(c, n, 4), *b = decode_column(c, n, 4), *third = decode_column(c, n, 4);
    for (uint32_t i = 0; i < n; i++) {
        (*rows)[first + i] = (struct decoded_triple){(uint32_t)decode_number(a + 4 * i, 4),
                                                     (uint32_t)decode_number(b + 4 * i, 4),
                                                     (uint32_t)decode_number(third + 4 * i, 4)};
    }
    *count = first + n;
}

static inline void decode_strings(struct decoded *d, struct decode_cursor *c)
{
    uint32_t first = decode_u32(c), n = decode_u32(c);
    assert_int_equal(first, d->string_count);
    d->strings = decode_grow(d->strings, first + n, sizeof *d->strings);
    const uint8_t *lengths = decode_column(c, n, 4);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length = (uint32_t)decode_number(lengths + 4 * i, 4);
        d->strings[first + i] = (struct decoded_string){(const char *)c->payload + c->at, length};
        c->at += length;
        assert_true(c->at <= c->length);
        assert_int_equal(length == 0, first + i == 0); /* each text once: only string 0 is empty */
    }
    d->string_count = first + n;
    d->string_sections++;
}

static inline void decode_threads(struct decoded *d, struct decode_cursor *c)
{
    uint32_t first = decode_u32(c), n = decode_u32(c);
    assert_int_equal(first, d->thread_count);
    d->tids = decode_grow(d->tids, first + n, sizeof *d->tids);
    d->thread_names = decode_grow(d->thread_names, first + n, sizeof *d->thread_names);
    const uint8_t *tid = decode_column(c, n, 8);
    decode_column(c, n, 8);
    const uint8_t *name = decode_column(c, n, 4);
    for (uint32_t i = 0; i < n; i++) {
        d->tids[first + i] = decode_number(tid + 8 * i, 8);
        d->thread_names[first + i] = (uint32_t)decode_number(name + 4 * i, 4);
    }
    d->thread_count = first + n;
}

/* n rows of u64 in a table of its own. */
static inline uint64_t *decode_wide(struct decode_cursor *c, uint32_t n)
{
    uint64_t *rows = decode_grow(NULL, n, sizeof *rows);
    const uint8_t *column = decode_column(c, n, 8);
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = decode_number(column + 8 * i, 8);
    }
    return rows;
}

static inline void decode_lineage(struct decoded *d, struct decode_cursor *c)
{
    d->generation_count = decode_u32(c);
    assert_int_equal(decode_u32(c), 0);
    d->uids = decode_wide(c, d->generation_count);
    d->pids = decode_wide(c, d->generation_count);
    decode_column(c, d->generation_count, 8);
}

static inline void decode_proc(struct decoded *d, struct decode_cursor *c)
{
    uint32_t name = decode_u32(c), text = decode_u32(c);
    const uint8_t *path = decode_column(c, name, 1);
    assert_memory_equal(path, "/proc/self/", 11);
    c->at += text;
    d->proc_sections++;
}

static inline void decode_resident(struct decoded *d, struct decode_cursor *c)
{
    uint32_t count = decode_u32(c);
    assert_int_equal(decode_u32(c), 0);
    assert_true(count > 0 && d->resident_count + count <= 64);
    for (int column = 0; column < 4; column++) {
        uint64_t *values = decode_wide(c, count);
        for (uint32_t i = 0; i < count; i++) {
            d->resident[d->resident_count + i][column] = values[i];
        }
        free(values);
    }
    d->resident_count += count;
}

static inline void decode_payload(struct decoded *d, const char *tag, struct decode_cursor *c)
{
    if (memcmp(tag, "HEAD", 4) == 0) {
        assert_int_equal(d->sections, 0);
        d->head = (const char *)c->payload;
        d->head_length = c->length;
        c->at = c->length;
    } else if (memcmp(tag, "LIVE", 4) == 0) {
        decode_live(d, c);
    } else if (memcmp(tag, "SITE", 4) == 0) {
        decode_sites(d, c);
    } else if (memcmp(tag, "NODE", 4) == 0) {
        decode_triples(c, &d->nodes, &d->node_count, 1);
    } else if (memcmp(tag, "FUNC", 4) == 0) {
        decode_triples(c, &d->functions, &d->function_count, 0);
    } else if (memcmp(tag, "STRS", 4) == 0) {
        decode_strings(d, c);
    } else if (memcmp(tag, "THRD", 4) == 0) {
        decode_threads(d, c);
    } else if (memcmp(tag, "RATE", 4) == 0) {
        d->rate_count = decode_u32(c);
        assert_int_equal(decode_u32(c), 0);
        d->rates = decode_wide(c, d->rate_count);
    } else if (memcmp(tag, "LINE", 4) == 0) {
        decode_lineage(d, c);
    } else if (memcmp(tag, "RESI", 4) == 0) {
        decode_resident(d, c);
    } else if (memcmp(tag, "PROC", 4) == 0) {
        decode_proc(d, c);
    } else {
        fail_msg("unknown section %.4s", tag);
    }
    assert_true(c->at == c->length || (c->at > c->length && c->at == (c->length + 7) / 8 * 8));
}

/* Every id names a row; every parent comes before its child. */
static inline void decode_resolve(const struct decoded *d)
{
    for (uint32_t i = 0; i < d->live_count; i++) {
        const struct decoded_live *live = &d->live[i];
        assert_true(live->site > 0 && live->site < d->site_count && live->thread < d->thread_count);
        assert_true(live->rate < d->rate_count && live->generation < d->generation_count);
    }
    for (uint32_t i = 1; i < d->site_count; i++) {
        assert_true(d->sites[i].domain < 5 && d->sites[i].node < (d->node_count ? d->node_count : 1));
    }
    for (uint32_t i = 1; i < d->node_count; i++) {
        assert_true(d->nodes[i].a < i && d->nodes[i].b > 0 && d->nodes[i].b < d->function_count);
    }
    for (uint32_t i = 0; i < d->function_count; i++) {
        assert_true(d->functions[i].a < d->string_count && d->functions[i].b < d->string_count);
        assert_int_equal(d->functions[i].b == 0, i == 0); /* only function 0 has no file */
    }
    for (uint32_t i = 0; i < d->thread_count; i++) {
        assert_true(d->thread_names[i] < d->string_count);
    }
}

static inline void decode_free(struct decoded *d)
{
    void *all[] = {d->data, d->live, d->sites, d->nodes, d->functions, d->strings, d->tids, d->thread_names,
                   d->rates, d->uids, d->pids};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
    memset(d, 0, sizeof *d);
}

/* The whole file; decode_free it. */
static inline struct decoded decode_fd(int fd)
{
    struct decoded d = {0};
    struct stat file;
    assert_int_equal(fstat(fd, &file), 0);
    d.size = (size_t)file.st_size;
    d.data = malloc(d.size + 8);
    assert_int_equal(pread(fd, d.data, d.size, 0), d.size);
    assert_true(d.size >= 16);
    assert_memory_equal(d.data, "\x89MPROF\r\n\x01\0\x01\0", 12);
    assert_int_equal(decode_number(d.data + 12, 4), decode_crc(d.data, 12));
    for (size_t at = 16;;) {
        assert_true(at + 24 <= d.size);
        const uint8_t *header = d.data + at;
        struct decode_cursor cursor = {header + 24, 0, decode_number(header + 8, 8)};
        assert_true(cursor.length <= 1 << 20 && at + 24 + cursor.length <= d.size);
        assert_int_equal(decode_number(header + 4, 4), 0);
        assert_int_equal(decode_number(header + 16, 4), decode_crc(cursor.payload, cursor.length));
        assert_int_equal(decode_number(header + 20, 4), decode_crc(header, 20));
        at = (at + 24 + cursor.length + 7) / 8 * 8;
        if (memcmp(header, "END ", 4) == 0) {
            assert_int_equal(cursor.length, 16);
            assert_int_equal(decode_number(cursor.payload, 8), d.sections);
            assert_int_equal(decode_number(cursor.payload + 8, 8), d.size);
            assert_int_equal(at, d.size);
            break;
        }
        decode_payload(&d, (const char *)header, &cursor);
        d.sections++;
    }
    decode_resolve(&d);
    return d;
}

static inline struct decoded decode_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        fail_msg("there is no %s", path);
    }
    struct decoded d = decode_fd(fd);
    close(fd);
    return d;
}

/* The value of a key of HEAD, as written; NULL: it is not there. A key that is there twice fails. */
static inline const char *decode_fact(const struct decoded *d, const char *key)
{
    static char value[1 << 16];
    const char *found = NULL;
    for (const char *line = d->head, *next; line < d->head + d->head_length; line = next) {
        const char *end = memchr(line, '\n', (size_t)(d->head + d->head_length - line));
        assert_non_null(end);
        next = end + 1;
        size_t length = strlen(key);
        if ((size_t)(end - line) > length && memcmp(line, key, length) == 0 && line[length] == '=') {
            assert_null(found);
            memcpy(value, line + length + 1, (size_t)(end - line) - length - 1);
            value[(size_t)(end - line) - length - 1] = '\0';
            found = value;
        }
    }
    return found;
}

/* The text of a string as a C text, for the moment. */
static inline const char *decode_text(const struct decoded *d, uint32_t id)
{
    static char text[1 << 16];
    assert_true(id < d->string_count);
    memcpy(text, d->strings[id].text, d->strings[id].length);
    text[d->strings[id].length] = '\0';
    return text;
}

#endif
