# SPDX-License-Identifier: MIT
"""Twenty-two lines that keep memory of known size; says what the truth is, then waits.

From 64 KiB to 64 MiB a line, in objects from 64 bytes to 1 MiB, of many kinds, in different functions
and files. Each line keeps its objects in a list that another line made, so that it allocates nothing
but them. The truth is what CPython asked its allocator for: sys.getsizeof of each object, which counts
the object's header and the garbage collector's (`bytes(n)` asks for n + 33).

    known_lines.py [SCALE]     SCALE divides the number of objects of each line (default 1)

Prints one line of JSON, `[{"name", "file", "line", "function", "count", "size"}, ...]`, then `ready`;
ends when its standard input does. Python 3.8 and later; imported, it does nothing.
"""
from __future__ import annotations

import json
import os
import re
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # which -I leaves out
import known_other  # noqa: E402

KIB, MIB = 1024, 1024 * 1024
HERE = os.path.abspath(__file__)
EXECUTED = "def made(kept):\n    for i in range(len(kept)):\n        kept[i] = bytes(400)\n"


def bytes_64(kept):
    for i in range(len(kept)):
        kept[i] = bytes(31)  # @bytes_64


def bytes_64_many(kept):
    for i in range(len(kept)):
        kept[i] = bytes(31)  # @bytes_64_many


def bytes_512(kept):
    for i in range(len(kept)):
        kept[i] = bytes(479)  # @bytes_512


def bytes_513(kept):
    for i in range(len(kept)):
        kept[i] = bytes(480)  # @bytes_513


def bytes_1000(kept):
    for i in range(len(kept)):
        kept[i] = bytes(1000)  # @bytes_1000


def bytes_16k(kept):
    for i in range(len(kept)):
        kept[i] = bytes(16 * KIB)  # @bytes_16k


def bytes_64k(kept):
    for i in range(len(kept)):
        kept[i] = bytes(64 * KIB)  # @bytes_64k


def bytes_256k(kept):
    for i in range(len(kept)):
        kept[i] = bytes(256 * KIB)  # @bytes_256k


def bytes_1m(kept):
    for i in range(len(kept)):
        kept[i] = bytes(MIB - 33)  # @bytes_1m


def bytearrays(kept):
    for i in range(len(kept)):
        kept[i] = bytearray(4 * KIB)  # @bytearrays


def small_bytearrays(kept):
    for i in range(len(kept)):
        kept[i] = bytearray(200)  # @small_bytearrays


def tuples(kept):
    for i in range(len(kept)):
        kept[i] = (i,) * 30  # @tuples


def lists(kept):
    for i in range(len(kept)):
        kept[i] = [None] * 100  # @lists


def dicts(kept):
    model = {"key%d" % i: i for i in range(12)}
    for i in range(len(kept)):
        kept[i] = model.copy()  # @dicts


def sets(kept):
    model = frozenset(range(40))
    for i in range(len(kept)):
        kept[i] = set(model)  # @sets


def strings(kept):
    letter = chr(0x4E00)
    for i in range(len(kept)):
        kept[i] = letter * 150  # @strings


def integers(kept):
    one = 1
    for i in range(len(kept)):
        kept[i] = one << 3000  # @integers


def threaded(kept):
    def work():
        for i in range(len(kept)):
            kept[i] = bytes(2 * KIB)  # @threaded

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def line_of(file, name):
    with open(file) as source:
        for number, line in enumerate(source, 1):
            if re.search(r"# @%s$" % name, line.rstrip()):
                return number
    raise LookupError(name)


def main(scale):
    kept = {}
    truth = []

    def holds(name, count, fill, function=None, file=HERE, line=None):
        objects = [None] * max(1, count // scale)
        objects = fill(objects) or objects
        kept[name] = objects
        sizes = [sys.getsizeof(one) for one in objects]
        truth.append({"name": name, "file": file, "line": line or line_of(file, name),
                      "function": function or name, "count": len(sizes), "size": sum(sizes)})

    def by_method(objects):
        holder = known_other.Holder(len(objects))
        holder.fill(130)
        return holder.kept

    def by_nested(objects):
        known_other.nested(objects, 3000)

    def by_exec(objects):
        space = {}
        exec(compile(EXECUTED, "<made up>", "exec"), space)
        space["made"](objects)

    other = os.path.abspath(known_other.__file__)
    holds("bytes_64", 1024, bytes_64)                                   # 64 KiB
    holds("bytes_64_many", 48 * KIB, bytes_64_many)                     # 3 MiB
    holds("bytes_512", 8 * KIB, bytes_512)                              # 4 MiB: the largest that pymalloc serves
    holds("bytes_513", 4 * KIB, bytes_513)                              # 2 MiB: the smallest that it does not
    holds("bytes_1000", 512, bytes_1000)                                # 516 KiB
    holds("bytes_16k", 512, bytes_16k)                                  # 8 MiB: as large as the tests' rate
    holds("bytes_64k", 512, bytes_64k)                                  # 32 MiB
    holds("bytes_1m", 64, bytes_1m)                                     # 64 MiB
    holds("bytes_256k", 160, bytes_256k)                                # 40 MiB
    # A body that is always sampled beside a head that hardly ever is (a bytearray of 256 KiB) would be
    # missing its head most of the time, with no error stated for what was not seen: not among these.
    holds("bytearrays", 1 * KIB, bytearrays)                            # 4 MiB, two allocations each
    holds("small_bytearrays", 2 * KIB, small_bytearrays)                # 0.5 MiB
    holds("tuples", 4 * KIB, tuples)                                    # 1 MiB
    holds("lists", 4 * KIB, lists)                                      # 3.4 MiB, two allocations each
    holds("dicts", 4 * KIB, dicts)                                      # 2.5 MiB, two allocations each
    holds("sets", 1 * KIB, sets)                                        # 2.2 MiB, two allocations each
    holds("strings", 4 * KIB, strings)                                  # 1.5 MiB
    holds("integers", 4 * KIB, integers)                                # 1.7 MiB
    holds("threaded", 4 * KIB, threaded, "threaded.<locals>.work")      # 8 MiB
    holds("method", 8 * KIB, by_method, "Holder.fill", other)           # 1.3 MiB
    holds("nested", 2 * KIB, by_nested, "nested.<locals>.inner", other) # 6 MiB
    holds("slots", 8 * KIB, known_other.slots, "slots", other)          # 640 KiB
    holds("executed", 4 * KIB, by_exec, "made", "<made up>", 3)         # 1.7 MiB
    print(json.dumps(truth), flush=True)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
