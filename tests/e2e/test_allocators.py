# SPDX-License-Identifier: MIT
"""Other allocators than libc's: preloaded behind us, before us, linked with the program, or a part of it.

Behind us they serve, and every figure is as with libc's. Before us they keep their place: one line says what is not
seen, and Python's memory is. A program without Python does not notice us with any of them.
"""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import cc
import pytest
from harness import LIBRARY, ROOT, Python, RawFile, by_line, marks, raw_by_line, reader
from test_embed import COMMON, build

STORIES = ROOT / "tests" / "stories"
ASIDE = "mprofile: another malloc comes before ours: memory that C code takes by itself is not seen\n"
FOLDER = Path("/usr/lib/%s-linux-gnu" % os.uname().machine)
#: What tests/setup installs. One that is missing is a failure.
ALLOCATORS = {"jemalloc": FOLDER / "libjemalloc.so.2", "tcmalloc": FOLDER / "libtcmalloc_minimal.so.4",
              "mimalloc": FOLDER / "libmimalloc.so.2.0"}


@pytest.fixture(params=ALLOCATORS)
def allocator(request: pytest.FixtureRequest) -> Path:
    path = ALLOCATORS[request.param]
    assert path.exists(), "tests/setup --tests installs it"
    return path


def behind(allocator: Path, rate: str = "16k") -> Dict[str, str]:
    return {"MPROFILERATE": rate, "LD_PRELOAD": "%s:%s" % (LIBRARY, allocator)}


def before(allocator: Path, rate: str = "16k") -> Dict[str, str]:
    return {"MPROFILERATE": rate, "LD_PRELOAD": "%s:%s" % (allocator, LIBRARY)}


#: Each line and its bytes; C memory in all ways. What is freed must be gone: half of each. `where` says whose malloc it is.
NATIVE = """\
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
pointer, size = ctypes.c_void_p, ctypes.c_size_t
for name in ("malloc", "calloc", "realloc", "memalign", "aligned_alloc", "valloc"):
    getattr(libc, name).restype = pointer
libc.malloc.argtypes = libc.valloc.argtypes = [size]
libc.calloc.argtypes = libc.memalign.argtypes = libc.aligned_alloc.argtypes = [size, size]
libc.realloc.argtypes, libc.free.argtypes = [pointer, size], [pointer]
libc.posix_memalign.argtypes = [ctypes.POINTER(pointer), size, size]

def touched(block, size):
    assert block
    ctypes.memset(block, 1, size)
    return block

def posix(size):
    block = pointer()
    assert libc.posix_memalign(ctypes.byref(block), 64, size) == 0  # @posix_memalign
    return block.value

def fill(count):
    blocks, objects = [], []
    for _ in range(count):
        blocks.append(touched(libc.malloc(100000), 100000))  # @malloc
    for _ in range(count):
        blocks.append(touched(libc.calloc(10, 7000), 70000))  # @calloc
    for _ in range(count):
        blocks.append(libc.malloc(1000))
        blocks[-1] = touched(libc.realloc(blocks[-1], 120000), 120000)  # @realloc
    for _ in range(count):
        blocks.append(touched(libc.memalign(4096, 90000), 90000))  # @memalign
    for _ in range(count):
        blocks.append(touched(posix(80000), 80000))
    for _ in range(20 * count):
        blocks.append(touched(libc.malloc(3000), 3000))  # @small
    for _ in range(count):
        objects.append(bytes(100000))  # @bytes
    for _ in range(50 * count):
        objects.append(bytes(967))  # @objects
    for _ in range(300 * count):
        objects.append([])  # @lists
    for number in range(3 * count // 100):
        objects.append(mmap.mmap(-1, 2000000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON))  # @mmap
        objects[-1].write(b"x" * 2000000)
    for block in blocks[::2]:
        libc.free(block)
    return blocks[1::2], objects[::2]

kept = [fill(200)]
"""
HOLD = """\
print("ready", flush=True)
sys.stdin.read()
"""
PYTHON = {"bytes": 100 * 100033, "objects": 5000 * 1000, "lists": 30000 * 56}
IN_C = {"malloc": 100 * 100000, "calloc": 100 * 70000, "realloc": 100 * 120000, "memalign": 100 * 90000,
        "posix_memalign": 100 * 80000, "small": 2000 * 3000}
