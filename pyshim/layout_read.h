/* SPDX-License-Identifier: MIT
 * Reading a field of an object by its offset.
 *
 * Each reader is one load on any compiler; memcpy says that neither type nor alignment is assumed.
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

#endif
