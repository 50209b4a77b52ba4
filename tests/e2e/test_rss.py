# SPDX-License-Identifier: MIT
"""Native memory by Python line, and the account of the process's size with its verdict.

The programs of tests/stories are each of one kind: one leaks Python objects, one leaks in C, one
only fragments. The verdict must name the kind, and the lines that leak must be on top.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from harness import ROOT, Python, by_line, marks, reader, wheels

STORIES = ROOT / "tests" / "stories"
MB = 1000 * 1000


# The account and the verdict.


def tell(run, python: Python, name: str, *args: str, rate: str = "128k") -> Path:
    program = run(python, argv=[STORIES / name], args=list(args), env={"MPROFILERATE": rate})
    program.ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    return path


def account(path: Path) -> Dict[str, Any]:
    return json.loads(reader("--json", "-", path).stdout)["account"]


def adds_up(found: Dict[str, Any], unexplained: float = 0.15) -> None:
    items = {item["key"]: item["bytes"] for item in found["items"]}
    assert sum(items.values()) == pytest.approx(found["bytes"])
    assert found["bytes"] >= 60 * MB
    assert abs(items["unexplained"]) < unexplained * found["bytes"], items


def line_of(name: str, mark: str) -> str:
    return "%s:%d" % (name, marks((STORIES / name).read_text())[mark])


def tops(found: Dict[str, Any]) -> List[str]:
    return [os.path.basename(line["line"]) for line in found["lines"]]


@pytest.mark.few
@pytest.mark.parametrize("rate", ["16k", "128k"])
def test_a_leak_of_python_objects(python, run, rate):
    path = tell(run, python, "leak_python.py", rate=rate)
    found = account(path)
    adds_up(found)
    assert found["verdict"] == "python"
    assert tops(found)[0] == line_of("leak_python.py", "history")
    leaks = {line_of("leak_python.py", mark) for mark in ("history", "request", "number", "path", "session")}
    assert set(tops(found)) <= leaks
    said = reader("--rss", path).stdout
    assert "Verdict: Mostly live Python objects" in said and line_of("leak_python.py", "history") in said


@pytest.mark.few
@pytest.mark.parametrize("rate", ["16k", "128k"])
def test_a_leak_in_c(python, run, rate):
    path = tell(run, python, "leak_native.py", rate=rate)
    found = account(path)
    adds_up(found)
    assert found["verdict"] == "native"
    assert tops(found) == [line_of("leak_native.py", "leak")]
    assert found["lines"][0]["share"] > 0.95


@pytest.mark.few
@pytest.mark.parametrize("how", ["stops", "goes-on"])
def test_fragmentation(python, run, how):
    """Also where nothing is allocated after the frees, so that malloc was not asked since."""
    path = tell(run, python, "fragments.py", how)
    found = account(path)
    adds_up(found)
    assert found["verdict"] == "free", found
    items = {item["key"]: item["bytes"] for item in found["items"]}
    assert items.get("malloc_free", 0) + items.get("malloc_kept", 0) > 70 * MB
    said = reader("--rss", path).stdout
    assert "malloc_trim" in said and "MALLOC_ARENA_MAX=2" in said and "memory was freed, but kept" in said


@pytest.mark.few
def test_what_pymalloc_keeps(python, run):
    """One object in a hundred stays: hardly an arena can go back."""
    if python.free_threaded:
        pytest.skip("mimalloc serves Python's objects here")
    program = run(python, "kept = [object() if i % 100 else [i] for i in range(6000000)]\n"
                          "kept = [one for one in kept if type(one) is list]\n"
                          "print('ready', flush=True); input()\n")
    program.ready()
    path = program.dump()
    found = account(path)
    adds_up(found)
    assert found["verdict"] == "free"
    items = {item["key"]: item["bytes"] for item in found["items"]}
    assert items["arenas_free"] > 60 * MB
    assert "an arena of" in reader("--rss", path).stdout


@pytest.mark.few
def test_what_mimalloc_keeps(python, run):
    """What it maps for objects, 1 GiB at a time, is no live block; what of it is resident and not live is free."""
    if python.minor < (3, 13):
        pytest.skip("has no mimalloc")
    program = run(python, "kept = [object() if i % 100 else [i] for i in range(6000000)]\n"
                          "kept = [one for one in kept if type(one) is list]\n"
                          "print('ready', flush=True); input()\n", env={"PYTHONMALLOC": "mimalloc"})
    program.ready()
    path = program.dump()
    found = account(path)
    adds_up(found, 0.05)
    assert found["verdict"] == "free"
    items = {item["key"]: item["bytes"] for item in found["items"]}
    assert items["interpreter_free"] > 60 * MB and items.get("mapped", 0) < MB
    assert sum(line.size for line in by_line(path).values()) < 60 * MB
    assert "Kept by mimalloc" in reader("--rss", path).stdout


@pytest.mark.few
@pytest.mark.parametrize("allocator", ["malloc", "pymalloc_debug", "malloc_debug"])
def test_other_allocators_of_python(python, run, allocator):
    """Also there the parts add up, and nothing is counted twice."""
    if python.free_threaded:
        pytest.skip("mimalloc serves Python's objects here, always")
    program = run(python, argv=[STORIES / "leak_python.py"], env={"PYTHONMALLOC": allocator})
    program.ready()
    found = account(program.dump())
    adds_up(found, 0.25 if "debug" in allocator else 0.15)
    assert found["verdict"] == "python"
    assert tops(found)[0] == line_of("leak_python.py", "history")


@pytest.mark.few
def test_untouched_memory_is_not_taken_for_the_cause(python, run):
    """Mapped, and never touched: counted live, and not resident."""
    program = run(python, "import mmap\nbig = mmap.mmap(-1, 500 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)\n"
                          "big[:1000000] = bytes(1000000)\n"
                          "kept = [bytes(600) for _ in range(100000)]  # @kept\nprint('ready', flush=True); input()\n")
    program.ready()
    path = program.dump()
    found = account(path)
    adds_up(found)
    mapped, = [item for item in found["items"] if item["key"] == "mapped"]
    assert mapped["bytes"] + mapped["untouched"] == pytest.approx(500 << 20, rel=0.01)
    assert 1000000 <= mapped["bytes"] < 10 * MB
    assert found["verdict"] == "python"
    assert "has no memory, as nobody has written to it" in reader("--rss", path).stdout


@pytest.mark.few
def test_what_has_memory_leads_whatever_its_kind(python, run):
    """400 MB that calloc gave and nobody touched, beside a mapping and a shared one that were written; a mapping that is
    unmapped piece by piece."""
    source = """\
        import ctypes, mmap
        libc = ctypes.CDLL(None)
        libc.calloc.restype = ctypes.c_void_p
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        zeros = libc.calloc(1, 400_000_000)
        private = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)  # @private
        fill = lambda where, size: ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(where)), 1, size)
        fill(private, 100 << 20)  # a copy that is freed would stay in mimalloc, and lead as much
        shared = mmap.mmap(-1, 60 << 20)
        fill(shared, 40 << 20)
        pieces = mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)  # @pieces
        base = ctypes.addressof(ctypes.c_char.from_buffer(pieces))
        for at in range(0, 160 << 20, 2 << 20):
            libc.munmap(base + at, 1 << 20)
        libc.munmap(base + (160 << 20), 40 << 20)
        print("ready", flush=True); input()
        """
    program = run(python, source)
    program.ready()
    path = program.dump()
    found = account(path)
    items = {item["key"]: item for item in found["items"]}
    assert items["mapped"]["bytes"] == pytest.approx(100 << 20, rel=0.05)
    assert items["shared"]["bytes"] == pytest.approx(40 << 20, rel=0.05)
    assert items["native_malloc"]["untouched"] == pytest.approx(400_000_000, rel=0.05)
    assert items["data"]["bytes"] > 100_000
    assert abs(items["unexplained"]["bytes"]) < 0.1 * found["bytes"]
    assert found["verdict"] == "native" and tops(found)[0] == "app.py:%d" % marks(source)["private"]
    assert by_line(path)["app.py", marks(source)["pieces"]].size == pytest.approx(80 << 20, rel=0.01)


DATA = """
char zeroed[24 << 20], data[8 << 20] = {1};
void touch(void)
{
    for (unsigned i = 0; i < sizeof zeroed; i += 4096) zeroed[i] = 1;
    for (unsigned i = 0; i < sizeof data; i += 4096) data[i] = 2;
}
"""


@pytest.mark.few
def test_data_of_libraries(python, run, tmp_path):
    """What a library has written of its data and its zeroes, and the program to a file mapped privately; not what the
    kernel joined to them, like arenas of Python's objects."""
    (tmp_path / "data.c").write_text(DATA)
    compiler = shutil.which("cc")
    assert compiler, "the tests need a C compiler"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", "data.so", "data.c"], cwd=tmp_path, check=True)
    program = run(python, """\
        import ctypes, mmap, sys
        kept = [[i] for i in range(700000)]
        print("ready", flush=True); input()
        library = ctypes.CDLL(sys.argv[1])
        library.touch()
        with open(sys.argv[2], "wb+") as file:
            file.truncate(20 << 20)
            view = mmap.mmap(file.fileno(), 20 << 20, flags=mmap.MAP_PRIVATE)
        view[:10 << 20] = b"x" * (10 << 20)
        print("ready", flush=True); input()
        """, args=[str(tmp_path / "data.so"), str(tmp_path / "file")])

    def data(number: int) -> float:
        program.ready()
        found = account(program.dump(number))
        adds_up(found, 0.1)
        return sum(item["bytes"] for item in found["items"] if item["key"] == "data")

    before = data(1)
    program.say("go")
    assert 100_000 < before < 6 * MB
    assert data(2) - before == pytest.approx(42 << 20, rel=0.03)