MAPPED = {"mmap": 3 * 2000000}
#: One standard error of a line is at most the root of its bytes times the rate, 2 to 10 %: more than five of them.
NEAR = 0.25


def check(path: Path, source: str, expected: Dict[str, int], times: int = 1, domains: Any = (0, 1, 2, 3, 4)) -> None:
    lines, where = by_line(path), marks(source)
    raw = raw_by_line(RawFile(path), domains)
    for name, size in expected.items():
        found = lines["app.py", where[name]]
        limit = NEAR if name != "lists" else 0.6
        assert found.size == pytest.approx(times * size, rel=limit), name
        assert raw["app.py", where[name]].size == pytest.approx(times * size, rel=limit), name


def account(path: Path) -> Dict[str, Any]:
    return json.loads(reader("--json", "-", path).stdout)["account"]


def adds_up(found: Dict[str, Any]) -> None:
    items = {item["key"]: item["bytes"] for item in found["items"]}
    assert sum(items.values()) == pytest.approx(found["bytes"])
    assert abs(items["unexplained"]) < 0.2 * found["bytes"], items


def losses(raw: RawFile) -> List[str]:
    return sorted(key for key in raw.head if key.startswith("lost.") or key == "note.replaced")


# Behind us.


@pytest.mark.few
def test_behind_us(python: Python, run, allocator: Path) -> None:
    source = NATIVE + HOLD
    program = run(python, source, env=behind(allocator)).ready()
    assert allocator.name.split(".so")[0] in Path("/proc/%d/maps" % program.pid).read_text()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    check(path, source, {**PYTHON, **IN_C, **MAPPED})
    raw = RawFile(path)
    assert raw.head["malloc.served_by"] == "another allocator" and not losses(raw)
    # Nothing is counted twice: what the allocator maps is not seen beside what it gives.
    mapped = [one for one in raw.live if one.domain == 4]
    assert sum(one.size * one.weight for one in mapped if one.stack[0].file.endswith("app.py")) == pytest.approx(6e6, rel=0.3)
    adds_up(account(path))


@pytest.mark.few
def test_behind_us_every_block(python: Python, run, allocator: Path) -> None:
    """At rate 1 to the byte."""
    source = NATIVE.replace("fill(200)", "fill(100)") + HOLD
    program = run(python, source, env=behind(allocator, "1")).ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    lines, where = raw_by_line(RawFile(path), domains=(3, 4)), marks(source)
    for name, size in {**IN_C, **MAPPED}.items():
        assert lines["app.py", where[name]].size == size // 2 if name != "mmap" else 4000000, name
    assert not losses(RawFile(path))


@pytest.mark.few
@pytest.mark.parametrize("story, verdict, mark", [("leak_python.py", "python", "history"), ("leak_native.py", "native", "leak")])
def test_the_account_behind_us(python: Python, run, allocator: Path, story: str, verdict: str, mark: str) -> None:
    """--rss says what it says with libc's: the verdict, the line, and no figures of a malloc that does not serve."""
    program = run(python, argv=[STORIES / story], env=behind(allocator, "128k")).ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    found = account(path)
    adds_up(found)
    assert found["verdict"] == verdict
    where = "%s:%d" % (story, marks((STORIES / story).read_text())[mark])
    assert os.path.basename(found["lines"][0]["line"]) == where
    assert "malloc_free" not in {item["key"] for item in found["items"]}
    assert not [key for key in RawFile(path).head if key.startswith("malloc.") and key not in ("malloc.served_by", "malloc.counted")]
    said = reader("--rss", path).stdout
    assert where in said and "malloc_trim" not in said and "MALLOC_ARENA_MAX" not in said


