/* SPDX-License-Identifier: MIT
 * A snapshot file on its way to the disk: see out.h, and FORMAT.md for every number here.
 *
 * Context: writer. No libc state, no allocation.
 */
#include "core/out.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/say.h"
#include "core/sys.h"

static uint32_t crc_tables[8][256]; /* made by the first writer: writers do not overlap */

static void crc_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) {
            c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0);
        }
        crc_tables[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int t = 1; t < 8; t++) {
            uint32_t c = crc_tables[t - 1][i];
            crc_tables[t][i] = crc_tables[0][c & 0xFF] ^ (c >> 8);
        }
    }
}

/* Eight bytes a step ("slicing by 8", Kounavis and Berry 2005). */
uint32_t mp_crc32(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint32_t c = 0xFFFFFFFFu;
    if (crc_tables[0][1] == 0) {
        crc_make();
    }
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= c;
        c = 0;
        for (int i = 0; i < 8; i++) {
            c ^= crc_tables[7 - i][(word >> (8 * i)) & 0xFF];
        }
    }
    while (size-- > 0) {
        c = crc_tables[0][(c ^ *p++) & 0xFF] ^ (c >> 8);
    }
    return ~c;
}

static int identify(int fd, uint64_t ret_id[2])
{
    struct stat now;
    long result = mp_sys_call(SYS_fstat, fd, (long)&now, 0, 0, 0, 0);
    if (result == 0) {
        ret_id[0] = now.st_dev;
        ret_id[1] = now.st_ino;
    }
    return (int)result;
}

/* Where the writer shares the program's descriptors (it could not have its own), the program may have closed ours
 * and opened something else in its place: not one byte of ours belongs there. */
static void flush(struct mp_out *out)
{
    uint64_t id[2] = {0, 0};
    if (out->error == 0 && (identify(out->fd, id) != 0 || id[0] != out->file_id[0] || id[1] != out->file_id[1])) {
        out->error = EBADF;
    }
    uint32_t done = 0;
    while (out->error == 0 && done < out->used) {
        long put = mp_sys_write(out->fd, out->buffer + done, out->used - done);
        if (put <= 0) {
            out->error = put == 0 ? EIO : (int)-put;
        } else {
            done += (uint32_t)put;
        }
    }
    out->written += out->used;
    out->used = 0;
}

void mp_out_start(struct mp_out *out, int fd)
{
    out->fd = fd;
    out->error = identify(fd, out->file_id) == 0 ? 0 : EBADF;
    out->written = out->sections = 0;
    out->used = 0;
    mp_out_bytes(out, "\x89MPROF\r\n\x01\0\x01\0", 12);
    mp_out_u32(out, mp_crc32(out->buffer, 12));
    flush(out);
}

void mp_out_begin(struct mp_out *out, const char tag[4], uint32_t flags)
{
    out->used = 0;
    mp_out_bytes(out, tag, 4);
    mp_out_u32(out, flags);
    memset(out->buffer + 8, 0, MP_OUT_HEADER - 8);
    out->used = MP_OUT_HEADER;
}

void mp_out_end(struct mp_out *out)
{
    uint64_t length = out->used - MP_OUT_HEADER;
    uint32_t crc = mp_crc32(out->buffer + MP_OUT_HEADER, length);
    memcpy(out->buffer + 8, &length, 8);
    memcpy(out->buffer + 16, &crc, 4);
    crc = mp_crc32(out->buffer, 20);
    memcpy(out->buffer + 20, &crc, 4);
    mp_out_pad(out);
    flush(out);
    out->sections++;
}

int mp_out_finish(struct mp_out *out)
{
    uint64_t sections = out->sections;
    mp_out_begin(out, "END ", 0);
    mp_out_u64(out, sections);
    mp_out_u64(out, out->written + MP_OUT_HEADER + 16);
    mp_out_end(out);
    return out->error;
}

uint32_t mp_out_room(const struct mp_out *out)
{
    return MP_OUT_CAPACITY - 8 - out->used; /* 8: the padding behind */
}

void mp_out_bytes(struct mp_out *out, const void *bytes, size_t size)
{
    if (size > mp_out_room(out)) {
        out->error = out->error != 0 ? out->error : EFBIG; /* a bug: sections are sized by their makers */
        return;
    }
    memcpy(out->buffer + out->used, bytes, size);
    out->used += (uint32_t)size;
}

void mp_out_u32(struct mp_out *out, uint32_t value)
{
    mp_out_bytes(out, &value, sizeof value);
}

void mp_out_u64(struct mp_out *out, uint64_t value)
{
    mp_out_bytes(out, &value, sizeof value);
}

void mp_out_pad(struct mp_out *out)
{
    while (out->used % 8 != 0) {
        out->buffer[out->used++] = 0;
    }
}

void mp_out_column(struct mp_out *out, const void *first, uint32_t count, uint32_t width, size_t stride)
{
    const char *from = first;
    for (uint32_t i = 0; i < count; i++, from += stride) {
        mp_out_bytes(out, from, width);
    }
    mp_out_pad(out);
}

void mp_out_fact(struct mp_out *out, const char *key, const char *value, size_t length)
{
    uint32_t start = out->used;
    size_t key_length = strlen(key);
    if (mp_out_room(out) < key_length + 2 + 3 * length) {
        return;
    }
    mp_out_bytes(out, key, key_length);
    mp_out_bytes(out, "=", 1);
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)value[i];
        if (c < 0x20 || c == 0x7F || c == '%') {
            char escaped[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
            mp_out_bytes(out, escaped, 3);
        } else {
            mp_out_bytes(out, &value[i], 1);
        }
    }
    mp_out_bytes(out, "\n", 1);
    if (out->error != 0) {
        out->used = start;
    }
}

void mp_out_fact_text(struct mp_out *out, const char *key, const char *value)
{
    mp_out_fact(out, key, value, strlen(value));
}

void mp_out_fact_number(struct mp_out *out, const char *key, uint64_t value)
{
    char digits[21];
    mp_out_fact_text(out, key, mp_say_number(value, digits));
}
