/* SPDX-License-Identifier: MIT
 * Fuzzes the line decoders: any table, any first line, any instruction.
 *
 * The input is four bytes of first line, four of instruction, and the table. A model that keeps
 * every entry's range and says what it finds must agree with the decoder: for two of the formats it
 * is so short that it can be written a second time here.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pyshim/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Line at each byte address up to limit by the rules of Objects/lnotab_notes.txt, slowly. */
static int model_lnotab(const uint8_t *table, size_t size, int firstline, int instr)
{
    uint32_t line = (uint32_t)firstline;
    int64_t start = 0;

    for (size_t i = 0; i < size / 2; i++) {
        int delta = table[2 * i + 1] < 128 ? table[2 * i + 1] : table[2 * i + 1] - 256;

        start += table[2 * i];
        if (instr < start)
            return (int)line;
        line += (uint32_t)delta;
    }
    return (int)line;
}

static int model_linetable(const uint8_t *table, size_t size, int firstline, int instr)
{
    uint32_t line = (uint32_t)firstline;
    int64_t start = 0;

    for (size_t i = 0; i < size / 2; i++) {
        int delta = table[2 * i + 1] < 128 ? table[2 * i + 1] : table[2 * i + 1] - 256;
        int64_t end = start + table[2 * i];

        line += delta != -128 ? (uint32_t)delta : 0;
        if (start <= instr && instr < end)
            return delta != -128 ? (int)line : -1;
        start = end;
    }
    return -1;
}

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int32_t firstline, instr;
    uint8_t *table;

    if (size < 8)
        return 0;
    memcpy(&firstline, data, 4);
    memcpy(&instr, data + 4, 4);
    size -= 8;
    table = malloc(size != 0 ? size : 1); /* its end is the block's: a sanitizer sees one past it */
    if (table == NULL)
        return 0;
    memcpy(table, data + 8, size);

    require(mp_py_lines_lnotab(table, size, firstline, -1) == firstline);
    require(mp_py_lines_linetable(table, size, firstline, -1) == firstline);
    require(mp_py_lines_locations(table, size, firstline, -1) == firstline);
    for (int i = 0; i < 64; i++) {
        /* What was asked, then near the table's beginning: where lines are found. */
        int at = i == 0 ? instr & INT32_MAX : (int)((uint32_t)(instr & 7) + (uint32_t)i * 6);

        require(mp_py_lines_lnotab(table, size, firstline, at) ==
                model_lnotab(table, size, firstline, at));
        require(mp_py_lines_linetable(table, size, firstline, at) ==
                model_linetable(table, size, firstline, at));
        (void)mp_py_lines_locations(table, size, firstline, at);
    }
    free(table);
    return 0;
}
