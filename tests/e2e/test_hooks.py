# SPDX-License-Identifier: MIT
"""What a hook must not do: let the GIL go, run the collector, ask the program's own objects, count a block of another thread's."""
from __future__ import annotations

from pathlib import Path

import cc
import pytest
from harness import RawFile

EXACT = {"MPROFILERATE": "1"}

#: Called with the GIL held. A counter that other threads increment in Python stands still.
HOLDER = r"""
#include <stddef.h>

void *PyMem_RawMalloc(size_t size); void *PyMem_RawRealloc(void *block, size_t size); void PyMem_RawFree(void *block);
void *PyMem_Malloc(size_t size); void *PyMem_Realloc(void *block, size_t size); void PyMem_Free(void *block);
void *PyObject_Malloc(size_t size); void *PyObject_Realloc(void *block, size_t size); void PyObject_Free(void *block);

/* How often it moved. */
int hold(volatile const long *counter, int turns)
{
    long before = *counter;
    int moved = 0;
    for (int i = 0; i < turns; i++) {
        PyObject_Free(PyObject_Realloc(PyObject_Malloc(40), 3000));
        PyMem_Free(PyMem_Realloc(PyMem_Malloc(3000), 40));
        PyMem_RawFree(PyMem_RawRealloc(PyMem_RawMalloc(100), 1000));
        moved += *counter != before;
        before = *counter;
    }
    return moved;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
def test_the_gil_is_kept(python, run, tmp_path, native):
    """While one thread allocates with the GIL held no other runs, however much it wants to."""
    if python.free_threaded:
        pytest.skip("it has no GIL")
    cc.library(HOLDER, tmp_path / "holder.so", "-Wl,--unresolved-symbols=ignore-all")
    program = run(python, """\
import ctypes, sys, threading
hold = ctypes.PyDLL("./holder.so").hold
counter = ctypes.c_long(0)
stop = False
def count():
    while not stop:
        counter.value += 1
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=count) for _ in range(3)]
for thread in threads:
    thread.start()
moved = sum(hold(ctypes.byref(counter), 3000) for _ in range(20))
before = counter.value
while counter.value == before:
    pass
stop = True
for thread in threads:
    thread.join()
print(moved, flush=True)
""", env={**EXACT, "MPROFILENATIVE": native})
    assert program.line() == "0"
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_the_collector_in_the_middle_of_a_growth(python, run):
    """It runs at each new object, and finds lists and dicts while they are moved: none is damaged, each is recorded once."""
    program = run(python, """\
import gc, sys
runs = []
gc.callbacks.append(lambda phase, info: runs.append(1) if len(runs) < 100000 else None)
gc.set_threshold(1, 1, 1)
class Node:
    def __init__(self, other):
        self.other, self.me = other, self
def work():
    lists, dicts = [], []
    for turn in range(60):
        one, table = [], {}
        for n in range(200):
            one.append((n, [n]))
            table[n] = [n, one]
            if n % 20 == 0:
                Node(one)
        assert [pair[0] for pair in one] == list(range(200)) == [value[0] for value in table.values()]
        lists.append(one)
        dicts.append(table)
    return [sys.getsizeof(one) - sys.getsizeof([]) for one in lists]
gc_runs_before = len(runs)
sizes = work()
del sizes
gc.collect()
assert len(runs) > gc_runs_before + int(sys.argv[1]), len(runs)
kept = [[] for _ in range(500)]
for one in kept:
    for n in range(100):
        one.append([])  # one item array of 100 and more words each, whatever the collector does
print(sys.getsizeof(kept[0]) - sys.getsizeof([]), len(set(map(sys.getsizeof, kept))), flush=True)
print("ready", flush=True)
sys.stdin.read()
""", args=["10" if python.free_threaded else "100"], env=EXACT)  # the one without a GIL has its own idea of how often
    size, kinds = map(int, program.line().split())
    assert kinds == 1
    raw = RawFile(program.ready().dump())
    assert program.finish() == 0 and program.stderr == ""
    header = 8 if python.free_threaded else 0
    found = [one for one in raw.samples(size + header) if one.stack and one.stack[0].file.endswith("app.py")]
    assert len([one for one in found if one.stack[0].name == "<module>"]) == 500
    assert len({one.address for one in raw.live}) == len(raw.live)


#: Threads that free what others are given in the next moment, by free and by realloc in all its ways.
PASSED = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, KEPT = 50 };
static void *slots[64];

static void *churn(void *arg)
{
    size_t me = (size_t)arg;
    uint64_t random = me * 77777 + 1;
    void **kept = calloc(KEPT, sizeof *kept);
    for (int turn = 0; turn < 300000; turn++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        void **mine = &kept[turn < KEPT ? turn : (random >> 50) % KEPT];
        free(*mine);
        *mine = malloc(5001 + me); /* all of one size to malloc: what one thread frees another is given */
        void *block = malloc(3001 + me);
        switch (random >> 61) {
        case 0: block = realloc(block, 4001 + me); break; /* moves, mostly */
        case 1: block = realloc(block, 2001 + me); break; /* stays */
        case 2: {
            void *refused = realloc(block, (size_t)PTRDIFF_MAX); /* fails, and the block lives on */
            block = refused != NULL ? refused : block;
            break;
        }
        default: break;
        }
        /* What another thread left is freed here. */
        free(__atomic_exchange_n(&slots[random >> 40 & 63], block, __ATOMIC_ACQ_REL));
    }
    return kept;
}

void pass_on(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, churn, (void *)i);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *unused;
        pthread_join(threads[i], &unused);
    }
    for (int i = 0; i < 64; i++) {
        free(slots[i]);
    }
}
"""


