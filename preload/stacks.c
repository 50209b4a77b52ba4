/* SPDX-License-Identifier: MIT
 * The stacks of threads: see stacks.h.
 *
 * The control block of glibc is smaller than a page, so its page is the stack's last one (x86-64; on aarch64 the thread's static TLS lies
 * above and is not counted). The stack's beginning is its mapping's, which is exact where a guard page lies before it.
 * Where none does (glibc 2.42 makes guards that are no mappings) neighbours are one mapping: then a stack
 * begins where the one below ends, and is no larger than a new thread's is by default.
 *
 * All is bounded: so many threads, so much of /proc/self/maps, so many pages looked at.
 *
 * Invariants: addresses are numbers here; a thread may end, and its stack go, at any moment.
 * Context: writer, one at a time.
 */
#include "preload/stacks.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/base.h"
#include "core/maps.h"
#include "core/resident.h"
#include "core/sys.h"

#define PAGE 4096u
#define THREADS_MAX 4096u
#define DEFAULT_SIZE (2u << 20) /* of a new thread's stack where the limit is "unlimited" */

static uintptr_t main_block;
static uintptr_t blocks[THREADS_MAX]; /* an address in each control block, ascending */
static char buffer[4 * 1024] __attribute__((aligned(8)));
static struct mp_maps maps;

/* 0: not known. */
static uintptr_t block_of(int tid)
{
    uintptr_t head = 0;
    size_t size = 0;
    return mp_sys_call(SYS_get_robust_list, tid, (long)&head, (long)&size, 0, 0, 0) == 0 ? head : 0;
}

void mp_stacks_init(void)
{
    main_block = block_of(mp_sys_getpid());
}

static int number_of(const char *name)
{
    int number = 0;
    for (; *name >= '0' && *name <= '9'; name++) {
        number = number * 10 + (*name - '0');
    }
    return number;
}

static uint32_t find_blocks(void)
{
    struct entry { /* linux_dirent64 */
        uint64_t inode;
        int64_t offset;
        uint16_t length;
        uint8_t type;
        char name[];
    };
    int fd = mp_sys_open("/proc/self/task", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return 0;
    }
    uint32_t count = 0;
    long got;
    while ((got = mp_sys_call(SYS_getdents64, fd, (long)buffer, sizeof buffer, 0, 0, 0)) > 0) {
        for (long at = 0; at < got && count < THREADS_MAX;) {
            const struct entry *entry = (const struct entry *)(const void *)(buffer + at);
            int tid = number_of(entry->name);
            uintptr_t block = tid > 0 ? block_of(tid) : 0;
            if (block != 0 && block != main_block) {
                blocks[count++] = block;
            }
            at += entry->length;
        }
    }
    mp_sys_close(fd);
    return count;
}

static void sort_blocks(uint32_t count)
{
    for (uint32_t gap = 1093; gap > 0; gap /= 3) { /* 1, 4, 13, …: Shell's */
        for (uint32_t i = gap; i < count; i++) {
            uintptr_t moved = blocks[i];
            uint32_t j = i;
            for (; j >= gap && blocks[j - gap] > moved; j -= gap) {
                blocks[j] = blocks[j - gap];
            }
            blocks[j] = moved;
        }
    }
}

static uintptr_t default_size(void)
{
    struct rlimit limit = {DEFAULT_SIZE, DEFAULT_SIZE};
    mp_sys_call(SYS_prlimit64, 0, RLIMIT_STACK, 0, (long)&limit, 0, 0);
    return limit.rlim_cur == RLIM_INFINITY ? DEFAULT_SIZE : (limit.rlim_cur + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
}

/* Stacks in one mapping, the next of them first. guarded: it is right behind one that may not be touched. *ret_full: enough was asked. */
static uint64_t measure(const struct mp_mapping *mapping, bool guarded, uint32_t *next, uint32_t count, uintptr_t limit,
                        bool *ret_full)
{
    uint64_t bytes = 0;
    uintptr_t low = mapping->start;
    bool exact = guarded;
    for (; *next < count && blocks[*next] < mapping->end; ++*next) {
        uintptr_t high = (blocks[*next] & ~(uintptr_t)(PAGE - 1)) + PAGE;
        if (high <= low) {
            continue; /* ended, and another took its stack meanwhile */
        }
        if (!exact && high - low > limit) {
            low = high - limit;
        }
        struct mp_resident pages;
        if (!mp_resident_ask(low, high, &pages)) {
            *ret_full = true;
            break;
        }
        bytes += pages.own + pages.copied;
        low = high;
        exact = false;
    }
    return bytes;
}

uint64_t mp_stacks_resident(uint32_t *ret_threads)
{
    *ret_threads = 0;
    uint32_t count = find_blocks();
    sort_blocks(count);
    if (count == 0 || !mp_maps_open(&maps)) {
        return 0;
    }
    uint64_t bytes = 0;
    bool full = !mp_resident_begin();
    bool asked = !full;
    uintptr_t limit = default_size();
    uint32_t next = 0;
    struct mp_mapping now, last = {0};
    for (; next < count && !full && mp_maps_next(&maps, &now); last = now) {
        while (next < count && blocks[next] < now.start) {
            next++; /* its stack is gone */
        }
        uint32_t first = next;
        if (now.open) {
            bytes += measure(&now, last.end == now.start && !last.open, &next, count, limit, &full);
        }
        *ret_threads += next - first;
    }
    if (asked) {
        mp_resident_end();
    }
    mp_maps_close(&maps);
    return bytes;
}