def test_a_small_process_is_nothing_unusual(python, run):
    program = run(python, "print('ready', flush=True); input()")
    program.ready()
    found = account(program.dump())
    assert found["verdict"] == "small"


@pytest.mark.few
def test_workers_share_what_they_inherited(python, run):
    """A parent's 60 MB, in two children untouched: together they are 60 MB and little more."""
    program = run(python, """\
        import os, signal, sys
        kept = [bytes(2000) for _ in range(30000)]
        pids = []
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                more = [bytes(1000) for _ in range(3000)]
                print("child", flush=True)
                signal.pause()
            pids.append(pid)
        print(*pids, flush=True)
        sys.stdin.read()
        """)
    said = [program.line() for _ in range(3)]
    pids = [int(word) for line in said if line != "child" for word in line.split()]
    paths = [program.dump()]
    for pid in pids:
        os.kill(pid, 12)
        paths.append(program.wait_for(program.path(1, pid)))
    document = json.loads(reader("--json", "-", *paths).stdout)
    alone, together = [one["account"]["bytes"] for one in document["processes"]], document["account"]
    assert all(size > 60 * MB for size in alone)
    assert together["bytes"] < 0.6 * sum(alone)
    items = {item["key"]: item["bytes"] for item in together["items"]}
    live = sum(size for key, size in items.items() if key.startswith("python_"))
    assert live == pytest.approx(30000 * 2033 + 2 * 3000 * 1033, rel=0.2)
    assert "All 3 processes together" in reader("--rss", *paths).stdout


