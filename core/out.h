/* SPDX-License-Identifier: MIT
 * A snapshot file on its way to the disk: sections, checksums, one buffer.
 *
 * A section is built whole in the buffer, closed with its length and checksums, and written with one call. The first
 * error sticks: what follows is a no-op, and the caller asks once, at the end.
 *
 * Context: writer. One at a time.
 */
#ifndef MP_CORE_OUT_H
#define MP_CORE_OUT_H

#include "core/base.h"

#define MP_OUT_CAPACITY (64u * 1024)
#define MP_OUT_HEADER 24u

struct mp_out {
    int fd;
    int error; /* positive errno of the first failure */
    uint64_t file_id[2]; /* device and inode of fd when it was opened; checked before each write */
    uint64_t written;
    uint64_t sections;
    uint32_t used; /* of buffer, the section's header included */
    char buffer[MP_OUT_CAPACITY];
};

/* Begins a file on fd with the magic. */
void mp_out_start(struct mp_out *out, int fd);
void mp_out_begin(struct mp_out *out, const char tag[4], uint32_t flags);
void mp_out_end(struct mp_out *out);
/* Writes the END section. 0, or the first error (positive errno). */
int mp_out_finish(struct mp_out *out);

/* Bytes still free in the section being built. */
uint32_t mp_out_room(const struct mp_out *out);
void mp_out_bytes(struct mp_out *out, const void *bytes, size_t size);
void mp_out_u32(struct mp_out *out, uint32_t value);
void mp_out_u64(struct mp_out *out, uint64_t value);
/* Zero bytes up to a multiple of 8. */
void mp_out_pad(struct mp_out *out);
/* One column: `count` numbers of `width` bytes, `stride` apart from first; then padding. */
void mp_out_column(struct mp_out *out, const void *first, uint32_t count, uint32_t width, size_t stride);
/* HEAD lines. Values are escaped as FORMAT.md says; a line that does not fit is left out. */
void mp_out_fact(struct mp_out *out, const char *key, const char *value, size_t length);
void mp_out_fact_text(struct mp_out *out, const char *key, const char *value);
void mp_out_fact_number(struct mp_out *out, const char *key, uint64_t value);

uint32_t mp_crc32(const void *bytes, size_t size);

#endif
