/* SPDX-License-Identifier: MIT
 * Where sampled mappings begin: see spans.h. A sorted array: finding halves, putting in moves what is above.
 *
 * Context: hook, under the profile's lock.
 */
#include "core/spans.h"

#include <string.h>

#include "core/sys.h"

#define FIRST_ROOM 512u /* a page */

uint32_t mp_spans_count; /* written under the lock, read without */
static uint64_t *spans;
static uint32_t room;

/* How many are below the address. */
static uint32_t rank(uint64_t address)
{
    uint32_t low = 0, high = mp_spans_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (spans[middle] < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int grow(void)
{
    uint32_t wanted = room == 0 ? FIRST_ROOM : room * 2;
    if (wanted > MP_SPANS_MAX) {
        return MP_ERR_FULL;
    }
    uint64_t *more = mp_sys_map(wanted * sizeof *more);
    if (more == NULL) {
        return MP_ERR_MEMORY;
    }
    if (room != 0) {
        memcpy(more, spans, mp_spans_count * sizeof *more);
        mp_sys_unmap(spans, room * sizeof *spans);
    }
    spans = more;
    room = wanted;
    return MP_OK;
}

static void set_count(uint32_t count)
{
    __atomic_store_n(&mp_spans_count, count, __ATOMIC_RELAXED);
}

int mp_spans_add(uint64_t start)
{
    uint32_t at = rank(start);
    if (at < mp_spans_count && spans[at] == start) {
        return MP_OK;
    }
    if (mp_spans_count == room) {
        int result = grow();
        if (result < 0) {
            return result;
        }
    }
    memmove(&spans[at + 1], &spans[at], (mp_spans_count - at) * sizeof *spans);
    spans[at] = start;
    set_count(mp_spans_count + 1);
    return MP_OK;
}

void mp_spans_remove(uint64_t start)
{
    uint32_t at = rank(start);
    if (at < mp_spans_count && spans[at] == start) {
        memmove(&spans[at], &spans[at + 1], (mp_spans_count - at - 1) * sizeof *spans);
        set_count(mp_spans_count - 1);
    }
}

uint64_t mp_spans_from(uint64_t address)
{
    uint32_t at = rank(address);
    return at < mp_spans_count ? spans[at] : 0;
}

uint64_t mp_spans_below(uint64_t address)
{
    uint32_t at = rank(address);
    return at > 0 ? spans[at - 1] : 0;
}