@pytest.mark.few
def test_addresses_that_pass_from_thread_to_thread(python, run, tmp_path):
    """Freed by one, given to another at once: no record is taken away from its new owner, none of the old one's stays."""
    cc.library(PASSED, tmp_path / "passed.so")
    program = run(python, "import ctypes, sys\nctypes.CDLL('./passed.so').pass_on()\n"
                  "print('ready', flush=True)\nsys.stdin.read()\n", env={**EXACT, "MALLOC_ARENA_MAX": "1"})
    raw = RawFile(program.ready().dump())
    assert program.finish() == 0 and program.stderr == ""
    assert not [key for key in raw.head if key.startswith("lost.")]
    for thread in range(8):
        mine = [one for one in raw.samples(5001 + thread) if one.domain == 3]
        assert len(mine) == 50
        for size in (2001, 3001, 4001):
            left = [one for one in raw.samples(size + thread) if one.domain == 3 and one.stack[0].name == "[no Python thread]"]
            assert not left, (size, len(left))


@pytest.mark.few
def test_nothing_of_the_program_is_asked(python, run):
    """Objects whose every attribute notes that it was read, in frames and as live blocks: no note is made."""
    program = run(python, """\
import sys
notes = []
class Meta(type):
    def __getattribute__(cls, name):
        notes.append(("meta", name))
        return type.__getattribute__(cls, name)
    def __instancecheck__(cls, other):
        notes.append(("meta", "instancecheck"))
        return False
class Odd(metaclass=Meta):
    __slots__ = ("one", "two")
    @property
    def __class__(self):
        notes.append(("odd", "class"))
        return int
    def __getattribute__(self, name):
        notes.append(("odd", name))
        return object.__getattribute__(self, name)
    def __repr__(self):
        notes.append(("odd", "repr"))
        return "no"
    __str__ = __repr__
    def __eq__(self, other):
        notes.append(("odd", "eq"))
        return False
    def __hash__(self):
        notes.append(("odd", "hash"))
        return 1
    def __bool__(self):
        notes.append(("odd", "bool"))
        return False
    def method(self, cls, unused=None):
        local = self
        __class__ = cls
        return [bytes(2000) for _ in range(100)]
kept = [Odd() for _ in range(5000)]
held = object.__getattribute__(kept[0], "method")(Odd)
notes.clear()
held += type.__getattribute__(Odd, "method")(kept[1], kept[2])
print("ready", len(notes), flush=True)
sys.stdin.readline()
print("after", len(notes), notes[:5], flush=True)
""", env=EXACT)
    program.ready("ready 0")
    raw = RawFile(program.dump())
    program.say("")
    assert program.line() == "after 0 []"
    assert program.finish() == 0 and program.stderr == ""
    assert [one for one in raw.live if one.stack and one.stack[0].name.split(".")[-1] in ("method", "<listcomp>")]


@pytest.mark.few
def test_profilers_of_calls_are_the_programs_own(python, run):
    """sys.setprofile and settrace see the same calls as without us, and our stacks do not depend on them."""
    source = """\
import sys, threading
calls = []
def note(frame, event, arg):
    calls.append((event, frame.f_code.co_name))
    return note
def inner():
    return bytes(100001)
def outer():
    return inner()
for install in (sys.setprofile, sys.settrace):
    install(note)
    kept = outer()
    install(None)
    note_of_thread = threading.setprofile if install is sys.setprofile else threading.settrace
    note_of_thread(note)
    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    note_of_thread(None)
print(calls, flush=True)
print("ready", flush=True)
sys.stdin.read()
"""
    seen = []
    for preload in (True, False):
        program = run(python, source, env=EXACT, preload=preload)
        seen.append(program.line())
        if preload:
            raw = RawFile(program.ready().dump())
            (sample,) = [one for one in raw.live if one.size in (100001 + 33, 100001 + 49)]
            assert [frame.name for frame in sample.stack] == ["inner", "outer", "<module>"]
        program.kill()
    assert seen[0] == seen[1] and "inner" in seen[0]
