/* SPDX-License-Identifier: MIT
 * What of a range of addresses is resident: see resident.h.
 *
 * A word a page: see the kernel's Documentation/admin-guide/mm/pagemap.rst. Bits 63, 61 and 56 may be read by everybody since Linux 4.2.
 *
 * Context: writer.
 */
#include "core/resident.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "core/sys.h"

#define PAGE ((uint64_t)4096)
#define STEP 4096u
#define PRESENT ((uint64_t)1 << 63)
#define OF_FILE ((uint64_t)1 << 61)
#define EXCLUSIVE ((uint64_t)1 << 56)

static uint64_t words[STEP];
static uint64_t pages_left;
static int table = -1;

bool mp_resident_begin(void)
{
    table = mp_sys_open("/proc/self/pagemap", O_RDONLY, 0);
    pages_left = MP_RESIDENT_PAGES;
    return table >= 0;
}

void mp_resident_end(void)
{
    mp_sys_close(table);
    table = -1;
}

static void count(uint64_t word, struct mp_resident *into)
{
    if ((word & PRESENT) == 0) {
        return;
    }
    if (word & OF_FILE) {
        into->shared += PAGE;
    } else if (word & EXCLUSIVE) {
        into->own += PAGE;
    } else {
        into->copied += PAGE;
    }
}

bool mp_resident_ask(uint64_t low, uint64_t high, struct mp_resident *ret)
{
    uint64_t page = low / PAGE, end = high / PAGE + (high % PAGE != 0);
    *ret = (struct mp_resident){0};
    if (table < 0 || end < page || end - page > pages_left) {
        return false;
    }
    pages_left -= end - page;
    while (page < end) {
        uint64_t wanted = end - page < STEP ? end - page : STEP;
        long got = mp_sys_call(SYS_pread64, table, (long)words, (long)(wanted * sizeof *words),
                               (long)(page * sizeof *words), 0, 0);
        if (got < (long)sizeof *words) {
            return false;
        }
        wanted = (uint64_t)got / sizeof *words;
        for (uint64_t i = 0; i < wanted; i++) {
            count(words[i], ret);
        }
        page += wanted;
    }
    return true;
}

uint64_t mp_resident_bytes(uint64_t low, uint64_t high)
{
    struct mp_resident found;
    return mp_resident_ask(low, high, &found) ? found.own + found.copied : 0;
}
