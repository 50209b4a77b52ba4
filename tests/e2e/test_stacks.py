# SPDX-License-Identifier: MIT
"""Golden stacks: what the file says equals what the program's own frames say, in every kind of code.

Each case keeps a block of a size that nothing else has, and writes down on the same source line the
stack that Python itself sees (sys._getframe, the frames that traceback.extract_stack prints). At rate 1
the block is in the file under exactly that stack, in that order.
"""
from __future__ import annotations

import json
from typing import Dict

import cc
import pytest
from harness import LIBRARY, RawFile, Running

PRELUDE = r"""
import json, sys, threading
KEPT, GOLDEN = [], {}

def here():
    frame, stack = sys._getframe(1), []
    while frame is not None:
        code = frame.f_code
        stack.append([getattr(code, "co_qualname", code.co_name), code.co_filename, code.co_firstlineno, frame.f_lineno])
        frame = frame.f_back
    return stack

def keep(case, block, stack):
    size = sys.getsizeof(block)
    assert size not in GOLDEN, case
    GOLDEN[size] = [case, stack]
    KEPT.append(block)
"""

EPILOGUE = r"""
print(json.dumps(GOLDEN), flush=True)
print("ready", flush=True)
sys.stdin.read()
"""

CASES = r"""
import asyncio, contextlib, functools

def plain():
    keep("plain", bytes(100001), here())
plain()

def recurse(n):
    if n:
        return recurse(n - 1)
    keep("recursion", bytes(100101), here())
recurse(30)

def generator():
    yield 1
    keep("generator", bytes(100201), here())
    yield 2
list(generator())

def delegating():
    yield from inner_generator()
def inner_generator():
    keep("yield from", bytes(100301), here())
    yield 1
list(delegating())

[keep("list comprehension", bytes(100401), here()) for _ in range(1)]
{keep("set comprehension", bytes(100501), here()) for _ in range(1)}
{i: keep("dict comprehension", bytes(100601), here()) for i in range(1)}
list(keep("generator expression", bytes(100701), here()) for _ in range(1))
def in_function():
    return [[keep("nested comprehension", bytes(100801), here()) for _ in range(1)] for _ in range(1)]
in_function()

class Body:
    keep("class body", bytes(100901), here())
    class Inner:
        keep("inner class body", bytes(101001), here())
    def method(self):
        keep("method", bytes(101101), here())
    @property
    def attribute(self):
        keep("property", bytes(101201), here())
    @staticmethod
    def static():
        keep("static method", bytes(101301), here())
    @classmethod
    def of_class(cls):
        keep("class method", bytes(101401), here())
    def __init__(self):
        keep("__init__", bytes(101501), here())
    def __add__(self, other):
        keep("operator", bytes(101601), here())
    def __del__(self):
        keep("destructor", bytes(101701), here())
body = Body()
body.method(); body.attribute; body.static(); body.of_class(); body + 1
del body

class Meta(type):
    def __call__(cls):
        keep("metaclass call", bytes(101801), here())
    def __new__(meta, name, bases, space):
        keep("metaclass new", bytes(101901), here())
        return super().__new__(meta, name, bases, space)
class Made(metaclass=Meta):
    pass
Made()

def closure(n):
    def inner():
        keep("closure", bytes(102001 + n), here())
    return inner
closure(0)()

(lambda: keep("lambda", bytes(102101), here()))()

async def coroutine(depth):
    if depth:
        return await coroutine(depth - 1)
    await asyncio.sleep(0)
    keep("coroutine", bytes(102201), here())
async def asynchronous_generator():
    keep("asynchronous generator", bytes(102301), here())
    yield 1
async def drive():
    await coroutine(5)
    async for _ in asynchronous_generator():
        pass
    await asyncio.gather(*[one(i) for i in range(2)])
async def one(i):
    await asyncio.sleep(0)
    keep("task", bytes(102401 + i), here())
loop = asyncio.new_event_loop()
loop.run_until_complete(drive())
loop.close()

sorted([1], key=lambda _: keep("key function from C", bytes(102501), here()) or 0)
functools.reduce(lambda a, b: keep("reduce from C", bytes(102601), here()), [1, 2])
list(map(functools.partial(lambda a, b: keep("map and partial from C", bytes(102701), here()), 1), [1]))

@contextlib.contextmanager
def manager():
    keep("context manager", bytes(102801), here())
    yield
with manager():
    pass

def decorated_by(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper
@decorated_by
def decorated():
    keep("decorated", bytes(102901), here())
decorated()

exec(compile('''
def executed():
    keep("exec", bytes(103001), here())
executed()
''', "<string>", "exec"))
exec("keep('exec of text', bytes(103101), here())")
eval("keep('eval', bytes(103201), here())")

def thrower():
    try:
        yield
    except ValueError:
        keep("thrown into a generator", bytes(103301), here())
    yield
thrown = thrower()
next(thrown)
thrown.throw(ValueError())

def long_function():
    a = 1
""" + "\n" * 400 + r"""
    keep("many lines down", bytes(103401), here())
long_function()

class Iterator:
    def __iter__(self):
        return self
    def __next__(self):
        keep("next from C", bytes(103501), here())
        raise StopIteration
list(Iterator())

def with_cells(a, b):
    def f():
        return a, b
    keep("cells", bytes(103601), here()); return f
with_cells(1, 2)

def star(*args, **keywords):
    keep("star arguments", bytes(103701), here())
star(*range(5), **{"a": 1})
"""


