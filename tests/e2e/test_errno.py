# SPDX-License-Identifier: MIT
"""errno is the program's, and what cannot be had is refused as libc refuses it: the same table with and without us."""
from __future__ import annotations

from typing import List

import cc
import pytest
from harness import RawFile, Running, marks, wait_until

EXACT = {"MPROFILERATE": "1"}
HOLD = "print('ready', flush=True)\nsys.stdin.read()\n"


def lost(raw: RawFile) -> List[str]:
    return sorted(key for key in raw.head if key.startswith("lost."))


def ended_well(program: Running, status: int = 0) -> None:
    assert program.finish() == status, program.stderr
    assert program.stderr == ""


#: A table of calls: result, errno before 4321 and after, for the same program with and without us.
ERRNO = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t sizes[] = {0, 1, 24, 512, 513, 5000, 200000, 3000000, (size_t)1 << 40, (size_t)1 << 47, (size_t)1 << 61, (size_t)1 << 62,
                               PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX};
static volatile size_t hidden; /* so that no call is judged by the compiler */

#define ROW(call, name)                                                                                   \
    do {                                                                                                  \
        errno = 4321;                                                                                     \
        void *got = (void *)(call);                                                                       \
        int after = errno;                                                                                \
        printf("%s %zx %s %d\n", name, size, got == NULL ? "null" : got == MAP_FAILED ? "failed" : "block", after); \
        if (got != NULL && got != MAP_FAILED && got != (void *)22 && got != (void *)12) {                 \
            errno = 4321;                                                                                 \
            free(got);                                                                                    \
            if (errno != 4321) {                                                                          \
                printf("free changed errno to %d\n", errno);                                              \
            }                                                                                             \
        }                                                                                                 \
    } while (0)

static void *aligned(size_t alignment, size_t size)
{
    void *block = (void *)1;
    int result = posix_memalign(&block, alignment, size);
    return result == 0 ? block : (void *)(uintptr_t)result;
}

static void mapped(size_t size)
{
    errno = 4321;
    char *got = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    printf("mmap %zx %d %d\n", size, got == MAP_FAILED, errno);
    if (got == MAP_FAILED) {
        return;
    }
    errno = 4321;
    char *moved = mremap(got, size, size + 8192, MREMAP_MAYMOVE);
    printf("mremap %d %d\n", moved == MAP_FAILED, errno);
    errno = 4321;
    void *worse = mremap(moved, size + 8192, SIZE_MAX - 8191, MREMAP_MAYMOVE);
    printf("mremap too much %d %d\n", worse == MAP_FAILED, errno);
    errno = 4321;
    int result = munmap(moved, size + 8192);
    printf("munmap %d %d\n", result, errno);
    errno = 4321;
    result = munmap(moved + 1, size);
    printf("munmap askew %d %d\n", result, errno);
}

int main_of_it(void)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        hidden = sizes[i];
        size_t size = hidden;
        if (size == (size_t)1 << 40) { /* depends on how the machine overcommits */
            mapped(size);
            continue;
        }
        ROW(malloc(size), "malloc");
        ROW(calloc(1, size), "calloc");
        ROW(calloc(size, 3), "calloc by 3");
        ROW(calloc(size, size), "calloc squared");
        ROW(realloc(NULL, size), "realloc of null");
        ROW(reallocarray(NULL, size, 2), "reallocarray");
        ROW(aligned(64, size), "posix_memalign");
        ROW(aligned(3, size), "posix_memalign 3");
        ROW(aligned_alloc(64, size), "aligned_alloc");
        ROW(memalign(256, size), "memalign");
        ROW(memalign(SIZE_MAX / 2 + 2, size), "memalign too much");
        ROW(valloc(size), "valloc");
        ROW(pvalloc(size), "pvalloc");
        char *block = malloc(100);
        memset(block, 7, 100);
        errno = 4321;
        char *grown = realloc(block, size);
        printf("realloc %zx %d %d\n", size, grown == NULL, errno);
        if (grown != NULL || size == 0) {
            free(grown);
        } else {
            errno = 4321;
            grown = reallocarray(block, size, 16);
            printf("reallocarray %zx %d %d, still %d\n", size, grown == NULL, errno, block[99]);
            free(block);
        }
        mapped(size);
    }
    size_t size = 0;
    errno = 4321;
    free(NULL);
    printf("free of null %d\n", errno);
    errno = 4321;
    void *got = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0);
    printf("mmap of no file %d %d\n", got == MAP_FAILED, errno);
    errno = 4321;
    got = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1);
    printf("mmap at an odd offset %d %d\n", got == MAP_FAILED, errno);
    errno = 4321;
    got = mremap((void *)4096, 4096, 8192, 0);
    printf("mremap of nothing %d %d\n", got == MAP_FAILED, errno);
    fflush(stdout);
    return 97 + (int)size;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("rate, native", [("1", "0"), ("1", "1"), ("4k", "0"), ("128k", "0")])
