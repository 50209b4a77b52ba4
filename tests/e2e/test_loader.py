# SPDX-License-Identifier: MIT
"""What the loader does to an interposer: other scopes, other constructors, other interposers, static TLS.

In all of it the program runs as it would alone, and the figures say what is true.
"""
from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Dict, List

import cc
import pytest
from harness import LIBRARY, RawFile, Running, by_line, marks, raw_by_line

EXACT = {"MPROFILERATE": "1"}
HOLD = "print('ready', flush=True)\nsys.stdin.read()\n"


def preload(*libraries: Path) -> Dict[str, str]:
    return {**EXACT, "LD_PRELOAD": ":".join(map(str, libraries))}


def lost(raw: RawFile) -> List[str]:
    return sorted(key for key in raw.head if key.startswith("lost."))


def ended_well(program: Running, status: int = 0) -> None:
    assert program.finish() == status, program.stderr
    assert program.stderr == ""


# A library that does not see us.

#: Loaded with RTLD_DEEPBIND: its malloc is libc's own.
DEEP = r"""
#include <stdlib.h>
void *deep_malloc(size_t size) { return malloc(size); }
void *deep_realloc(void *block, size_t size) { return realloc(block, size); }
void deep_free(void *block) { free(block); }
"""
#: Loaded as usual: its malloc is ours.
PLAIN = r"""
#include <stdlib.h>
int count_same;
void *plain_malloc(size_t size) { return malloc(size); }
void *plain_realloc(void *block, size_t size) { return realloc(block, size); }
void plain_free(void *block) { free(block); }
/* Blocks of ours that are freed where we do not see it, and whose address we are given again. */
void *again(void (*hidden_free)(void *), size_t size, int turns)
{
    char *block = malloc(size);
    for (int i = 0; i < turns; i++) {
        void *before = block;
        hidden_free(block);
        block = malloc(size);
        count_same += block == before;
    }
    return block;
}
/* The same, where what takes the address is not seen either, but what frees it then is. */
void crossed(void *(*hidden_malloc)(size_t), void (*hidden_free)(void *), size_t size, int turns)
{
    for (int i = 0; i < turns; i++) {
        hidden_free(malloc(size));
        free(hidden_malloc(size));
    }
}
"""
DEEPBIND = """
import ctypes, os, sys
deep = ctypes.CDLL("./deep.so", mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
plain = ctypes.CDLL("./plain.so")
pointer, size = ctypes.c_void_p, ctypes.c_size_t
for library, name in ((deep, "deep_"), (plain, "plain_")):
    getattr(library, name + "malloc").restype = getattr(library, name + "realloc").restype = pointer
    getattr(library, name + "malloc").argtypes = [size]
    getattr(library, name + "realloc").argtypes = [pointer, size]
    getattr(library, name + "free").argtypes = [pointer]
plain.again.restype = pointer
plain.again.argtypes = [pointer, size, ctypes.c_int]
plain.crossed.argtypes = [pointer, pointer, size, ctypes.c_int]
hidden_malloc, hidden_free = (ctypes.cast(getattr(deep, name), pointer) for name in ("deep_malloc", "deep_free"))
"""


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    cc.library(PLAIN, tmp_path / "plain.so")
    return cc.library(DEEP, tmp_path / "deep.so")


@pytest.mark.few
def test_deepbind_blocks_cross_over(python, run, deep):
    """Each side frees and resizes what the other allocated, at sizes of all of malloc's ways."""
    program = run(python, DEEPBIND + """
for size in (24, 777, 5003, 70001, 300007, 5000011):
    for _ in range(50):
        plain.plain_free(deep.deep_malloc(size))
        deep.deep_free(plain.plain_malloc(size))
        plain.plain_free(plain.plain_realloc(deep.deep_malloc(size), 2 * size))
        deep.deep_free(deep.deep_realloc(plain.plain_malloc(size), 2 * size))
        plain.plain_free(deep.deep_realloc(plain.plain_malloc(size), size // 2))
hidden = deep.deep_malloc(1000003)
seen = plain.plain_malloc(1000033)
taken_over = plain.plain_realloc(deep.deep_malloc(1000037), 1000039)
""" + HOLD, env=EXACT).ready()
    raw = RawFile(program.dump())
    assert not raw.samples(1000003) and not raw.samples(1000037), "what it allocates bypasses us"
    assert len(raw.samples(1000033)) == 1
    assert len(raw.samples(1000039)) == 1, "a block of its own that is resized here is one of ours from then on"
    assert not lost(raw)
    ended_well(program)