@pytest.mark.few
def test_the_account_of_what_it_keeps(python: Python, run, allocator: Path) -> None:
    """Blocks scattered so that no page is free: that is the verdict, with no advice that is libc's."""
    program = run(python, argv=[STORIES / "fragments.py"], args=["goes-on"], env=behind(allocator, "128k")).ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    found = account(path)
    assert sum(item["bytes"] for item in found["items"]) == pytest.approx(found["bytes"])
    assert found["verdict"] in ("free", "unexplained"), found
    said = reader("--rss", path).stdout
    assert "malloc_trim" not in said and "MALLOC_ARENA_MAX" not in said


# Forks.

FORKS = NATIVE + """\
read, written = os.pipe()
child = os.fork()
if child == 0:
    kept.append(fill(200))
    os.write(written, b"x")
    sys.stdin.read()
    os._exit(0)
os.read(read, 1)
print(child, flush=True)
""" + HOLD


def forked(python: Python, run, env: Dict[str, str], stderr: str, expected: Dict[str, int]) -> None:
    program = run(python, FORKS, env=env)
    child = int(program.line())
    program.ready()
    parents = program.dump()
    os.kill(child, 12)
    childs = program.wait_for(program.path(1, child))
    assert program.finish() == 0 and program.stderr == stderr
    check(parents, FORKS, expected)
    check(childs, FORKS, expected, times=2)
    raw = RawFile(childs)
    assert len(raw.lineage) == 2 and len(raw.inherited()) > 0.3 * len(raw.live) and not losses(raw)


@pytest.mark.few
def test_fork_behind_us(python: Python, run, allocator: Path) -> None:
    forked(python, run, behind(allocator), "", {**PYTHON, **IN_C})


@pytest.mark.few
def test_fork_before_us(python: Python, run, allocator: Path) -> None:
    forked(python, run, before(allocator), ASIDE, PYTHON)


#: Threads that make the allocator take memory from the kernel, and give it back, while others fork. (That is what the settings are
#: for; each allocator knows its own.)
RESTLESS = {"MALLOC_CONF": "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0,narenas:2", "TCMALLOC_RELEASE_RATE": "10",
            "TCMALLOC_SKIP_SBRK": "1", "MIMALLOC_PAGE_RESET": "0", "MIMALLOC_SEGMENT_CACHE": "0", "MIMALLOC_EAGER_COMMIT": "0"}
STORM = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int stop;

static void *work(void *number)
{
    unsigned random = 1 + (unsigned)(size_t)number;
    void *kept[64] = {0};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        random = random * 1103515245 + 12345;
        unsigned at = random >> 16 & 63;
        size_t size = (random >> 22 & 3) == 0 ? 4096 * (1 + (random >> 24)) : 1 + (random >> 20);
        free(kept[at]);
        kept[at] = malloc(size);
        memset(kept[at], 1, size < 64 ? size : 64);
    }
    for (int i = 0; i < 64; i++) {
        free(kept[i]);
    }
    return NULL;
}

static pthread_t threads[3];

void start(void)
{
    for (size_t i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, work, (void *)i);
    }
}

int finish(void)
{
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    return 98;
}
"""
STORM_APP = """
import ctypes, os, signal, sys, warnings
warnings.simplefilter("ignore")
storm = ctypes.CDLL("./storm.so")
storm.start()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
for turn in range(150):
    pid = os.fork()
    if pid == 0:
        signal.alarm(100)  # a child that hangs is told from one that is slow
        blocks = [libc.malloc(size) for size in (100, 5000, 300000)]
        for block in blocks:
            libc.free(block)
        more = [bytes(size) for size in range(400, 700)]
        os._exit(7)
    assert os.waitpid(pid, 0)[1] == 7 << 8