def test_errno_and_impossible_sizes_as_libc_has_them(python, run, tmp_path, rate, native):
    cc.library(ERRNO, tmp_path / "table.so")
    source = """
        import ctypes, sys
        assert ctypes.CDLL("./table.so").main_of_it() == 97
        print('ready', flush=True)
        sys.stdin.read()
        """
    alone = run(python, source, preload=False)
    assert alone.finish() == 0
    program = run(python, source, env={"MPROFILERATE": rate, "MPROFILENATIVE": native})
    ended_well(program)
    told, truth = program.stdout.splitlines(), alone.stdout.splitlines()
    assert told == truth
    assert len(told) > 200 and told[-1] == "ready"
    assert "malloc ffffffffffffffff null 12" in told and "malloc 200000 block 4321" not in told
    assert "malloc 30d40 block 4321" in told and "calloc squared ffffffffffffffff null 12" in told
    assert not [line for line in told if line.startswith("free changed")]


#: What could not be had leaves its record as it was.
REFUSED = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
static volatile size_t hidden = SIZE_MAX;
static void *blocks[3];
int refused(void)
{
    int wrong = 0;
    blocks[0] = malloc(1000003);
    blocks[1] = malloc(703);
    blocks[2] = mmap(NULL, 1003520, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 100; i++) {
        wrong += realloc(blocks[0], hidden) != NULL;
        wrong += reallocarray(blocks[1], hidden, 2) != NULL;
        wrong += realloc(blocks[1], hidden / 2) != NULL;
        wrong += mremap(blocks[2], 1003520, hidden - 8191, MREMAP_MAYMOVE) != MAP_FAILED;
        wrong += mremap(blocks[2], 1003520, (size_t)1 << 50, MREMAP_MAYMOVE) != MAP_FAILED;
        wrong += malloc(hidden) != NULL || calloc(hidden, hidden) != NULL || calloc(1, hidden) != NULL;
    }
    return wrong;
}
"""


@pytest.mark.few
def test_what_was_refused_is_not_recorded(python, run, tmp_path):
    cc.library(REFUSED, tmp_path / "refused.so")
    source = "import ctypes, sys\nassert ctypes.CDLL('./refused.so').refused() == 0  # @line\n" + HOLD
    program = run(python, source, env=EXACT).ready()
    raw = RawFile(program.dump())
    line = marks(source)["line"]
    own = [one for one in raw.live if one.domain >= 3 and one.stack[0].line == line and one.stack[0].file.endswith("app.py")]
    own = [one for one in own if one.size in (1000003, 703, 1003520) or one.size > 2000000]
    assert sorted(one.size for one in own) == [703, 1000003, 1003520] and not lost(raw)
    ended_well(program)


#: errno is looked at around each call, as fast as can be, while snapshots are taken of it.
WATCH = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
int stop;
long turns;
int watch(void)
{
    int wrong = 0;
    errno = 4321;
    for (; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turns++) {
        char *block = malloc(1 + (size_t)(turns % 5000));
        wrong += errno != 4321;
        block = realloc(block, 1 + (size_t)(turns % 7000));
        wrong += errno != 4321;
        free(block);
        wrong += errno != 4321;
        void *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        wrong += errno != 4321;
        munmap(map, 65536);
        wrong += errno != 4321;
        if (wrong) {
            errno = 4321;
        }
    }
    return wrong;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("env", [{}, {"MPROFILENATIVE": "1"}, {"MPROFILEOUT": "/proc/no/such/folder/x.bin"}],
                         ids=["plain", "native", "no folder"])
def test_errno_while_snapshots_are_taken(python, run, tmp_path, env):
    cc.library(WATCH, tmp_path / "watch.so")
    program = run(python, """
        import ctypes, sys, threading
        watch = ctypes.CDLL("./watch.so")
        said = []
        threads = [threading.Thread(target=lambda: said.append(watch.watch())) for _ in range(2)]
        for thread in threads:
            thread.start()
        print('ready', flush=True)
        sys.stdin.read()
        ctypes.c_int.in_dll(watch, "stop").value = 1
        for thread in threads:
            thread.join()
        print(*said, ctypes.c_long.in_dll(watch, "turns").value > 1000)
        """, env={**EXACT, **env}).ready()
    for number in range(1, 6):
        if "MPROFILEOUT" in env:
            program.signal()
            wait_until(lambda: len(program.stderr.splitlines()) >= number, "a line on standard error")
        else:
            program.dump(number)
    assert program.finish() == 0
    assert program.stdout == "0 0 True\n"
