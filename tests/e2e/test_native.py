# SPDX-License-Identifier: MIT
"""Native stacks, merged with Python's: an extension module's functions between a Python function and malloc.

The modules are compiled here, for each interpreter whose headers are there.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

import cc
import pytest
from harness import Python, RawFile, marks, reader, write
from rawfile import Frame, Live

NATIVE = 0xFFFFFFFF
LIBUNWIND = "libunwind-x86_64.so.8"
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")

EXTENSION = r"""
#include <Python.h>
#include <pthread.h>
#include <stdlib.h>

void *kept[64];
int count;

__attribute__((noinline)) void *ext_inner(size_t size)
{
    void *block = malloc(size);
    kept[count++ % 64] = block;
    __asm__ volatile("");
    return block;
}

__attribute__((noinline)) void *ext_outer(size_t size)
{
    void *block = ext_inner(size);
    __asm__ volatile("" : : "r"(block));
    return block;
}

PyObject *keep(PyObject *self, PyObject *size)
{
    ext_outer(PyLong_AsSize_t(size));
    __asm__ volatile("");
    Py_RETURN_NONE;
}

PyObject *call(PyObject *self, PyObject *function)
{
    PyObject *result = PyObject_CallFunctionObjArgs(function, NULL);
    __asm__ volatile("");
    return result;
}

void *ext_thread(void *size)
{
    ext_outer(*(size_t *)size);
    __asm__ volatile("");
    return NULL;
}