def check(program: Running) -> RawFile:
    golden = json.loads(program.line())
    program.ready()
    raw = RawFile(program.dump())
    assert program.finish() == 0 and program.stderr == ""
    for size, (case, stack) in golden.items():
        samples = raw.samples(int(size))
        assert len(samples) == 1, (case, size)
        assert [list(frame) for frame in samples[0].stack] == stack, case
        assert samples[0].depth == len(stack)
    assert golden
    return raw


def test_kinds_of_code(python, run):
    check(run(python, PRELUDE + CASES + EPILOGUE, env={"MPROFILERATE": "1", "MPROFILEFRAMES": "1000"}))


def test_threads(python, run):
    raw = check(run(python, PRELUDE + r"""
def work(n):
    keep("thread", bytes(110001 + n), here())
    gate.wait()
gate = threading.Event()
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
while len(GOLDEN) < 4:
    threads[0].join(0.01)
gate.set()
for thread in threads:
    thread.join()
keep("main thread", bytes(120001), here())
""" + EPILOGUE, env={"MPROFILERATE": "1"}))
    tids = {sample.tid for sample in raw.live if 110000 < sample.size < 110100}
    assert len(tids) == 4
    assert len({ident for tid, ident, _ in raw.threads if tid in tids}) == 4


NAMED = r"""
import ctypes, sys, threading
libc = ctypes.CDLL(None)
def start(work, name):
    libc.prctl(15, name.encode())  # PR_SET_NAME: the new thread has it from here, or sets it by itself, as in 3.14
    thread = threading.Thread(target=work, name=name)
    thread.start()
    return thread
def some(first):
    for n in range(first, first + 4000):
        start(lambda: [bytes(3000) for _ in range(5)], "worker %d" % n).join()
def last():
    kept.append(bytes(110001))
    gate.wait()
kept, gate = [], threading.Event()
some(0)
start(last, "the last of all")
while not kept:
    gate.wait(0.01)
for first in (10000, 20000):
    print("ready", flush=True)
    input()
    some(first)
gate.set()
"""


@pytest.mark.few
def test_names_of_threads_that_are_gone(python, run):
    """A thread a request, each of another name (3.14 numbers them): we do not grow by them, nor does the file."""
    program = run(python, NAMED, env={"MPROFILERATE": "1k"}).ready()
    before = RawFile(program.dump())
    program.say("")
    program.ready()
    after = RawFile(program.dump(2))
    program.say("")
    assert program.finish() == 0 and program.stderr == ""
    assert int(after.head["own_bytes"]) - int(before.head["own_bytes"]) < 64 << 10, "40 bytes a name were kept"
    assert len(after.data) - len(before.data) < 32 << 10
    for raw in before, after:
        (kept,) = raw.samples(110001 + python.bytes_size(0))
        assert [name for tid, _, name in raw.threads if tid == kept.tid] == ["the last of all"]


NAMES = r"""
import os
def call(name, size, file):
    source = "def %s():\n    keep(%d, bytes(%d), here())\n%s()\n" % (name, size, size, name)
    exec(compile(source, file, "exec"), globals())

call("na\u00efve", 100001, "caf\u00e9.py")
call("\u51fd\u6570", 100101, "\u6587\u4ef6.py")
call("\U00020000\U00020001", 100201, "\U0001f40d.py")
call("a" * 4000, 100301, "long.py")
call("newline", 100401, "one\ntwo\ttab.py")
call("percent", 100501, "100%25.py")
call("surrogate", 100601, "undecodable\udcff.py")
call("\u0440\u0443\u0441", 100701, "x" * 3000 + ".py")
call("quote", 100801, "\"quoted\" \\ <angle>.py")
call("empty", 100901, "")
"""


def test_names_in_any_script(python, run):
    check(run(python, PRELUDE + NAMES + EPILOGUE, env={"MPROFILERATE": "1"}))