assert storm.finish() == 98
kept = bytes(1000001)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
@pytest.mark.parametrize("order", [behind, before])
@pytest.mark.parametrize("rate", ["1", "4k"])
def test_forks_while_threads_allocate(python: Python, run, tmp_path: Path, allocator: Path, order, rate: str) -> None:
    """The locks of the allocator and ours are never taken in both orders."""
    cc.library(STORM, tmp_path / "storm.so")
    program = run(python, STORM_APP, env={**order(allocator, rate), **RESTLESS})
    program.ready()
    raw = RawFile(program.dump())
    assert raw.samples(python.bytes_size(1000001)) and not losses(raw)
    assert program.finish() == 0
    assert program.stderr == ("" if order is behind else ASIDE)


# Before us.


@pytest.mark.few
def test_before_us(python: Python, run, allocator: Path) -> None:
    source = NATIVE + HOLD
    program = run(python, source, env=before(allocator)).ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ASIDE
    # tcmalloc has an mmap of its own, too.
    mapped = {} if "tcmalloc" in allocator.name else MAPPED
    check(path, source, {**PYTHON, **mapped})
    lines, where = raw_by_line(RawFile(path), domains=(3, 4)), marks(source)
    for name in IN_C:
        assert ("app.py", where[name]) not in lines, "not seen, also not as what the allocator maps"
    raw = RawFile(path)
    assert raw.head["malloc.served_by"] == "another allocator" and not losses(raw)
    found = account(path)
    assert sum(item["bytes"] for item in found["items"]) == pytest.approx(found["bytes"])
    assert {item["key"]: item["bytes"] for item in found["items"]}["unexplained"] > 40e6, "what C code has is not called anything else"


@pytest.mark.few
@pytest.mark.parametrize("mode", ["malloc", "debug"])
@pytest.mark.parametrize("order", [behind, before])
def test_with_other_allocators_of_python(python: Python, run, allocator: Path, order, mode: str) -> None:
    source = NATIVE + HOLD
    if mode == "malloc" and python.free_threaded:
        pytest.skip("a free-threaded interpreter has no PYTHONMALLOC=malloc")
    program = run(python, source, env={**order(allocator), "PYTHONMALLOC": mode}).ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ("" if order is behind else ASIDE)
    check(path, source, {**PYTHON, **({**IN_C, **MAPPED} if order is behind else {})})


# C++'s new. All of these allocators bring one of their own, which does not call malloc.

CPP = r"""
#include <cstdlib>
#include <cstring>
#include <new>
static char *kept[100];
extern "C" int take(void)
{
    for (int i = 0; i < 100; i++) {
        delete[] kept[i];
        kept[i] = new char[50000];
        std::memset(kept[i], 1, 50000);
        delete new int(i);
        std::free(std::malloc(777));
    }
    return 99;
}
"""


@pytest.mark.few
def test_cpp_new(python: Python, run, tmp_path: Path, allocator: Path) -> None:
    """Not seen (see README.md, Limits), and nothing goes wrong: no record is left that is not true."""
    cc.library(CPP, tmp_path / "cpp.so", compiler="c++")
    source = "import ctypes, sys\ncpp = ctypes.CDLL('./cpp.so')\nassert cpp.take() == cpp.take() == 99\n" + HOLD
    program = run(python, source, env=behind(allocator, "1")).ready()
    raw = RawFile(program.dump())
    assert program.finish() == 0 and program.stderr == ""
    assert len([one for one in raw.samples(50000) if one.domain == 3]) in (0, 100) and not losses(raw)


# Linked with a program that embeds nothing.