PyObject *thread(PyObject *self, PyObject *size)
{
    size_t bytes = PyLong_AsSize_t(size);
    pthread_t thread;
    pthread_create(&thread, NULL, ext_thread, &bytes);
    pthread_join(thread, NULL);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"keep", keep, METH_O, NULL}, {"call", call, METH_O, NULL}, {"thread", thread, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ext", NULL, -1, methods};

PyMODINIT_FUNC PyInit_ext(void)
{
    PyObject *made = PyModule_Create(&module);
#ifdef Py_GIL_DISABLED
    PyUnstable_Module_SetGIL(made, Py_MOD_GIL_NOT_USED);
#endif
    return made;
}
"""


def include(python: Python) -> Optional[Path]:
    """The folder of the interpreter's headers; not where it says it is, for those unpacked elsewhere."""
    said = Path(python.facts["include"])
    beside = Path(python.path).resolve().parents[1] / "include" / said.name
    for folder in (beside, said):
        if (folder / "Python.h").exists():
            return folder
    return None


def compile_c(source: str, target: Path, *flags: str, compiler: str = "cc") -> Path:
    suffix = ".cc" if compiler == "c++" else ".c"
    code = write(target.with_suffix(suffix), source)
    subprocess.run([compiler, "-O2", "-g", "-fPIC", "-shared", "-o", str(target), str(code), *flags], check=True)
    return target


@pytest.fixture
def extension(python: Python, tmp_path: Path) -> Path:
    headers = include(python)
    if headers is None:
        pytest.skip("no headers for " + python.name)
    return compile_c(EXTENSION, tmp_path / "ext.so", "-I%s" % headers, "-I%s" % headers.parent, "-pthread")


class Module(NamedTuple):
    path: str
    build_id: str
    start: int
    end: int
    bias: int


def modules(raw: RawFile) -> Dict[str, Module]:
    """The section MODS, by path."""
    strings: Dict[int, str] = {}
    rows: List[Sequence[int]] = []
    for tag, payload in raw._sections():
        if tag == b"STRS":
            first, count = struct.unpack_from("<II", payload)
            lengths = struct.unpack_from("<%dI" % count, payload, 8)
            at = (8 + 4 * count + 7) // 8 * 8
            for offset, length in enumerate(lengths):
                strings[first + offset] = payload[at:at + length].decode()
                at += length
        elif tag == b"MODS":
            rows += raw._numbered(payload, "IIQQQ").values()
    return {strings[row[0]]: Module(strings[row[0]], strings[row[1]], *row[2:]) for row in rows}


def names(sample: Live) -> List[str]:
    return [frame.name for frame in sample.stack]


def of_size(raw: RawFile, size: int) -> Live:
    found = [sample for sample in raw.live if sample.size == size]
    assert len(found) == 1, (size, found)
    return found[0]


def is_native(frame: Frame) -> bool:
    return frame.firstline == NATIVE


def without_interpreter(python: Python, sample: Live) -> List[str]:
    """The names of a stack, without the interpreter's own functions and the start of the program."""
    own = ("libpython", os.path.basename(python.path), "libc.so", "ld-linux")
    return [frame.name for frame in sample.stack
            if not (is_native(frame) and os.path.basename(frame.file).startswith(own))]


STACKS = """
import sys
sys.path.insert(0, ".")
import ext
import functools

def leaf(size):
    ext.keep(size)  # @leaf

def middle(size):
    leaf(size)  # @middle

class Made:
    def __init__(self, size):
        middle(size)  # @init

def generate(size):
    middle(size)  # @generate
    yield size

def main():
    middle(1000001)  # @plain
    Made(1000002)  # @class
    list(generate(1000003))  # @generator
    ext.call(functools.partial(middle, 1000004))  # @call
    sorted([1], key=lambda x: middle(1000005) or x)  # @sort
    ext.thread(1000006)  # @thread
    global kept
    kept = b"x" * 1000007  # @bytes

main()
print("ready", flush=True)
sys.stdin.read()
"""
RATE = {"MPROFILENATIVE": "1", "MPROFILERATE": "1"}


def test_extension_between_python_and_malloc(python: Python, run, extension: Path) -> None:
    program = run(python, STACKS, env=RATE).ready()
    raw = RawFile(program.dump())
    line = marks(STACKS)
    assert raw.head["native"] == "1"
    assert "note.native_unmatched" not in raw.head
    qualified = python.qualified
    init = "Made.__init__" if qualified else "__init__"
    lambda_name = "main.<locals>.<lambda>" if qualified else "<lambda>"
    expected = {
        1000001: ["leaf", "middle", "main", "<module>"],
        1000002: ["leaf", "middle", init, "main", "<module>"],
        1000003: ["leaf", "middle", "generate", "main", "<module>"],
        1000004: ["leaf", "middle", "call", "main", "<module>"],
        1000005: ["leaf", "middle", lambda_name, "main", "<module>"],
    }
    for size, callers in expected.items():
        sample = of_size(raw, size)
        shown = without_interpreter(python, sample)
        shown = [name for name in shown if name]  # of _functools and the like, where it is a module of its own
        assert shown[:3] == ["ext_inner", "ext_outer", "keep"], shown
        assert [name for name in shown[3:] if not name.startswith("Py")] == callers, shown
        assert names(sample)[:3] == ["ext_inner", "ext_outer", "keep"]
        python_lines = {frame.name: frame.line for frame in sample.stack if not is_native(frame)}
        assert python_lines["leaf"] == line["leaf"] and python_lines["middle"] == line["middle"]
        assert python_lines["main"] == {1000001: line["plain"], 1000002: line["class"], 1000003: line["generator"],
                                        1000004: line["call"], 1000005: line["sort"]}[size]
        assert names(sample)[-1] == "_start"
        assert sample.depth == len(sample.stack)

    thread = of_size(raw, 1000006)
    assert names(thread)[:3] == ["ext_inner", "ext_outer", "ext_thread"]
    assert all(is_native(frame) for frame in thread.stack), thread.stack

    size = min(sample.size for sample in raw.live if sample.size > 1000006)
    whole = of_size(raw, size)  # a bytes object: its innermost frame is its maker, no allocator and no hook
    assert is_native(whole.stack[0])
    assert "main" in names(whole)
    assert not [frame for sample in raw.live for frame in sample.stack if "libmprofile" in frame.file]


def test_modules_are_named_for_another_machine(python: Python, run, extension: Path) -> None:
    program = run(python, STACKS, env=RATE).ready()
    raw = RawFile(program.dump())
    found = modules(raw)
    ext = next(module for path, module in found.items() if path.endswith("ext.so"))
    mapped = [line for line in Path("/proc/%d/maps" % program.pid).read_text().splitlines() if line.endswith("ext.so")]
    assert min(int(line.split("-")[0], 16) for line in mapped) == ext.start == ext.bias
    assert os.path.realpath(python.path) in found
    for module in found.values():
        assert re.fullmatch(r"([0-9a-f]{2})*", module.build_id) and module.start < module.end
    native = {frame.file for sample in raw.live for frame in sample.stack if is_native(frame) and frame.file}
    assert native <= set(found)
    # A frame's line lies inside the function that its name says.
    table = subprocess.run(["nm", "-S", "--defined-only", str(extension)], stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    places = {words[3]: (int(words[0], 16), int(words[1], 16))
              for words in map(str.split, table.splitlines()) if len(words) == 4}
    for frame in of_size(raw, 1000001).stack[:3]:
        start, size = places[frame.name]
        assert start < frame.line < start + size
    said = subprocess.run(["readelf", "-n", str(extension)], stdout=subprocess.PIPE, text=True, check=True).stdout
    match = re.search(r"Build ID: ([0-9a-f]+)", said)
    assert ext.build_id == (match.group(1) if match else "")


def test_static_functions_have_no_name(python: Python, run, extension: Path, tmp_path: Path) -> None:
    """What lies behind the end of a symbol is not that symbol's."""
    headers = include(python)
    source = EXTENSION.replace("__attribute__((noinline)) void *ext_inner", "static __attribute__((noinline)) void *ext_inner")
    compile_c(source, extension, "-I%s" % headers, "-I%s" % headers.parent, "-pthread")
    raw = RawFile(run(python, STACKS, env=RATE).ready().dump())
    assert names(of_size(raw, 1000001))[:3] == ["", "ext_outer", "keep"]


DEEP = """
import sys
sys.path.insert(0, ".")
import ext

def down(n):
    if n:
        ext.call(lambda: down(n - 1))
    else:
        ext.keep(1000001)

down(60)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("limit", [1, 3, 30, 200, 5000])
@pytest.mark.few
def test_limit_is_of_the_merged_stack(python: Python, run, extension: Path, limit: int) -> None:
    raw = RawFile(run(python, DEEP, env={**RATE, "MPROFILEFRAMES": str(limit)}).ready().dump())
    sample = of_size(raw, 1000001)
    kept = [frame for frame in sample.stack if frame.file != "<unknown>"]
    nearest = {1: ["down"], 3: ["ext_inner", "down", "<lambda>"]}.get(limit, ["ext_inner", "ext_outer", "keep"])
    assert [frame.name.rpartition(".")[2] for frame in kept][:3] == nearest
    if limit <= 200:
        assert len(kept) == limit and sample.depth > limit and names(sample)[-1] == "[frames cut]"
        assert sum(not is_native(frame) for frame in kept) >= (limit + 1) // 2
    else:
        assert names(sample)[-1] == "_start" and sample.depth == len(sample.stack) < limit
        assert names(sample).count("down") == 61 and names(sample).count("call") == 60


RECURSION = """
#include <stdlib.h>
void *block;
__attribute__((noinline)) void recurse(int left)
{
    if (left == 0) {
        block = malloc(1000001);
    } else {
        recurse(left - 1);
    }
    __asm__ volatile("");
}
"""
RECURSION_APP = """
import ctypes, sys
recurse = ctypes.CDLL("./recursion.so").recurse

def inner(depth):
    recurse(depth)  # @inner

def outer(depth):
    inner(depth)  # @outer

outer(DEPTH)  # @module
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
@pytest.mark.parametrize("limit, depth", [(128, 200), (128, 100000), (8, 100)])
def test_recursion_in_c_keeps_the_python_line(python: Python, run, tmp_path: Path, limit: int, depth: int) -> None:
    """Beyond the limit, and beyond what is walked, the line that the block is known by is still Python's."""
    compile_c(RECURSION, tmp_path / "recursion.so")
    code = RECURSION_APP.replace("DEPTH", str(depth))
    snapshot = run(python, code, env={**RATE, "MPROFILEFRAMES": str(limit)}).ready().dump()
    sample = of_size(RawFile(snapshot), 1000001)
    line = marks(code)
    of_python = [frame for frame in sample.stack if not is_native(frame) and frame.file != "<unknown>"]
    assert [(frame.name, frame.line) for frame in of_python] == [
        ("inner", line["inner"]), ("outer", line["outer"]), ("<module>", line["module"])]
    assert names(sample)[:3] == ["recurse"] * 3
    assert names(sample)[-1] == "[frames cut]" and sample.depth > limit == len(sample.stack) - 1
    first = reader("--limit", "1", "--exclude", "<*", snapshot).stdout
    assert "app.py:%d" % line["inner"] in first and "note.native" not in first


CPP = """
#include <new>
struct Block { char bytes[1000001]; };
namespace shop { __attribute__((noinline)) void *make(int) { void *block = new Block; asm volatile("" : : "r"(block)); return block; } }
extern "C" void *entry() { void *block = shop::make(1); asm volatile("" : : "r"(block)); return block; }
"""
CPP_APP = """
import ctypes, sys
library = ctypes.CDLL("./cpp.so")
library.entry.restype = ctypes.c_void_p
library.entry()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
def test_room_for_deep_stacks_is_not_counted(python: Python, run, tmp_path: Path) -> None:
    """What was reserved for stacks of 65535 frames, 17 MB, and never touched, is no memory of the profiler's."""
    own = {}
    for limit in ("128", "65535"):
        raw = RawFile(run(python, "print('ready', flush=True); input()", env={**RATE, "MPROFILEFRAMES": limit}).ready().dump())
        own[limit] = int(raw.head["own_bytes"])
    assert own["65535"] < own["128"] + (1 << 20)


@pytest.mark.few
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_cpp_new(python: Python, run, tmp_path: Path) -> None:
    compile_c(CPP, tmp_path / "cpp.so", compiler="c++")
    raw = RawFile(run(python, CPP_APP, env=RATE).ready().dump())
    shown = names(of_size(raw, 1000001))
    assert shown[:3] == ["_Znwm", "_ZN4shop4makeEi", "entry"]
    assert shown[-1] == "_start" and "<module>" in shown


RELATIVE_APP = """
import ctypes, os, sys
os.chdir("lib")
library = ctypes.CDLL("./cpp.so")
os.chdir("/")
library.first.argtypes = [ctypes.c_size_t]
library.first(1000001)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
def test_a_module_loaded_by_a_relative_name(python: Python, run, tmp_path: Path) -> None:
    """Its path is the file's, also where the program has gone elsewhere before the first sample in it."""
    folder = tmp_path / "a folder" / "lib"
    folder.mkdir(parents=True)
    compile_c(SWAPPED % {"name": "first"}, folder / "cpp.so")
    raw = RawFile(run(python, RELATIVE_APP, env=RATE, cwd=folder.parent).ready().dump())
    assert of_size(raw, 1000001).stack[0].file == str(folder / "cpp.so")
    assert [path for path in modules(raw) if not path.startswith("/")] in ([], ["linux-vdso.so.1"])


SWAPPED = """
#include <stdlib.h>
void *%(name)s(size_t size) { void *block = malloc(size); __asm__ volatile("" : : "r"(block)); return block; }
"""
SWAPPED_APP = """
import ctypes, sys
import _ctypes
places = []
for name, size in (("first", 1000001), ("other", 1000002)) * 2:
    library = ctypes.CDLL("./%s.so" % name)
    function = getattr(library, name)
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    places.append(ctypes.cast(function, ctypes.c_void_p).value)
    function(size + 10 * len(places))
    _ctypes.dlclose(library._handle)
print(len(set(places)), flush=True)
sys.stdin.read()
"""


@pytest.mark.few
@pytest.mark.parametrize("build_id", ["sha1", "none"])
def test_another_module_at_the_same_address(python: Python, run, tmp_path: Path, build_id: str) -> None:
    for name in ("first", "other"):
        compile_c(SWAPPED % {"name": name}, tmp_path / (name + ".so"), "-Wl,--build-id=" + build_id)
    program = run(python, SWAPPED_APP, env=RATE)
    assert program.line() == "1", "they were loaded at one address"
    raw = RawFile(program.dump())
    for size, name in ((1000011, "first"), (1000022, "other"), (1000031, "first"), (1000042, "other")):
        nearest = of_size(raw, size).stack[0]
        assert (nearest.name, os.path.basename(nearest.file)) == (name, name + ".so")
    assert len([path for path in modules(raw) if path.endswith("first.so")]) == 1


LOADING = """
import ctypes, os, sys, threading, time
import _ctypes
end = time.monotonic() + 4
turns = [0, 0, 0]

def going():  # long enough, and each at least once where the machine is slow
    return time.monotonic() < end or not all(turns)

def load():
    while going():
        library = ctypes.CDLL("./loaded.so")  # its constructor allocates
        _ctypes.dlclose(library._handle)
        turns[0] += 1

visit = ctypes.CDLL("./visitor.so").visit

def iterate():
    while going():
        visit()  # allocates in dl_iterate_phdr's callback, inside the loader's lock
        turns[1] += 1

def allocate():
    while going():
        for size in range(100, 2000, 100):
            bytes(size)
        turns[2] += 1

def fork():
    while going():
        child = os.fork()
        if child == 0:
            visit()
            _ctypes.dlclose(ctypes.CDLL("./loaded.so")._handle)
            list(map(bytes, range(1000)))
            os._exit(7)
        assert os.waitpid(child, 0)[1] == 7 << 8
        turns[0] += 1
        turns[1] += 1

threads = [threading.Thread(target=globals()[name]) for name in sys.argv[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert all(turns)
print("ready", flush=True)
sys.stdin.read()
"""
LOADED = """
#include <stdlib.h>
static void *block;
static __attribute__((constructor)) void in(void) { for (int i = 0; i < 100; i++) { free(block); block = malloc(3000 + i); } }
static __attribute__((destructor)) void out(void) { free(block); }
"""
VISITOR = """
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
static int each(struct dl_phdr_info *info, size_t size, void *data)
{
    void *volatile block = malloc(4000);
    free(block);
    return 0;
}
void visit(void) { dl_iterate_phdr(each, NULL); }
"""


@pytest.mark.few
@pytest.mark.parametrize("frames", ["128", "1000"])
@pytest.mark.parametrize("threads", ["load iterate allocate allocate", "fork allocate allocate"])
def test_no_deadlock_with_the_loader(python: Python, run, tmp_path: Path, threads: str, frames: str) -> None:
    compile_c(LOADED, tmp_path / "loaded.so")
    compile_c(VISITOR, tmp_path / "visitor.so")
    env = {"MPROFILENATIVE": "1", "MPROFILERATE": "512", "MPROFILEFRAMES": frames, "PYTHONWARNINGS": "ignore"}
    program = run(python, LOADING, args=threads.split(), env=env)
    assert program.line(60) == "ready"
    raw = RawFile(program.dump())
    assert raw.head["native"] == "1"
    assert program.finish() == 0, program.stderr


REFUSE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
void *dlopen(const char *name, int flags)
{
    void *(*next)(const char *, int) = dlsym(RTLD_NEXT, "dlopen");
    return name != NULL && strncmp(name, "libunwind", 9) == 0 ? NULL : next(name, flags);
}
"""


@pytest.mark.few
def test_without_libunwind(python: Python, run, extension: Path, tmp_path: Path) -> None:
    from harness import LIBRARY

    refuse = compile_c(REFUSE, tmp_path / "refuse.so")
    program = run(python, STACKS, env={**RATE, "LD_PRELOAD": "%s:%s" % (refuse, LIBRARY)}).ready()
    raw = RawFile(program.dump())
    assert program.stderr == ("mprofile: MPROFILENATIVE=1: %s cannot be loaded; stacks have Python frames only\n" % LIBUNWIND)
    assert raw.head["native"] == LIBUNWIND + " cannot be loaded"
    assert names(of_size(raw, 1000001)) == ["leaf", "middle", "main", "<module>"]
    assert not modules(raw)
    assert program.finish() == 0


@pytest.mark.few
def test_off_does_not_load_it(python: Python, run, extension: Path) -> None:
    program = run(python, STACKS, env={"MPROFILERATE": "1"}).ready()
    assert "libunwind" not in Path("/proc/%d/maps" % program.pid).read_text()
    raw = RawFile(program.dump())
    assert raw.head["native"] == "0" and not modules(raw)
    assert names(of_size(raw, 1000001)) == ["leaf", "middle", "main", "<module>"]
    assert names(of_size(raw, 1000006)) == ["[no Python thread]"]


@pytest.mark.few
def test_leaves_no_descriptor(python: Python, run, extension: Path) -> None:
    """What libunwind opens for itself it would use after the program gave its number to a file of its own."""
    program = run(python, STACKS, env=RATE).ready()
    opened = [os.readlink("/proc/%d/fd/%s" % (program.pid, fd)) for fd in os.listdir("/proc/%d/fd" % program.pid)]
    assert len(opened) == 3, opened


HANDLER = """
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
void *block;
static char other[65536];
__attribute__((noinline)) void in_handler(int number) { block = malloc(1000001); __asm__ volatile(""); }
__attribute__((noinline)) void interrupted(void) { raise(SIGUSR1); __asm__ volatile(""); }
void start(void)
{
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
    struct sigaction action = {.sa_handler = in_handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    interrupted();
    __asm__ volatile("");
}
"""
HANDLER_APP = """
import ctypes, sys
ctypes.CDLL("./handler.so").start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
def test_through_a_signal_on_another_stack(python: Python, run, tmp_path: Path) -> None:
    compile_c(HANDLER, tmp_path / "handler.so")
    raw = RawFile(run(python, HANDLER_APP, env=RATE).ready().dump())
    shown = names(of_size(raw, 1000001))
    assert shown[0] == "in_handler"
    assert shown.index("interrupted") + 1 == shown.index("start") < shown.index("<module>")
    assert shown[-1] == "_start"


TINY = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

KERNEL_FRAME
enum { BELOW = 65536 };
static size_t size;
static void *volatile block;

__attribute__((noinline)) void in_handler(int number)
{
    free(block);
    block = malloc(size);
    free(malloc(size + 5));
    block = malloc(size);
}

/* Bytes that a handler has used of its stack, the kernel's among them; beyond its end where it is more than there are. */
static long handle(size_t room)
{
    unsigned char *below = mmap(NULL, BELOW + room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(below, 0xA5, BELOW + room);
    stack_t stack = {.ss_sp = below + BELOW, .ss_size = room};
    struct sigaction action = {.sa_handler = in_handler, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&stack, NULL) != 0) {
        return -1;
    }
    sigaction(SIGUSR1, &action, NULL);
    block = malloc(size);
    raise(SIGUSR1);
    unsigned char *touched = below;
    while (*touched == 0xA5) {
        touched++;
    }
    return below + BELOW + room - touched;
}

static void *all(void *unused)
{
    size_t least = of_the_kernel();
    static const size_t more[] = {16384, 700, 1200, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 16384};
    for (int i = 0; i < sizeof more / sizeof *more; i++) {
        size_t room = least + more[i];
        size = 1000000 + more[i] + (unused != NULL);
        long used = handle(room);
        if (used < 0 || used > room) {
            printf("of %zu bytes a handler used %ld\n", room, used);
            fflush(stdout);
        }
    }
    return NULL;
}

void start(void)
{
    pthread_t thread;
    all(NULL);
    pthread_create(&thread, NULL, all, "");
    pthread_join(thread, NULL);
}
"""
TINY_APP = """
import ctypes, sys
ctypes.CDLL("./tiny.so").start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
def test_a_handler_on_a_tiny_stack(python: Python, run, tmp_path: Path, native: str) -> None:
    """No sample writes beyond the end of the stack of a handler that allocates: there is no guard."""
    compile_c(TINY.replace("KERNEL_FRAME", cc.KERNEL_FRAME), tmp_path / "tiny.so", "-pthread")
    env = {"MPROFILERATE": "1", "MPROFILENATIVE": native}
    raw = RawFile(run(python, TINY_APP, env=env).ready().dump())
    sizes = {sample.size: sample for sample in raw.live}
    assert 1000700 not in sizes and int(raw.head["lost.small_stacks"]) >= 4
    small, large = sizes[1005000], sizes[1016384]
    assert (names(large)[0] == "in_handler") == (native == "1")
    assert names(small) == ["<module>"]
    assert (int(raw.head.get("note.native_skipped", "0")) >= 4) == (native == "1")


SMALL = """
#include <pthread.h>
#include <stdlib.h>
void *block;
void *on_small_stack(void *unused) { block = malloc(1000001); return NULL; }
void start(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    pthread_create(&thread, &attributes, on_small_stack, NULL);
    pthread_join(thread, NULL);
}
"""
SMALL_APP = """
import ctypes, sys
ctypes.CDLL("./small.so").start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.few
def test_a_thread_with_the_smallest_stack(python: Python, run, tmp_path: Path) -> None:
    compile_c(SMALL, tmp_path / "small.so", "-pthread")
    raw = RawFile(run(python, SMALL_APP, env=RATE).ready().dump())
    assert names(of_size(raw, 1000001))[0] == "on_small_stack"


def test_what_the_interpreter_reserves_is_not_live(python, run):
    """The mimalloc of free-threaded builds reserves a gibibyte: what it gives out of it is counted, and only that."""
    program = run(python, "import sys\nprint('ready', flush=True)\nsys.stdin.read()\n", env={"MPROFILERATE": "4k"})
    program.ready()
    rows = json.loads(reader("--by", "domain", "--json", "-", program.dump()).stdout)["rows"]
    assert sum(row["bytes"] for row in rows if row["domain"] == "mmap") < 16 << 20, rows


FILTERED_APP = """
import ctypes, os, struct, sys, threading

def forbid(*calls):
    refuse, allow = 0x00050001, 0x7FFF0000  # SECCOMP_RET_ERRNO with EPERM, SECCOMP_RET_ALLOW
    code = [(0x20, 0, 0, 0)]  # the number of the call
    for call in calls:
        code += [(0x15, 0, 1, call), (0x06, 0, 0, refuse)]
    code.append((0x06, 0, 0, allow))
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
        print("no seccomp", flush=True)

def allocate():
    global kept
    kept = bytearray(1000001)  # @kept

if sys.argv[1:] != ["again"]:
    forbid(CALLS)
    if not LATE:
        os.execv(sys.executable, [sys.executable, __file__, "again"])
thread = threading.Thread(target=allocate)  # of its stack nothing is known yet
thread.start()
thread.join()
print("ready", flush=True)
sys.stdin.read()
"""
READV, PIPE2 = 310, 293  # of x86-64


@pytest.mark.few
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("calls", [(READV,), (READV, PIPE2)])
def test_under_a_seccomp_filter(python: Python, run, calls: Sequence[int], late: bool) -> None:
    """Where memory cannot be read in safety the snapshot says so; one of the two ways is enough."""
    code = FILTERED_APP.replace("CALLS", ", ".join(map(str, calls))).replace("LATE", str(late))
    program = run(python, code, env=RATE)
    word = program.line()
    if word == "no seccomp":
        pytest.skip("filters are forbidden")
    assert word == "ready"
    raw = RawFile(program.dump())
    shown = [frame.name.rpartition(".")[2] for frame in of_size(raw, min(
        sample.size for sample in raw.live if sample.size > 1000000)).stack]
    if len(calls) == 1:
        assert raw.head["native"] == "1" and raw.head["python.stacks"] == "1"
        assert "note.native_refused" not in raw.head
        assert "allocate" in shown and shown[-1] not in ("allocate", "_bootstrap")
    elif late:
        assert raw.head["python.stacks"] == "1" and int(raw.head["note.native_refused"]) > 0
        assert "allocate" in shown
    else:
        assert "seccomp" in raw.head["native"] and "seccomp" in raw.head["python.stacks"]
        assert shown == ["[stacks off]"]
        said = program.stderr
        assert "MPROFILENATIVE=1: process_vm_readv and pipes are forbidden (seccomp); stacks have" in said