# Stacks of threads.

STACKS = r"""
#include <pthread.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) int touch(int size)
{
    char here[size];
    memset(here, 1, (size_t)size);
    __asm__ volatile("" : : "r"(here) : "memory");
    return here[size / 2];
}

static int ready[2], rest[2];

static void *quiet(void *size)
{
    touch((int)(long)size);
    char c = 1;
    if (write(ready[1], &c, 1) != 1 || read(rest[0], &c, 1) < 0) {
        _exit(3);
    }
    return NULL;
}

/* A thread that never allocates, with a guard or without. */
int start(int size, int guard)
{
    pthread_attr_t attributes;
    pthread_t thread;
    char c;
    if (ready[1] == 0 && (pipe(ready) != 0 || pipe(rest) != 0)) {
        return -1;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setguardsize(&attributes, (size_t)guard);
    int result = pthread_create(&thread, &attributes, quiet, (void *)(long)size);
    return result != 0 || read(ready[0], &c, 1) != 1;
}
"""

THREADS = """\
import ctypes, os, sys, threading, time
native = ctypes.CDLL(sys.argv[1])
how, number, size = sys.argv[2], int(sys.argv[3]), 1 << 20
kept = bytearray(8 << 20)
gone = threading.Event()
if how == "python":
    touched = threading.Barrier(number + 1)
    def work():
        native.touch(size)
        touched.wait()
        gone.wait()
    threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    touched.wait()
else:
    for _ in range(number):
        assert native.start(size, 4096 if how == "guarded" else 0) == 0
print("ready", flush=True)
sys.stdin.readline()
if how == "python":
    gone.set()
    for thread in threads:
        thread.join()
    while len(os.listdir("/proc/self/task")) > 1:  # joined is not gone yet
        time.sleep(0.001)
    print("ready", flush=True)
    sys.stdin.read()
"""