@pytest.mark.few
def test_a_very_long_name(python, run):
    """A name of 100 kB is cut, which is counted; it harms nothing else."""
    program = run(python, PRELUDE + NAMES.split("\ncall(")[0] + "\n" + 'call("b" * 100000, 100001, "long.py")\n' + EPILOGUE,
                  env={"MPROFILERATE": "1"})
    ((size, (_, stack)),) = json.loads(program.line()).items()
    program.ready()
    raw = RawFile(program.dump())
    assert program.finish() == 0 and program.stderr == ""
    (sample,) = raw.samples(int(size))
    assert sample.stack[0].name.startswith("b" * 1000)
    assert [list(frame) for frame in sample.stack[2:]] == stack[2:]
    assert len(sample.stack[0].name) == 100000 or int(raw.head["note.names_cut"]) > 0


def test_program_from_the_command_line(python, run):
    """`-c` code is a <string> frame, and it is kept; so are the frozen frames of runpy under -m."""
    raw = check(run(python, options=["-c", PRELUDE + 'keep("-c", bytes(100001), here())\n' + EPILOGUE],
                    env={"MPROFILERATE": "1"}))
    assert any(sample.size > 100000 and sample.stack[0].file == "<string>" for sample in raw.live if sample.stack)


def test_program_as_module(python, run, tmp_path):
    (tmp_path / "module.py").write_text(PRELUDE + 'keep("-m", bytes(100001), here())\n' + EPILOGUE)
    check(run(python, options=["-m", "module"], env={"MPROFILERATE": "1"}))


@pytest.mark.parametrize("limit", ["1", "7", "128"])
@pytest.mark.few
def test_deep_recursion_is_cut(python, run, limit):
    """The nearest frames stay; the outermost says that more were there, and the depth how many."""
    program = run(python, PRELUDE + r"""
sys.setrecursionlimit(5000)
def recurse(n):
    return recurse(n - 1) if n else keep("deep", bytes(100001), here())
recurse(900)
""" + EPILOGUE, env={"MPROFILERATE": "1", "MPROFILEFRAMES": limit})
    ((size, (_, stack)),) = json.loads(program.line()).items()
    program.ready()
    raw = RawFile(program.dump())
    assert raw.head["frames"] == limit
    (sample,) = raw.samples(int(size))
    kept = int(limit)
    assert [list(frame) for frame in sample.stack[:kept]] == stack[:kept]
    assert len(sample.stack) == kept + 1
    assert (sample.stack[-1].file, sample.stack[-1].name) == ("<unknown>", "[frames cut]")
    assert sample.depth == len(stack)
    assert int(raw.head["note.stacks_cut"]) > 0


def test_code_that_comes_and_goes(python, run):
    """Code objects whose addresses come back with other lines in them: every stack is still its own."""
    program = run(python, PRELUDE + r"""
def make(n):
    source = "\n" * (n % 97) + "def f%d():\n%s    keep(%d, bytes(%d), here())\nf%d()\n" % (
        n % 3, "    pass\n" * (n % 13), n, 50000 + 8 * n, n % 3)
    exec(compile(source, "again.py", "exec"), globals())
for n in range(3000):
    make(n)
""" + EPILOGUE, env={"MPROFILERATE": "1"})
    check(program)


REUSED = r"""
import sys, weakref
seen, again = {}, 0
def called(reference):
    return [bytes(100)]
def make(n):
    global again
    source = "def f():\n%s    keep(%d, bytes(%d), here())\n" % ("\n" * (n % 50), n, 50000 + 8 * n)
    exec(compile(source, "reused.py", "exec"), globals())
    code = f.__code__
    table = code.co_linetable if hasattr(code, "co_linetable") else code.co_lnotab
    where = id(code), id(table), id(code.co_name), id(code.co_filename)
    again += seen.setdefault(where, table) != table
    seen[where] = bytes(bytearray(table))
    reference = weakref.ref(code, called)
    f()
    del globals()["f"]
for n in range(1000):
    make(n)
assert again > 100 or sys.version_info >= (3, 12), again  # since then ids of tables seldom come back in this order
"""


def test_code_at_the_same_place(python, run):
    """The same with all that a code object points to at the same addresses too, but other lines in it."""
    check(run(python, PRELUDE + REUSED + EPILOGUE, env={"MPROFILERATE": "1"}))


SEVERAL = r"""
def make(thread, n):
    source = "def f():\n%s    keep(%d, bytes(%d), here())\nf()\n" % (
        "\n" * (n % 50), n, 50000 + 8 * (1000 * thread + n))
    exec(compile(source, "reused.py", "exec"), {"keep": keep, "here": here})
def work(thread):
    for n in range(400):
        make(thread, n)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_code_that_threads_pass_on(python, run):
    """A code object ends on one thread, and another's lies there at once."""
    check(run(python, PRELUDE + SEVERAL + EPILOGUE, env={"MPROFILERATE": "1"}))


