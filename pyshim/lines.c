/* SPDX-License-Identifier: MIT
 * The line of an instruction, from a code object's line table.
 *
 * CPython has had three formats. Each is walked from its beginning to the entry that covers the
 * instruction; there is no index. The tables come from code objects, and anyone can make those
 * (marshal, code.replace), so each decoder takes any bytes.
 *
 * Invariants:
 * - nothing outside table[0..size) is read;
 * - lines are added up as uint32_t: garbage deltas wrap instead of being undefined.
 *
 * Context: hook.
 */
#include "pyshim/walk.h"

#include "pyshim/layout_read.h"

#define CODE_UNIT 2

/* No line table is longer; a length beyond it is not a length. */
#define TABLE_MAX (INT64_C(1) << 31)

int mp_py_lines_lnotab(const uint8_t *table, size_t size, int firstline, int instr)
{
    uint32_t line = (uint32_t)firstline;
    uint64_t address = 0;

    if (instr < 0)
        return firstline;
    for (size_t i = 0; i + 1 < size; i += 2) {
        int delta = (int8_t)table[i + 1];

        address += table[i];
        if (address > (uint64_t)instr)
            break;
        line += (uint32_t)delta;
    }
    return (int)line;
}

int mp_py_lines_linetable(const uint8_t *table, size_t size, int firstline, int instr)
{
    uint32_t line = (uint32_t)firstline;
    uint64_t address = 0;

    if (instr < 0)
        return firstline;
    for (size_t i = 0; i + 1 < size; i += 2) {
        int delta = (int8_t)table[i + 1];
        bool has_line = delta != INT8_MIN;

        if (has_line)
            line += (uint32_t)delta;
        address += table[i];
        if (address > (uint64_t)instr)
            return has_line ? (int)line : -1;
    }
    return -1;
}

/* Location entries: a byte with the high bit set (four bits of kind, three of length less one),
 * then what the kind asks for in bytes that have it clear. */
enum {
    ENTRY_START = 0x80,
    KIND_ONE_LINE = 10, /* 10, 11, 12: that less ten lines further */
    KIND_NO_COLUMNS = 13,
    KIND_LONG = 14,
    KIND_NONE = 15,
};

/* A signed number in bytes of six bits, least first, 0x40: more follow; its lowest bit is the sign.
 * Returns whether it is whole. */
static bool read_svarint(const uint8_t *at, const uint8_t *end, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (unsigned shift = 0; at < end && *at < ENTRY_START; at++, shift += 6) {
        if (shift < 32)
            value |= (uint32_t)(*at & 0x3f) << shift;
        if (!(*at & 0x40)) {
            *ret_value = value & 1 ? 0u - (value >> 1) : value >> 1;
            return true;
        }
    }
    return false;
}

int mp_py_lines_locations(const uint8_t *table, size_t size, int firstline, int instr)
{
    const uint8_t *at = table, *const end = table + size;
    uint32_t line = (uint32_t)firstline;
    uint64_t address = 0;

    if (instr < 0)
        return firstline;
    while (at < end && *at >= ENTRY_START) {
        unsigned head = *at++;
        unsigned kind = (head >> 3) & 15;

        if (kind == KIND_NO_COLUMNS || kind == KIND_LONG) {
            uint32_t delta;

            if (!read_svarint(at, end, &delta))
                return -1;
            line += delta;
        } else if (kind >= KIND_ONE_LINE && kind != KIND_NONE) {
            line += kind - KIND_ONE_LINE;
        }
        address += ((head & 7) + 1) * CODE_UNIT;
        if (address > (uint64_t)instr)
            return kind == KIND_NONE ? -1 : (int)line;
        while (at < end && *at < ENTRY_START)
            at++;
    }
    return -1;
}

/* The bytes of the code's table; false where there is none. */
static bool line_table(const struct mp_py_layout *layout, const char *code, const char **ret_data,
                       size_t *ret_size)
{
    const char *bytes = mp_py_read_ptr(code, layout->code.linetable);
    int64_t size;

    if (bytes == NULL)
        return false;
    size = mp_py_read_i64(bytes, layout->bytes.size);
    if (size < 0 || size > TABLE_MAX)
        return false;
    *ret_data = bytes + layout->bytes.data;
    *ret_size = (size_t)size;
    return true;
}

int mp_py_code_line_nopy(const struct mp_py_layout *layout, const char *code, int instr)
{
    int firstline = mp_py_read_i32(code, layout->code.firstlineno);
    const char *data;
    size_t size;
    int line = -1;

    if (instr < 0 || !line_table(layout, code, &data, &size))
        return firstline;
    switch (layout->lines) {
    case MP_PY_LINES_LNOTAB:
        line = mp_py_lines_lnotab((const uint8_t *)data, size, firstline, instr);
        break;
    case MP_PY_LINES_LINETABLE:
        line = mp_py_lines_linetable((const uint8_t *)data, size, firstline, instr);
        break;
    case MP_PY_LINES_LOCATIONS:
        line = mp_py_lines_locations((const uint8_t *)data, size, firstline, instr);
        break;
    }
    return line < 0 ? firstline : line;
}