@pytest.mark.few
@pytest.mark.parametrize("size", [777, 100003])
def test_a_block_freed_behind_our_back_is_replaced(python, run, deep, size):
    """Its address comes back with another block: one record, not two, also in the peak and the sums."""
    source = DEEPBIND + """
kept = plain.again(hidden_free, int(sys.argv[1]), 1000)  # @again
print(ctypes.c_int.in_dll(plain, "count_same").value)
""" + HOLD
    program = run(python, source, args=[str(size)], env=EXACT)
    same = int(program.line())
    assert same == 1000, "the address came back"
    path = program.ready().dump()
    raw = RawFile(path)
    kept = [one for one in raw.samples(size) if one.domain == 3]
    assert len(kept) == 1
    assert int(raw.head["note.replaced"]) >= same and not lost(raw)
    site, = [one for one in raw.sites if one.stack == kept[0].stack and one.domain == 3]
    assert site.alloc_samples == 1001 and site.alloc_bytes == 1001 * size
    line = raw_by_line(raw, domains=(3,))["app.py", marks(source)["again"]]
    assert (line.size, line.count) == (size, 1)
    assert by_line(path)["app.py", marks(source)["again"]].size < size + 100, "and the int that holds its address"
    assert float(raw.head["peak_bytes"]) < 20e6, "100 MB went through one block"
    ended_well(program)


@pytest.mark.few
@pytest.mark.parametrize("rate", ["1", "4k"])
def test_a_record_that_went_stale_goes_with_its_address(python, run, deep, rate):
    program = run(python, DEEPBIND + """
plain.crossed(hidden_malloc, hidden_free, 777, 2000)
plain.crossed(hidden_malloc, hidden_free, 100003, 2000)
""" + HOLD, env={"MPROFILERATE": rate}).ready()
    raw = RawFile(program.dump())
    assert not [one for size in (777, 100003) for one in raw.samples(size) if one.domain == 3]
    site, = [one for one in raw.sites if one.domain == 3 and one.alloc_bytes > 100e6]
    assert site.alloc_bytes == pytest.approx(2000 * 100003, rel=0.01)
    assert not lost(raw)
    ended_well(program)


# Others that are preloaded.

#: Its constructor allocates in all ways; what it keeps is used and freed in the middle, and at the end.
EARLY = r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 300
int early_order; /* 1: we came before the interpreter was looked for */
static char *kept[3][MANY];

static char *one(int i)
{
    size_t size = 16 + (size_t)i * 731;
    void *block = NULL;
    switch (i % 6) {
    case 0: block = malloc(size); break;
    case 1: block = calloc(3, size / 3 + 1); break;
    case 2: block = realloc(malloc(10), size); break;
    case 3: if (posix_memalign(&block, 64, size) != 0) { block = NULL; } break;
    case 4: block = memalign(4096, size); break;
    case 5: block = aligned_alloc(64, (size + 63) & ~63ul); break;
    }
    if (block == NULL) {
        _exit(91);
    }
    memset(block, i, 16);
    return block;
}

static void check(int set)
{
    for (int i = 0; i < MANY; i++) {
        for (int k = 0; k < 16; k++) {
            if (kept[set][i][k] != (char)i) {
                _exit(92);
            }
        }
        if (i % 2) {
            kept[set][i] = realloc(kept[set][i], 5000 + i);
        }
        free(kept[set][i]);
    }
}