PLAIN = r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int churn(unsigned random)
{
    char *kept[500] = {0};
    for (int i = 0; i < TURNS; i++) {
        random = random * 1103515245 + 12345;
        int at = (int)(random >> 16) % 500;
        size_t size = 1 + (random >> 18);
        if (kept[at] != NULL && malloc_usable_size(kept[at]) < 1) {
            return 1;
        }
        switch (random >> 10 & 3) {
        case 0: free(kept[at]); kept[at] = malloc(size); break;
        case 1: kept[at] = realloc(kept[at], size); break;
        case 2: free(kept[at]); kept[at] = calloc(1, size); break;
        case 3: free(kept[at]); kept[at] = memalign(64, size); break;
        }
        memset(kept[at], i, size);
    }
    for (int i = 0; i < 500; i++) {
        free(kept[i]);
    }
    return 0;
}

static void *thread(void *number)
{
    return (void *)(size_t)churn((unsigned)(size_t)number);
}

int main(void)
{
    int failed = 0;
    for (int turn = 0; turn < 5; turn++) {
        pthread_t threads[3];
        for (size_t i = 0; i < 3; i++) {
            pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
        }
        pid_t pid = fork();
        if (pid == 0) {
            _exit(churn(9));
        }
        int status;
        failed += waitpid(pid, &status, 0) != pid || status != 0;
        for (int i = 0; i < 3; i++) {
            void *said;
            pthread_join(threads[i], &said);
            failed += said != NULL;
        }
    }
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int ours = 0, other = 0;
    while (fgets(line, sizeof line, maps)) {
        ours |= strstr(line, "libmprofile") != NULL;
        other |= strstr(line, ALLOCATOR) != NULL;
    }
    fclose(maps);
    printf("%d %d %d\n", failed, ours, other);
    return 42;
}
"""


@pytest.mark.parametrize("how", ["linked", "behind", "before"])
def test_a_c_program(run, tmp_path: Path, allocator: Path, how: str) -> None:
    """Nothing but what it says itself, and no file."""
    name = allocator.name.split(".so")[0]
    link = ["-Wl,--no-as-needed", str(allocator)] if how == "linked" else []
    path = cc.program(PLAIN, tmp_path / "program", '-DALLOCATOR="%s"' % name, "-DTURNS=20000", *link)
    env = {"linked": {"LD_PRELOAD": str(LIBRARY)}, "behind": behind(allocator), "before": before(allocator)}[how]
    program = run(argv=[path], env={**env, "MPROFILEEXIT": "1", "MPROFILEDEBUG": "1", "MPROFILERATE": "1"})
    assert program.finish() == 42 and program.stderr == ""
    assert program.stdout == "0 1 1\n"
    assert list(tmp_path.glob("*mprofile*")) == []


# Python in a program that is linked with one, or has one of its own.

EMBEDDED = COMMON + r"""
void Py_InitializeEx(int);
int Py_FinalizeEx(void);
int PyRun_SimpleString(const char *);

int main(int argc, char **argv)
{
    (void)argc;
    Py_InitializeEx(0);
    if (PyRun_SimpleString(script(argv[1])) != 0) {
        return 4;
    }
    return Py_FinalizeEx() == 0 ? 6 : 5;
}
"""
#: The whole family, by name, in the program: blocks from mappings of its own, never given back.
OWN = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static __thread char *own_at, *own_end; /* no lock that a fork would copy */

OWN void *memalign(size_t alignment, size_t size)
{
    if (size > PTRDIFF_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    alignment = alignment < 16 ? 16 : alignment;
    uintptr_t block = ((uintptr_t)own_at + 16 + alignment - 1) & ~(alignment - 1);
    if (own_at == NULL || block + size > (uintptr_t)own_end) {
        size_t room = size + alignment + (4u << 20);
        own_at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (own_at == MAP_FAILED) {
            own_at = NULL;
            return NULL;
        }
        own_end = own_at + (room & ~4095ul);
        block = ((uintptr_t)own_at + 16 + alignment - 1) & ~(alignment - 1);
    }
    own_at = (char *)block + size;
    ((size_t *)block)[-1] = size;
    return (void *)block;
}

OWN void *malloc(size_t size) { return memalign(16, size); }
OWN void free(void *block) { (void)block; }
OWN void *calloc(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : memalign(16, bytes); /* fresh: zero */
}
OWN void *realloc(void *old, size_t size)
{
    void *block = memalign(16, size);
    if (old != NULL && block != NULL) {
        size_t had = ((size_t *)old)[-1];
        memcpy(block, old, had < size ? had : size);
    }
    return block;
}
OWN void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
OWN void *valloc(size_t size) { return memalign(4096, size); }
OWN void *pvalloc(size_t size) { return memalign(4096, (size + 4095) & ~4095ul); }
OWN int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
    *ret_block = memalign(alignment, size);
    return *ret_block == NULL ? ENOMEM : 0;
}
OWN size_t malloc_usable_size(void *block) { return block != NULL ? ((size_t *)block)[-1] : 0; }
"""


