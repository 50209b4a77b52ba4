/* SPDX-License-Identifier: MIT
 * Reading a field of an object by its offset, and mixing what was read into a hash.
 *
 * Each reader is one load on any compiler; memcpy says that neither type nor alignment is assumed.
 * The hash is a fold of 64 x 64 to 128 bit products. It tells contents apart within one process; it
 * is not for files and no defence against someone who wants a collision.
 *
 * Context: hook.
 */
#ifndef MP_PYSHIM_LAYOUT_READ_H
#define MP_PYSHIM_LAYOUT_READ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline const char *mp_py_read_ptr(const char *object, size_t offset)
{
    const char *value;

    memcpy(&value, object + offset, sizeof value);
    return value;
}

static inline int32_t mp_py_read_i32(const char *object, size_t offset)
{
    int32_t value;

    memcpy(&value, object + offset, sizeof value);
    return value;
}

static inline uint32_t mp_py_read_u32(const char *object, size_t offset)
{
    uint32_t value;

    memcpy(&value, object + offset, sizeof value);
    return value;
}

static inline int64_t mp_py_read_i64(const char *object, size_t offset)
{
    int64_t value;

    memcpy(&value, object + offset, sizeof value);
    return value;
}

static inline uint64_t mp_py_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product =
        (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd1b54a32d192ed03u);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t mp_py_read_u64(const char *data)
{
    uint64_t value;

    memcpy(&value, data, sizeof value);
    return value;
}

#if defined(__x86_64__)
/* Two chains of the processor's own CRC, eight bytes an instruction: before 3.12 the line table of each frame of each sample is
 * hashed, and often its file's name. From 16 bytes on; the end is read so that it overlaps what was read before it. */
__attribute__((target("sse4.2"), unused)) static uint64_t mp_py_crc(const char *data, size_t size, uint64_t seed)
{
    const char *const end = data + size;
    uint64_t a = (uint32_t)seed, b = (uint32_t)(seed >> 32) ^ (uint32_t)size;

    for (; end - data >= 32; data += 32) {
        a = __builtin_ia32_crc32di(a, mp_py_read_u64(data));
        b = __builtin_ia32_crc32di(b, mp_py_read_u64(data + 8));
        a = __builtin_ia32_crc32di(a, mp_py_read_u64(data + 16));
        b = __builtin_ia32_crc32di(b, mp_py_read_u64(data + 24));
    }
    if (end - data >= 16) {
        a = __builtin_ia32_crc32di(a, mp_py_read_u64(data));
        b = __builtin_ia32_crc32di(b, mp_py_read_u64(data + 8));
    }
    a = __builtin_ia32_crc32di(a, mp_py_read_u64(end - 16));
    b = __builtin_ia32_crc32di(b, mp_py_read_u64(end - 8));
    return a << 32 | b;
}
#endif

/* Two chains of products, so that neither waits for the other. The end is read so that it overlaps
 * what was read before it: all reads have a fixed size, which matters as most inputs are short. */
static inline uint64_t mp_py_hash(const char *data, size_t size, uint64_t seed)
{
    const char *const end = data + size;
    uint64_t a = seed, b = ~seed;

#if defined(__x86_64__)
    if (size >= 16 && __builtin_cpu_supports("sse4.2"))
        return mp_py_crc(data, size, seed);
#endif
    for (size_t left = size; left >= 32; left -= 32, data += 32) {
        a = mp_py_mix(mp_py_read_u64(data) ^ a, mp_py_read_u64(data + 8));
        b = mp_py_mix(mp_py_read_u64(data + 16) ^ b, mp_py_read_u64(data + 24));
    }
    if (size >= 16) {
        data = size >= 32 ? end - 32 : data;
        a = mp_py_mix(mp_py_read_u64(data) ^ a, mp_py_read_u64(data + 8));
        b = mp_py_mix(mp_py_read_u64(end - 16) ^ b, mp_py_read_u64(end - 8));
    } else if (size >= 8) {
        a = mp_py_mix(mp_py_read_u64(data) ^ a, mp_py_read_u64(end - 8));
    } else if (size >= 4) {
        a = mp_py_mix(mp_py_read_u32(data, 0) ^ a, mp_py_read_u32(end - 4, 0));
    } else if (size > 0) {
        uint64_t rest = (uint64_t)(uint8_t)data[size / 2] << 8 | (uint8_t)end[-1];

        a = mp_py_mix((uint8_t)data[0] ^ a, rest);
    }
    return mp_py_mix(a ^ size, b);
}

#endif
