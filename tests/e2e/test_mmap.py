# SPDX-License-Identifier: MIT
"""Anonymous mappings that grow, move, are cut, put over one another and refused: what is live of them is what is mapped."""
from __future__ import annotations

import cc
import pytest
from harness import RawFile, by_line, marks

MIB = 1 << 20
pytestmark = pytest.mark.few

CODE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define M (1ul << 20)

static char *map(size_t size) { return mmap(NULL, size, RW, ANON, -1, 0); }

/* From a page to 4 MiB, as a realloc of one's own does it. */
void grow(int count)
{
    for (int i = 0; i < count; i++) {
        char *p = map(4096);
        for (size_t size = 4096; size < 4 * M; size *= 2)
            p = mremap(p, size, 2 * size, MREMAP_MAYMOVE);
    }
}

void shared(void)
{
    char *p = mmap(NULL, M, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mremap(p, M, 6 * M, MREMAP_MAYMOVE);
}

void descriptor(void) { mmap(NULL, 10 * M, RW, ANON, 0, 0); }

void of_a_file(int fd)
{
    char *p = mmap(NULL, 5 * M, RW, MAP_PRIVATE, fd, 0);
    mremap(p, 5 * M, 9 * M, MREMAP_MAYMOVE);
}

/* Two neighbours, moved as one, and unmapped. */
void several(void)
{
    char *room = mmap(NULL, 80 * M, PROT_NONE, ANON, -1, 0), *p = room + 20 * M;
    mmap(p, 10 * M, RW, ANON | MAP_FIXED, -1, 0);
    mmap(p + 10 * M, 10 * M, RW, ANON | MAP_FIXED, -1, 0);
    char *q = mremap(p, 20 * M, 40 * M, MREMAP_MAYMOVE);
    munmap(q, 40 * M);
}

/* All are refused, and all stays: 10 MiB each. */
int refused(void)
{
    char *p[4];
    for (int i = 0; i < 4; i++)
        memset(p[i] = map(10 * M), 1, 10 * M);
    return mmap(p[0], 10 * M, RW, MAP_FIXED | MAP_SHARED, -1, 0) == MAP_FAILED &&
           mremap(p[1], 5 * M, 1ul << 46, MREMAP_MAYMOVE) == MAP_FAILED && munmap(p[2], 1ul << 62) == -1 &&
           mremap(p[3] + 4096, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, p[3] + 100) == MAP_FAILED &&
           mremap(p[3], 10 * M, 1ul << 46, 0) == MAP_FAILED;
}

static sigjmp_buf where;
static void jump(int number) { (void)number; siglongjmp(where, 1); }

static void loop(void)
{
    for (;;)
        munmap(map(36864), 36864);
}

/* A time limit, as programs have it. */
void limited(int times)
{
    signal(SIGALRM, jump);
    for (volatile int i = 0; i < times; i++) {
        if (sigsetjmp(where, 1) == 0) {
            ualarm(500, 0);
            loop();
        }
    }
    ualarm(0, 0);
}

static void *endless(void *unused)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    loop();
    return unused;
}

void cancelled(int times)
{
    for (int i = 0; i < times; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, endless, NULL);
        usleep(300); /* until it is among its calls */
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
}
"""


@pytest.fixture
def mappings(tmp_path):
    return str(cc.library(CODE, tmp_path / "mappings.so"))


def test_what_is_live_is_what_is_mapped(python, run, mappings, tmp_path):
    """Also what was too small to be drawn before it grew; a file's mapping is none of them, though it grows."""
    source = """\
        import ctypes, sys
        library = ctypes.CDLL(sys.argv[1])
        library.grow(10)  # @grow
        library.shared()  # @shared
        library.descriptor()  # @descriptor
        library.of_a_file(open(sys.argv[2], "rb").fileno())  # @of_a_file
        library.several()  # @several
        assert library.refused()  # @refused
        print("ready", flush=True); sys.stdin.read()
        """
    (tmp_path / "file").write_bytes(bytes(9 * MIB))
    program = run(python, source, args=[mappings, str(tmp_path / "file")])
    program.ready()
    found = by_line(program.dump())
    sizes = {name: found[("app.py", line)].size if ("app.py", line) in found else 0 for name, line in marks(source).items()}
    for name, truth in (("grow", 40), ("shared", 6), ("descriptor", 10), ("of_a_file", 0), ("several", 0), ("refused", 40)):
        assert sizes[name] == pytest.approx(truth * MIB, rel=0.01, abs=MIB // 2), (name, sizes)
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.parametrize("rate", ["1k", "128k"])
def test_who_leaves_in_the_middle(python, run, mappings, rate):
    """A handler that jumps out of mmap, and a thread that is cancelled there, leave no lock behind, and snapshots go on."""
    program = run(python, """\
        import ctypes, sys
        library = ctypes.CDLL(sys.argv[1])
        library.limited(300)
        library.cancelled(150)
        kept = [bytes(600) for _ in range(20000)]
        print("ready", flush=True); sys.stdin.read()
        """, args=[mappings], env={"MPROFILERATE": rate})
    program.ready()
    assert RawFile(program.dump()).live
    assert program.finish() == 0 and program.stderr == ""
