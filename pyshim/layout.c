/* SPDX-License-Identifier: MIT
 * The layout tables of every CPython that is supported.
 *
 * The tables are files of their own because a program writes them (pyshim/layouts/generate.sh) and
 * a test compares them with what it would write today. A table holds for all releases of its minor
 * version: CPython does not move fields between patch releases.
 *
 * For a new version: generate its table (and the free-threaded one), include it below, and see what
 * tests/pyshim/test_walk.py says of it; a new enum value or field of struct mp_py_layout is needed
 * only where frames or line tables work in a new way.
 *
 * Context: constant data, any context.
 */
#include "pyshim/layout.h"

#include <stddef.h>

#include "pyshim/layouts/py308.inc"
#include "pyshim/layouts/py309.inc"
#include "pyshim/layouts/py310.inc"
#include "pyshim/layouts/py311.inc"
#include "pyshim/layouts/py312.inc"
#include "pyshim/layouts/py313.inc"
#include "pyshim/layouts/py313t.inc"
#include "pyshim/layouts/py314.inc"
#include "pyshim/layouts/py314t.inc"
#include "pyshim/layouts/py315.inc"
#include "pyshim/layouts/py315t.inc"

static const struct mp_py_layout *const tables[] = {
    &py308,  &py309, &py310,  &py311, &py312,  &py313,
    &py313t, &py314, &py314t, &py315, &py315t,
};

const struct mp_py_layout *mp_py_layout_find(int minor, bool free_threaded)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (tables[i]->minor == minor && tables[i]->free_threaded == free_threaded)
            return tables[i];
    }
    return NULL;
}