def embedded(python: Python, run, tmp_path: Path, source: str, env: Dict[str, str], *flags: str) -> Any:
    """The script NATIVE in a program of our own."""
    script = tmp_path / "app.py"
    script.write_text(NATIVE + HOLD)
    path = build(python, tmp_path, source, True)
    for flag in flags:
        subprocess.run(["patchelf", "--add-needed", flag, str(path)], check=True)
    home = {"PYTHONHOME": python.facts["prefix"], "MPROFILERATE": "16k", "LD_LIBRARY_PATH": str(FOLDER) if flags else ""}
    return run(argv=[path], args=[script], env={**home, **env})


@pytest.mark.few
def test_linked_with_a_program_that_embeds_python(python: Python, run, tmp_path: Path, allocator: Path) -> None:
    program = embedded(python, run, tmp_path, EMBEDDED, {}, allocator.name).ready()
    assert allocator.name.split(".so")[0] in Path("/proc/%d/maps" % program.pid).read_text()
    path = program.dump()
    assert program.finish() == 6 and program.stderr == ""
    check(path, NATIVE, {**PYTHON, **IN_C, **MAPPED})
    assert RawFile(path).head["malloc.served_by"] == "another allocator" and not losses(RawFile(path))


@pytest.mark.few
@pytest.mark.parametrize("shown", [True, False], ids=["exported", "hidden"])
def test_a_malloc_that_is_part_of_the_program(python: Python, run, tmp_path: Path, shown: bool) -> None:
    """Exported it serves everybody: we stand aside, aloud. Hidden it serves the program alone: libc's is hooked as ever."""
    own = OWN.replace("OWN ", "" if shown else '__attribute__((visibility("hidden"))) ')
    program = embedded(python, run, tmp_path, own + EMBEDDED, {}).ready()
    path = program.dump()
    assert program.finish() == 6 and program.stderr == (ASIDE if shown else "")
    check(path, NATIVE, {**PYTHON, **MAPPED, **({} if shown else IN_C)})
    assert not losses(RawFile(path))


@pytest.mark.parametrize("shown", [True, False], ids=["exported", "hidden"])
@pytest.mark.parametrize("flags", [(), ("-no-pie", "-fno-pie"), ("-static",)], ids=["pie", "no pie", "static"])
def test_a_c_program_with_its_own_malloc(run, tmp_path: Path, flags: Any, shown: bool) -> None:
    own = OWN.replace("OWN ", "" if shown else '__attribute__((visibility("hidden"))) ')
    path = cc.program(own + PLAIN, tmp_path / "program", '-DALLOCATOR="[heap]"', "-DTURNS=500", *flags)
    alone = run(argv=[path], preload=False)
    assert alone.finish() == 42
    program = run(argv=[path], env={"MPROFILEEXIT": "1", "MPROFILEDEBUG": "1", "MPROFILERATE": "1"})
    assert program.finish() == 42 and program.stderr == ""
    assert alone.stdout.split()[0] == program.stdout.split()[0] == "0"
    assert program.stdout.split()[1] == ("0" if "-static" in flags else "1")
    assert list(tmp_path.glob("*mprofile*")) == []
