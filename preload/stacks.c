/* SPDX-License-Identifier: MIT
 * The stacks of threads: see stacks.h.
 *
 * The control block of glibc is smaller than a page, so its page is the stack's last one (x86-64; on aarch64 the thread's static TLS lies
 * above and is not counted). The stack's beginning is its mapping's, which is exact where a guard page lies before it.
 * Where none does (glibc 2.42 makes guards that are no mappings) neighbours are one mapping: then a stack
 * begins where the one below ends, and is no larger than a new thread's is by default.
 *
 * All is bounded: so many threads, so many bytes of /proc/self/maps, so many pages looked at.
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
#include "core/sys.h"

#define PAGE 4096u
#define THREADS_MAX 4096u
#define MAPS_MAX (16u << 20)
/* 64 GiB of stacks. */
#define PAGES_MAX (16u << 20)
#define DEFAULT_SIZE (2u << 20) /* of a new thread's stack where the limit is "unlimited" */

struct mapping {
    uintptr_t start, end;
    bool open;    /* may be read or written */
    bool guarded; /* right behind one that may not */
};

struct parser {
    struct mapping now, last;
    uint32_t field, place; /* of the line: 0 start, 1 end, 2 permissions, and what follows */
};

static uintptr_t main_block;
static uintptr_t blocks[THREADS_MAX]; /* an address in each control block, ascending */
static char buffer[16 * 1024] __attribute__((aligned(8)));

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

/* True once a line is whole: then `now` is its mapping. */
static bool parse(struct parser *parser, char c)
{
    struct mapping *now = &parser->now;
    if (c == '\n') {
        now->guarded = parser->last.end == now->start && !parser->last.open;
        parser->field = parser->place = 0;
        return true;
    }
    if (c == ' ' || (c == '-' && parser->field == 0)) {
        parser->field += parser->field < 3;
        parser->place = 0;
        return false;
    }
    uintptr_t digit = (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    if (parser->field == 0) {
        now->start = parser->place == 0 ? digit : now->start << 4 | digit;
    } else if (parser->field == 1) {
        now->end = parser->place == 0 ? digit : now->end << 4 | digit;
    } else if (parser->field == 2) {
        now->open = (parser->place != 0 && now->open) || c == 'r' || c == 'w';
    }
    parser->place++;
    return false;
}

/* Stacks in one mapping, the next of them first. */
static uint64_t measure(const struct mapping *mapping, uint32_t *next, uint32_t count, uintptr_t limit, uint64_t *room)
{
    uint64_t bytes = 0;
    uintptr_t low = mapping->start;
    bool exact = mapping->guarded;
    for (; *next < count && blocks[*next] < mapping->end && *room > 0; ++*next) {
        uintptr_t high = (blocks[*next] & ~(uintptr_t)(PAGE - 1)) + PAGE;
        if (high <= low) {
            continue; /* ended, and another took its stack meanwhile */
        }
        if (!exact && high - low > limit) {
            low = high - limit;
        }
        bytes += mp_sys_resident(low, high);
        *room -= *room < (high - low) / PAGE ? *room : (high - low) / PAGE;
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
    int fd = count == 0 ? -1 : mp_sys_open("/proc/self/maps", O_RDONLY, 0);
    if (fd < 0) {
        return 0;
    }
    uint64_t bytes = 0, room = PAGES_MAX, seen = 0;
    uintptr_t limit = default_size();
    uint32_t next = 0;
    struct parser parser = {.field = 0};
    long got;
    while (next < count && room > 0 && seen < MAPS_MAX && (got = mp_sys_read(fd, buffer, sizeof buffer)) > 0) {
        for (long i = 0; i < got && next < count; i++) {
            if (!parse(&parser, buffer[i])) {
                continue;
            }
            while (next < count && blocks[next] < parser.now.start) {
                next++; /* its stack is gone */
            }
            uint32_t first = next;
            if (parser.now.open) {
                bytes += measure(&parser.now, &next, count, limit, &room);
            }
            *ret_threads += next - first;
            parser.last = parser.now;
        }
        seen += (uint64_t)got;
    }
    mp_sys_close(fd);
    return bytes;
}
