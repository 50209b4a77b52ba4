# SPDX-License-Identifier: MIT
"""A block that grows or shrinks is one block of its new size, whichever domain serves it before and after.

A bytearray that shrinks from 600 to 100 bytes leaves malloc for pymalloc: counted in both, it was
counted 1.6 times. And the allocator's other doors: calloc, and the raw and mem domains by name.
"""
from __future__ import annotations

import json

import known
import pytest
from harness import RawFile, by_line, marks

RESIZED = r"""
import json, sys
EMPTY_LIST, EMPTY_ARRAY = sys.getsizeof([]), sys.getsizeof(bytearray())
COUNT = int(sys.argv[1])

def grow_lists(kept):
    for one in kept:
        for _ in range(40):
            one.append(None)  # @list_growth

def grow_arrays(kept):
    for one in kept:
        one.extend(b"x" * 90)
        one.extend(b"x" * 900)  # @array_growth

def shrink_a(kept):
    for one in kept:
        del one[100:]  # @shrink_600_to_100

def shrink_b(kept):
    for one in kept:
        del one[400:]  # @shrink_2000_to_400

lists = [[] for _ in range(COUNT)]
arrays = [bytearray() for _ in range(COUNT)]
small = [bytearray(b"x") * 600 for _ in range(4 * COUNT)]
large = [bytearray(b"x") * 2000 for _ in range(2 * COUNT)]
grow_lists(lists)
grow_arrays(arrays)
shrink_a(small)
shrink_b(large)
def held(kept, empty):
    return [len(kept), sum(sys.getsizeof(one) - empty for one in kept)]
print(json.dumps({"list_growth": held(lists, EMPTY_LIST), "array_growth": held(arrays, EMPTY_ARRAY),
                  "shrink_600_to_100": held(small, EMPTY_ARRAY), "shrink_2000_to_400": held(large, EMPTY_ARRAY)}))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["pymalloc", "malloc"])
@pytest.mark.parametrize("rate, number, count", [("1", 1, 2000), ("16k", 16384, 20000)])
def test_growth_and_shrinking(python, run, rate, number, count, mode):
    if mode == "malloc" and python.free_threaded:
        pytest.skip("a free-threaded interpreter has no PYTHONMALLOC=malloc")
    env = {"MPROFILERATE": rate}
    if mode == "malloc":
        env["PYTHONMALLOC"] = "malloc"
    program = run(python, RESIZED, args=[str(count)], env=env)
    truths = json.loads(program.line())
    program.ready()
    lines = by_line(program.dump())
    assert program.finish() == 0 and program.stderr == ""
    at = marks(RESIZED)
    for name, (blocks, size) in truths.items():
        row = {"name": name, "file": "app.py", "line": at[name], "function": "f", "count": blocks, "size": size}
        truth = known.Truth(row, python)
        # What getsizeof does not say: the header of a free-threaded list's items; in 3.15 an empty
        # bytearray has a share in a common object, so that a full one is larger by a header.
        truth.low, truth.high = 8 * blocks, 64 * blocks + 6144
        truth.check(lines[truth.key].size, number)
        count_sigma = truth.sigma(number) / (size / blocks)
        assert abs(lines[truth.key].count - blocks) <= known.SIGMAS * count_sigma + 2, name


DOMAINS = r"""
import ctypes, json, sys
api = ctypes.pythonapi
KEPT = {}

def function(name, result, *arguments):
    found = getattr(api, name)
    found.restype, found.argtypes = result, arguments
    return found

pointer, size = ctypes.c_void_p, ctypes.c_size_t
for family in ("PyMem_Raw", "PyMem_", "PyObject_"):
    base = {"PyMem_Raw": 1000, "PyMem_": 2000, "PyObject_": 3000}[family]
    malloc = function(family + "Malloc", pointer, size)
    calloc = function(family + "Calloc", pointer, size, size)
    realloc = function(family + "Realloc", pointer, pointer, size)
    free = function(family + "Free", None, pointer)
    for scale in (0, 500000):  # a small block, and one that pymalloc does not serve
        KEPT[family, scale, "malloc"] = malloc(base + scale + 7)
        KEPT[family, scale, "calloc"] = calloc(1, base + scale + 77)
        grown = malloc(base + scale + 101)
        KEPT[family, scale, "realloc"] = realloc(grown, base + scale + 177)
        fresh = realloc(None, base + scale + 277)
        KEPT[family, scale, "realloc of null"] = fresh
        gone = malloc(base + scale + 377)
        free(gone)
        KEPT[family, scale, "shrunk"] = realloc(malloc(base + scale + 477), 177 + base // 100)
print("ready", flush=True)
sys.stdin.read()
"""
NUMBERS = {1000: 0, 2000: 1, 3000: 2}  # as tracemalloc and FORMAT.md number them


def test_domains_and_doors(python, run):
    if python.free_threaded:
        pytest.skip("a free-threaded interpreter takes only Python's objects from its object domain")
    program = run(python, DOMAINS, env={"MPROFILERATE": "1"})
    program.ready()
    raw = RawFile(program.dump())
    assert program.finish() == 0 and program.stderr == ""
    for base, domain in NUMBERS.items():
        for scale in (0, 500000):
            for offset in (7, 77, 177, 277):
                samples = [one for one in raw.samples(base + scale + offset) if one.stack and one.stack[0].file.endswith("app.py")]
                assert [sample.domain for sample in samples] == [domain], (base, scale, offset)
            for offset in (101, 377, 477):
                assert not [one for one in raw.samples(base + scale + offset)
                            if one.stack and one.stack[0].file.endswith("app.py")], (base, scale, offset)
        shrunk = [one for one in raw.samples(177 + base // 100) if one.stack and one.stack[0].file.endswith("app.py")]
        assert len(shrunk) == 2 and {one.domain for one in shrunk} == {domain}


@pytest.mark.few
def test_large_sizes_are_whole(python, run):
    """3 GiB by calloc, never touched: no size is cut to 32 bits."""
    source = "import sys\nkept = bytes(3 << 30)  # @large\nprint('ready', flush=True)\nsys.stdin.read()\n"
    program = run(python, source, env={"MPROFILERATE": "128k"})
    program.ready()
    lines = by_line(program.dump())
    assert lines["app.py", marks(source)["large"]].size == pytest.approx((3 << 30) + 33, abs=1 << 20)