static __attribute__((constructor)) void early(void)
{
    for (int set = 0; set < 3; set++) {
        for (int i = 0; i < MANY; i++) {
            free(one(i));
            kept[set][i] = one(i);
        }
    }
    check(0);
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (getline(&line, &room, file) > 0) {
    }
    fclose(file);
    free(line);
}

int middle(void)
{
    check(1);
    return 93;
}

static __attribute__((destructor)) void late(void)
{
    check(2);
    for (int i = 0; i < MANY; i++) {
        free(one(i));
    }
    if (write(1, "late\n", 5) != 5) {
        _exit(94);
    }
}
"""


@pytest.mark.few
@pytest.mark.parametrize("first", ["", "-Wl,-z,initfirst"], ids=["usual", "initfirst"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_constructors_that_allocate(python, run, tmp_path, order, first):
    """After us in LD_PRELOAD, or with `initfirst`, its constructor runs before ours, and its destructor after ours."""
    early = cc.library(EARLY, tmp_path / "early.so", *filter(None, [first]))
    libraries = (early, LIBRARY) if order == "before" else (LIBRARY, early)
    program = run(python, "import ctypes, sys\nassert ctypes.CDLL('./early.so').middle() == 93\nkept = bytes(1000001)\n" + HOLD,
                  env={**preload(*libraries), "MPROFILEEXIT": "1"}).ready()
    raw = RawFile(program.dump())
    assert len(raw.samples(python.bytes_size(1000001))) == 1 and not lost(raw)
    ended_well(program)
    assert program.stdout == "late\n"
    assert len(RawFile(program.path(2)).samples(python.bytes_size(1000001))) == 1, "the snapshot of the end"


#: A tracer's thread: it allocates all the time, also while the profiler and the interpreter come to life.
BUSY = r"""
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

static int stop, turns;

static void *work(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        free(malloc(3000017)); /* more than any distance before there is a rate: each is looked at */
        free(malloc(40));
        __atomic_fetch_add(&turns, 1, __ATOMIC_RELAXED);
    }
    return unused;
}

static pthread_t threads[2];

static __attribute__((constructor)) void start(void)
{
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, work, NULL);
    }
    while (__atomic_load_n(&turns, __ATOMIC_RELAXED) < 10) {
        sched_yield();
    }
}

