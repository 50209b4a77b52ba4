# SPDX-License-Identifier: MIT
"""The types of live objects: right on every interpreter, "unknown" for what is none, and safe to read while objects
come and go.
"""
from __future__ import annotations

import json

from harness import RawFile, reader

N = 3000
KINDS = """\
import datetime, os, signal, sys

N = 3000

class Plain:
    def __init__(self, n):
        self.n = n

class Slots:
    __slots__ = ("a", "b")

class SlotsAndWeak:
    __slots__ = ("a", "__weakref__")

class Meta(type):
    pass

class WithMeta(metaclass=Meta):
    pass

class MyInt(int):
    pass

class MyDict(dict):
    pass

class MyTuple(tuple):
    pass

class Umlaut\\u00e4\\u65e5:
    pass

def make(n):
    return [Plain(n), Slots(), SlotsAndWeak(), WithMeta(), MyInt(10**10 + n), MyDict(x=n), MyTuple((n, n)),
            Umlaut\\u00e4\\u65e5(), {n}, (lambda: n), bytearray(100), range(n), iter([n]), object(), memoryview(b"x"),
            complex(n), slice(n), ValueError(n), datetime.datetime(2000, 1, 1, microsecond=n), datetime.time(1, microsecond=n),
            datetime.datetime(2000, 1, 1, microsecond=n, tzinfo=datetime.timezone.utc)]

import functools, collections, threading
kept = [make(n) for n in range(N)]
texts = [(str(10**6 + n), "x%019d" % n, "\\u00e9%06d" % n, "\\u65e5%06d" % n) for n in range(N)]
kept += [[functools.partial(int), collections.deque(maxlen=1), threading.Lock()] for n in range(N)]
print("ready", flush=True)
sys.stdin.read()
""".encode().decode("unicode_escape")
EXACTLY = ["Plain", "Slots", "SlotsAndWeak", "WithMeta", "MyInt", "MyDict", "MyTuple", "Umlaut\u00e4\u65e5", "bytearray",
           "range", "list_iterator", "complex", "slice", "ValueError", "functools.partial", "collections.deque"]
AT_LEAST = ["set", "function", "list", "object", "memoryview"]


def by_type(path, *options):
    out = reader("--by", "type", "--value", "inuse_blocks", "--limit", "0", "--json", "-", *options, path).stdout
    return {row["type"] or "[%s]" % row["domain"]: row for row in json.loads(out)["rows"]}


def test_every_kind_of_object(python, run):
    """Managed dictionaries and weak references, slots, metaclasses, static types and heap types: each counted exactly."""
    program = run(python, KINDS, env={"MPROFILERATE": "1"})
    program.ready()
    rows = by_type(program.dump())
    for name in EXACTLY:
        # The standard library has a few of the common ones.
        assert N <= rows[name]["blocks"] <= N + 120, name
    for name in AT_LEAST:
        assert rows[name]["blocks"] >= N, name
    # Objects that are shorter than their type says: short strings in each width, times of no zone.
    assert rows["str"]["blocks"] >= 4 * N
    assert N <= rows["datetime.time"]["blocks"] <= N + 120 and 2 * N <= rows["datetime.datetime"]["blocks"] <= 2 * N + 120
    assert all(name.isprintable() for name in rows)


def test_sampled(python, run):
    """A sampled small block is asked for as 513 bytes: its size is still the object's own."""
    source = """\
import sys
class Node:
    __slots__ = ("next", "value")
    def __init__(self):
        self.next = self.value = None
nodes = [Node() for _ in range(200000)]
print("ready", flush=True)
sys.stdin.read()
"""
    program = run(python, source, env={"MPROFILERATE": "32k"})
    program.ready()
    row = by_type(program.dump())["Node"]
    assert abs(row["blocks"] - 200000) < 5 * row["blocks_error"] < 100000
    table = reader("--by", "type", "--limit", "3", program.path()).stdout
    assert "by the type of the object" in table and "Node" in table


GARBAGE = """\
import ctypes, sys
names = [b"\\xb0[\\xeb\\x8d\\xae\\x7f", b"caf\\xe9", b"\\xe0\\x80\\x80", b"\\xf4\\x90\\x80\\x80", b"a\\nb", b"\\xc3", b"", b"fine \\xc3\\xa4\\xf0\\x9f\\x90\\x8d"]
kept, buffers = [], [ctypes.create_string_buffer(name) for name in names]
for buffer in buffers:
    kind = type("Kind", (), {"__slots__": ()})
    kept.append([kind() for _ in range(1000)])
    at = id(kind) + object.__basicsize__ + 8  # tp_name
    ctypes.c_void_p.from_address(at).value = ctypes.addressof(buffer)
print("ready", flush=True)
sys.stdin.read()
import os
os._exit(0)
"""


def test_names_that_are_no_text(python, run):
    """What a dead type's name was may be anything: no snapshot has it, and none is damaged."""
    program = run(python, GARBAGE, env={"MPROFILERATE": "1"})
    program.ready()
    path = program.dump()
    RawFile(path)  # which decodes each string
    rows = by_type(path)
    assert rows["fine \u00e4\U0001f40d"]["blocks"] == 1000
    assert all(name.isprintable() for name in rows) and rows["[obj]"]["blocks"] >= 7000


STORM = """\
import gc, sys, threading
stop = False

def work():
    while not stop:
        for n in range(50):
            kind = type("K%d" % n, (), {"__slots__": ("a",)} if n % 2 else {})
            kept = [kind() for _ in range(30)], [{n: bytes(n)} for _ in range(20)], [[n] * 30 for _ in range(20)]
            del kind, kept
        gc.collect()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.read()
stop = True
for thread in threads:
    thread.join()
"""


def test_types_that_come_and_go(python, run):
    """Classes are made and freed, objects half made and half gone, while each of many snapshots is written."""
    program = run(python, STORM, env={"MPROFILERATE": "1"})
    program.ready()
    for number in range(1, 21):
        rows = by_type(program.dump(number))
        strange = {name for name in rows if not name.isprintable()}
        assert not strange
    assert program.finish() == 0 and program.stderr == ""