def native_threads(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler")
    (folder / "stacks.c").write_text(STACKS)
    library = folder / "stacks.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-pthread", "-o", str(library), str(folder / "stacks.c")],
                   check=True)
    return library


def stacks_of(path: Path) -> float:
    return sum(item["bytes"] for item in account(path)["items"] if item["key"] == "thread_stacks")


@pytest.mark.few
@pytest.mark.parametrize("how", ["python", "guarded", "unguarded"])
def test_stacks_of_threads(python, run, tmp_path, how):
    """Also of threads that have never allocated, and of such without a page that guards their stack."""
    program = run(python, THREADS, args=[native_threads(tmp_path), how, "32"])
    program.ready()
    path = program.dump()
    assert stacks_of(path) == pytest.approx(32 << 20, rel=0.1)
    said = reader("--rss", path).stdout
    assert "stacks of other threads" in said and "stacks of other threads (" not in said
    if how == "python":
        program.say("go")
        program.ready()
        assert stacks_of(program.dump(2)) < 1 << 20


@pytest.mark.few
def test_a_forked_child_has_one_stack(python, run, tmp_path):
    """Forked by another thread than the main one, whose stack goes on; those of the others are no thread's."""
    program = run(python, """\
        import ctypes, os, signal, sys, threading
        native = ctypes.CDLL(sys.argv[1])
        def fork():
            native.touch(1 << 20)
            pid = os.fork()
            if pid == 0:
                print("child", flush=True)
                signal.pause()
            print(pid, flush=True)
            sys.stdin.read()
        threading.Thread(target=fork, daemon=True).start()
        sys.stdin.read()
        """, args=[native_threads(tmp_path)])
    pid, = [int(word) for word in (program.line(), program.line()) if word != "child"]
    os.kill(pid, 12)
    assert stacks_of(program.wait_for(program.path(1, pid))) == pytest.approx(1 << 20, rel=0.2)
    os.kill(pid, 9)


# Native memory under its Python line.

EXTENSION = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>

void *kept[1000]; /* not static: the compiler would see that nobody reads it, and leave the memset out */
static int count;

__attribute__((noinline)) static int keep_one(size_t size)
{
    void *block = malloc(size);
    if (block == NULL || count == 1000) {
        return -1;
    }
    memset(block, 1, size);
    kept[count++] = block;
    return 0;
}