#: Another tool that wraps the end of code objects; it was there before Python began, and can come, go, and put back what it found.
WRAPPER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
static void (**slot)(void *);
static void (*first)(void *), (*below)(void *);
static void wrapper(void *code) { below(code); }
void come(void) { below = *slot; *slot = wrapper; }
void go(void) { *slot = below; }
void put_back_the_first(void) { *slot = first; }
static __attribute__((constructor)) void find(void)
{
    char *type = dlsym(RTLD_DEFAULT, "PyCode_Type");
    if (type != NULL) {
        slot = (void (**)(void *))(type + HEAD + 4 * sizeof(void *)); /* ob_size, tp_name, tp_basicsize, tp_itemsize */
        first = *slot;
        if (getenv("WRAPPED_BEFORE") != NULL) {
            come();
        }
    }
}
"""
WRAPPED = r"""
import ctypes
wrapper = ctypes.CDLL("./wrapper.so")
def make(n):
    source = "def f():\n%s    keep(%d, bytes(%d), here())\nf()\n" % ("\n" * (n % 50), n, 50000 + 8 * n)
    exec(compile(source, "reused.py", "exec"), {"keep": keep, "here": here})
for turn, what in enumerate(sys.argv[1:]):
    for n in range(150):
        make(1000 * turn + n)
    getattr(wrapper, what)()
    for n in range(150, 300):
        make(1000 * turn + n)
"""


@pytest.mark.parametrize("before, then", [
    (False, ["come", "go", "put_back_the_first", "come", "put_back_the_first", "come", "go"]), (True, ["put_back_the_first"])],
    ids=["it comes after us", "it was there before us"])
def test_another_tool_at_the_end_of_code(python, run, tmp_path, before, then):
    """Ours is below another, or was taken away: what would have been forgotten is not believed."""
    head = 32 if python.free_threaded else 16
    cc.library(WRAPPER.replace("HEAD", str(head)), tmp_path / "wrapper.so")
    env = {"MPROFILERATE": "1", "LD_PRELOAD": "%s:%s" % (tmp_path / "wrapper.so", LIBRARY)}
    check(run(python, PRELUDE + WRAPPED + EPILOGUE, args=then, env={**env, "WRAPPED_BEFORE": "1"} if before else env))


INTERPRETERS = r"""
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
sizes = {}
for n in range(60):
    line = 2 + n % 20
    source = "def f():%s    return bytes(%d)\nf()\n" % ("\n" * (line - 1), 50000 + n)
    one = interpreters.create()
    run = getattr(interpreters, "exec", interpreters.run_string)
    run(one, "exec(compile(%r, 'reused.py', 'exec'))" % source)
    interpreters.destroy(one)
    sizes[line] = sizes.get(line, 0) + sys.getsizeof(bytes(50000 + n))
import json
print(json.dumps(sizes), flush=True)
print("ready", flush=True)
sys.stdin.read()
"""


def test_code_of_interpreters_that_ended(python, run):
    """Each subinterpreter makes the same things in the same order: its code objects lie where those of the one before it lay, and have the same
    co_version, but other lines."""
    program = run(python, INTERPRETERS, env={"MPROFILERATE": "1"})
    sizes = {int(line): size for line, size in json.loads(program.line()).items()}
    program.ready()
    raw = RawFile(program.dump())
    assert program.finish() == 0
    found: Dict[int, float] = {}
    for site in raw.sites:
        if site.stack and site.stack[0].file == "reused.py" and site.stack[0].name == "f":
            found[site.stack[0].line] = found.get(site.stack[0].line, 0.0) + site.alloc_bytes
    assert found == pytest.approx(sizes, rel=0.01)  # before 3.11 frames are blocks, too


def test_by_the_reader(python, run):
    """The reader gives the same stacks, the oldest frame first as tracemalloc does, with names."""
    from harness import load

    program = run(python, PRELUDE + CASES + EPILOGUE, env={"MPROFILERATE": "1", "MPROFILEFRAMES": "1000"})
    golden = json.loads(program.line())
    program.ready()
    path = program.dump()
    assert program.finish() == 0
    traces = {}
    for trace in load(path).traces:
        traces.setdefault(trace.size, trace)
    for size, (case, stack) in golden.items():
        frames = [[frame.name, frame.filename, frame.firstlineno, frame.lineno]
                  for frame in reversed(list(traces[int(size)].traceback))]
        assert frames == stack, case