int finish(void)
{
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    return 95;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("rate", ["1", "128k"])
def test_a_thread_that_allocates_before_we_are_there(python, run, tmp_path, rate):
    """What the self-tests look at is their own thread's: six starts, and each is hooked as if alone."""
    busy = cc.library(BUSY, tmp_path / "busy.so")
    source = """
        import ctypes, sys
        kept = [bytes(100000) for _ in range(300)]  # @kept
        assert ctypes.CDLL("./busy.so").finish() == 95
        print('ready', flush=True)
        sys.stdin.read()
        """
    alone = run(python, source.replace("assert", "0 and"), env={"MPROFILERATE": rate}, name="alone.py").ready()
    head = RawFile(alone.dump()).head
    for _ in range(6):
        program = run(python, source, env={"MPROFILERATE": rate, "LD_PRELOAD": "%s:%s" % (LIBRARY, busy)}).ready()
        path = program.dump()
        raw = RawFile(path)
        assert (raw.head["python.alloc"], raw.head["python.free"]) == (head["python.alloc"], head["python.free"])
        assert by_line(path)["app.py", marks(source)["kept"]].size == pytest.approx(300 * 100033, rel=0.2)
        assert not raw.samples(3000017) and not lost(raw)
        ended_well(program)


#: dlsym, interposed: allocates around each call. `naive`: the real one takes the interposer for the caller, so that RTLD_NEXT
#: means "after the interposer"; else it is called by a jump.
DLSYM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int calls, refused;

void *dlsym(void *restrict handle, const char *restrict name)
{
    static void *(*real)(void *, const char *);
    if (real == NULL) {
        real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    }
    calls++;
    char *copy = calloc(1, strlen(name) + 100), *grown = malloc(10), *zero = calloc(7, 7);
    refused += copy == NULL || grown == NULL || zero == NULL;
    for (int i = 0; zero != NULL && i < 49; i++) {
        refused += zero[i] != 0;
    }
    grown = realloc(grown, 200);
    refused += grown == NULL;
    if (copy != NULL) {
        strcpy(copy, name);
    }
    free(grown);
    free(zero);
#if NAIVE
    void *found = real(handle, copy);
    free(copy);
    return found;
#else
    free(copy);
    return real(handle, name);
#endif
}

int dlsym_refused(void) { return refused; }
int dlsym_calls(void) { return calls; }
"""


@pytest.mark.few
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("kind", ["jumps", "naive"])
def test_a_dlsym_that_allocates(python, run, tmp_path, kind, order):
    interposer = cc.library(DLSYM, tmp_path / "dlsym.so", "-DNAIVE=%d" % (kind == "naive"))
    libraries = (interposer, LIBRARY) if order == "before" else (LIBRARY, interposer)
    source = """
        import ctypes, sys
        library = ctypes.CDLL("./dlsym.so")
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        block = libc.malloc(1000003)  # @malloc
        kept = bytes(1000001)
        print(library.dlsym_refused(), library.dlsym_calls() > 10)
        print('ready', flush=True)
        sys.stdin.read()
        """
    program = run(python, source, env=preload(*libraries))
    assert program.line() == "0 True"
    path = program.ready().dump()
    raw = RawFile(path)
    assert len(raw.samples(python.bytes_size(1000001))) == 1 and len(raw.samples(1000003)) == 1 and not lost(raw)
    ended_well(program)


# Thread-local storage.

#: What glibc holds in reserve for the initial-exec storage of libraries that are loaded while the program runs is 512 bytes, unless a
#: tunable says otherwise. Preloaded we take nothing of it. Ours is one cache line at most, which every allocation touches anyway.
TLS_LARGEST = 64


def test_our_own_static_tls_is_small():
    said = subprocess.run(["readelf", "-lW", str(LIBRARY)], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [line.split() for line in said.splitlines() if line.split()[:1] == ["TLS"]]
    assert len(rows) == 1, said
    file_size, memory_size = (int(word, 16) for word in rows[0][4:6])
    assert file_size == 0, "zero-initialised"
    assert 0 < memory_size <= TLS_LARGEST
    flags = subprocess.run(["readelf", "-dW", str(LIBRARY)], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "STATIC_TLS" in flags
    relocations = subprocess.run(["readelf", "-rW", str(LIBRARY)], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert not re.search(r"DTPMOD|TLSDESC", relocations), "no access may allocate"


TLS = r"""
static __thread char room[%d] __attribute__((tls_model("initial-exec"))) = {1};
int use(void) { room[1]++; return room[0] + room[1]; }
"""


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
def test_a_program_that_uses_up_static_tls(python, run, tmp_path, native):
    """As many libraries can be loaded as without us; and there where no more can, the error is the same."""
    for number in range(40):
        cc.library(TLS % 96, tmp_path / ("tls%d.so" % number), "-Wl,-soname,tls%d.so" % number)
    source = """
        import ctypes, re, sys
        loaded, error = [], ""
        for number in range(40):
            try:
                loaded.append(ctypes.CDLL("./tls%d.so" % number))
            except OSError as refusal:
                error = re.sub(r"[0-9]", "", str(refusal))
                break
        assert all(library.use() == 2 for library in loaded)
        kept = bytes(1000001)
        print(len(loaded), error, flush=True)
        print('ready', flush=True)
        sys.stdin.read()
        """
    alone = run(python, source, preload=False)
    without = alone.line()
    program = run(python, source, env={**EXACT, "MPROFILENATIVE": native})
    loaded, _, error = program.line().partition(" ")
    assert 0 < int(loaded) < 40 and "static TLS" in error
    if native == "0":  # libunwind has 16 bytes of its own
        assert "%s %s" % (loaded, error) == without
    else:
        assert int(loaded) >= int(without.split()[0]) - 1
    raw = RawFile(program.ready().dump())
    assert len(raw.samples(python.bytes_size(1000001))) == 1 and not lost(raw)
    ended_well(program)


@pytest.mark.few
@pytest.mark.parametrize("order", ["before", "after"])
def test_many_preloaded_libraries_with_static_tls(python, run, tmp_path, order):
    """They all get theirs when the program starts: 30 of 16 KiB each, in every thread."""
    others = [cc.library(TLS % 16384, tmp_path / ("tls%d.so" % number)) for number in range(30)]
    libraries = [LIBRARY, *others] if order == "before" else [*others, LIBRARY]
    program = run(python, """
        import ctypes, sys, threading
        def use():
            assert all(ctypes.CDLL("./tls%d.so" % number).use() == 2 for number in range(30))
            kept.append(bytes(1000001))
        kept = []
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print('ready', flush=True)
        sys.stdin.read()
        """, env=preload(*libraries)).ready()
    raw = RawFile(program.dump())
    assert len(raw.samples(python.bytes_size(1000001))) == 4 and not lost(raw)
    ended_well(program)


# Programs that are linked statically.

STATIC = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    struct sigaction action;
    for (int i = 0; i < 1000; i++) {
        free(realloc(malloc(1000), 100000));
    }
    if (sigaction(SIGUSR2, NULL, &action) != 0) {
        return 1;
    }
    printf("%s %d\n", action.sa_handler == SIG_DFL ? "default" : "other", getenv("LD_PRELOAD") != NULL);
    return 42;
}
"""


@pytest.mark.parametrize("how", ["-static", "-static-pie"])
def test_a_static_program(tmp_path, how):
    """Nothing happens in it: no message, no file, no handler."""
    path = cc.program(STATIC, tmp_path / "program", how, *(["-fPIE"] if how == "-static-pie" else []))
    program = Running(argv=[path], cwd=tmp_path, env={**EXACT, "MPROFILEEXIT": "1", "MPROFILEDEBUG": "1"})
    assert program.line() == "default 1"
    ended_well(program, 42)
    assert list(tmp_path.glob("*mprofile*")) == []


@pytest.mark.few
def test_a_static_child_of_a_profiled_program(python, run, tmp_path):
    cc.program(STATIC, tmp_path / "program", "-static")
    program = run(python, """
        import subprocess, sys
        done = subprocess.run(["./program"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        print(done.returncode, done.stderr.decode(), done.stdout.decode(), end="")
        print('ready', flush=True)
        sys.stdin.read()
        """, env=EXACT)
    assert program.line() == "42  default 1"
    program.ready()
    ended_well(program)
    assert list(tmp_path.glob("*mprofile*")) == []


# A library that loads another by its own path.

INNER = "int inner(void) { return 42; }\n"
OUTER = """
#include <dlfcn.h>
#include <stddef.h>
int outer(void)
{
    void *library = dlopen("inner.so", RTLD_NOW); /* is looked for where the caller's RPATH or RUNPATH says */
    int (*inner)(void) = library != NULL ? (int (*)(void))dlsym(library, "inner") : NULL;
    return inner != NULL ? inner() : -1;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"])
def test_dlopen_knows_its_caller(python, run, tmp_path, tags):
    """It is not interposed: from a wrapper of ours the path of the library that calls would not be searched."""
    (tmp_path / "hidden").mkdir()
    cc.library(INNER, tmp_path / "hidden" / "inner.so")
    cc.library(OUTER, tmp_path / "outer.so", "-Wl," + tags, "-Wl,-rpath,$ORIGIN/hidden")
    program = run(python, "import ctypes\nprint(ctypes.CDLL('./outer.so').outer(), flush=True)\n", env=EXACT)
    assert program.line() == "42"
    ended_well(program)