static PyObject *keep(PyObject *self, PyObject *argument)
{
    if (keep_one(PyLong_AsSize_t(argument)) < 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"keep", keep, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "keeper", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_keeper(void)
{
    PyObject *made = PyModule_Create(&module);
#ifdef Py_GIL_DISABLED
    PyUnstable_Module_SetGIL(made, Py_MOD_GIL_NOT_USED); /* else the interpreter warns, and takes its lock */
#endif
    return made;
}
"""

#: Each line and its bytes. The sizes are large against the rate: one standard error is below 1 %.
NATIVE = """\
import ctypes, mmap, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
sys.path.insert(0, sys.argv[1])
kept = []
if sys.argv[2]:
    sys.path.insert(0, sys.argv[2])
    import numpy
    for _ in range(10):
        kept.append(numpy.arange(500000.0))  # @numpy
for _ in range(200):
    block = libc.malloc(100000)  # @malloc
    ctypes.memset(block, 1, 100000)
for _ in range(100):
    kept.append(bytes(100000))  # @bytes
for _ in range(3):
    kept.append(mmap.mmap(-1, 10000000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON))  # @mmap
    kept[-1].write(b"x" * 10000000)
try:
    import keeper
except ImportError:
    keeper = None
for _ in range(250 if keeper else 0):
    keeper.keep(60000)  # @extension
print("ready", flush=True)
sys.stdin.read()
"""
TRUTH = {"numpy": 40 * MB, "malloc": 20 * MB, "bytes": 10 * MB, "mmap": 30 * MB, "extension": 15 * MB}


def extension(python: Python, folder: Path) -> Optional[str]:
    """Compile the extension into the folder; why not, if not."""
    include = subprocess.run([python.path, "-c", "import sysconfig; print(sysconfig.get_paths()['include'])"],
                             stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not os.path.exists(os.path.join(include, "Python.h")):
        return "no compiler" if compiler is None else "no Python.h in %s" % include
    source = folder / "keeper.c"
    source.write_text(EXTENSION)
    triplet = "-I" + os.path.join(include, "x86_64-linux-gnu")
    done = subprocess.run([compiler, "-g", "-O1", "-shared", "-fPIC", "-I" + include, triplet, "-o",
                           str(folder / "keeper.so"), str(source)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return None


def numpy_folder(python: Python) -> Optional[Path]:
    """A folder with numpy for the interpreter; made once, kept in the cache. None: it cannot be had."""
    pin = "numpy==" + ("1.24.4" if python.minor < (3, 9) else "2.0.2" if python.minor < (3, 13) else "2.3.5")
    return wheels(python.minor_name, pin)


@pytest.mark.few
@pytest.mark.network
def test_native_memory_by_python_line(python, run, tmp_path):
    numpy, missing = numpy_folder(python), extension(python, tmp_path)
    program = run(python, NATIVE, args=[tmp_path, numpy or ""], env={"MPROFILERATE": "16k"})
    program.ready()
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    lines, where = by_line(path), marks(NATIVE)
    left_out = {name for name, absent in (("numpy", numpy is None), ("extension", missing)) if absent}
    for name, size in TRUTH.items():
        if name not in left_out:
            assert lines["app.py", where[name]].size == pytest.approx(size, rel=0.05), name
    found = account(path)
    adds_up(found)
    assert found["verdict"] == "native"
    if left_out:
        pytest.skip("passed, without %s: %s" % (" and ".join(sorted(left_out)),
                                                missing or "no wheel of numpy for this interpreter"))


LIBRARIES = """\
import sqlite3, sys, zlib
kept = []
for _ in range(60):
    kept.append(zlib.compressobj())  # @zlib
for _ in range(150):
    kept.append(bytearray(100000))  # @bytearray
database = sqlite3.connect(":memory:")
database.execute("create table rows (data blob)")
for _ in range(120):
    database.execute("insert into rows values (zeroblob(100000))")  # @sqlite3
print(*database.execute("pragma page_count").fetchone(), flush=True)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
def test_memory_of_the_standard_librarys_c_code(python, run):
    """zlib's windows, a bytearray's buffer, a database in memory: each under the Python line that asked for it."""
    program = run(python, LIBRARIES, env={"MPROFILERATE": "1"})
    pages = int(program.line())
    program.ready()
    found = by_line(program.dump())
    # deflate's own words: (1 << (windowBits + 2)) + (1 << (memLevel + 9)), and a few kilobytes; a page of the database has a head of 250 bytes.
    truth = {"zlib": 60 * (262144 + 6000), "bytearray": 150 * 100000, "sqlite3": pages * (4096 + 250)}
    for name, line in marks(LIBRARIES).items():
        assert found["app.py", line].size == pytest.approx(truth[name], rel=0.05), (name, found["app.py", line])
    assert program.finish() == 0 and program.stderr == ""
