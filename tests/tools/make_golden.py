#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the golden snapshots and the reports expected of them.

    python3 tests/tools/make_golden.py

Golden files are kept for ever: a reader reads every old snapshot. So this adds files, and changes a
snapshot only while its format version is unreleased. Look at each change of a report before you
commit it: `git diff tests/tools/golden`.
"""

from __future__ import annotations

import copy
import os
import struct
from typing import Dict, List

import snapshot_writer as sw
from helpers import (
    FROZEN,
    GOLDEN,
    HOUR,
    LOAD,
    MAIN,
    STRING,
    UNKNOWN,
    VIEW,
    leaky,
    mixed,
    read,
    save,
    small,
)
from snapshot_writer import Program

CWD = "/nonexistent"
STATUS = "Name:\tpython\nVmHWM:\t  409600 kB\nVmRSS:\t  204800 kB\nThreads:\t3\n"


def sampled() -> Program:
    program = Program(
        131072,
        exe="/usr/bin/python3.11",
        host="web1",
        cmdline="python\0-m\0app\0--serve\0",
        cwd=CWD,
        peak_bytes="150000000.5",
        peak_var="4e12",
        peak_clock_ms=15000,
        own_bytes=2 << 20,
        **{"python.alloc": "pymalloc", "python.stacks": "1", "python.free": "unhooked"},
    )
    program.proc.append(("/proc/self/status", STATUS))
    library = "/usr/lib/python3/dist-packages/some_package/a_module_with_a_long_name.py"
    for number in range(40):
        program.block(64 + number, [LOAD, MAIN], time=number)
        program.block(100_000 + number, [(library, 99, "Pool.grow", 90), VIEW, MAIN], domain="mem")
    program.block(64 << 20, [VIEW, MAIN], domain="mmap", tid=4712, name="worker-1")
    for _ in range(3):
        program.block(3 << 20, [UNKNOWN], domain="malloc", tid=4713, name="blas")
    program.block(2 << 20, [STRING, FROZEN, MAIN], domain="raw")
    cut = ("<unknown>", 0, "[frames cut]", 0)
    program.block(900_000, [VIEW] * 3 + [cut], depth=300)
    program.block(500_000, [VIEW, LOAD, MAIN], live=False)
    return program


def lossy() -> Program:
    program = Program(4096, exe="/usr/bin/python3.12", cwd=CWD, future="a key from later")
    program.head.update(
        {
            "lost.memory": 7,
            "lost.frees": 1,
            "lost.unheard_of": 3,
            "note.stacks_cut": 12,
            "note.refused_513": 2,
            "python.stacks": "layout of 3.12.99 not known",
        }
    )
    program.block(10_000, [("<unknown>", 0, "[stacks off]", 0)])
    program.block(1_000, [("<unknown>", 0, "[stacks off]", 0)], domain="malloc", rate=65536)
    return program


def hostile() -> Program:
    program = Program(0, cmdline="\x1b]0;owned\x07\0" + "x" * 500, exe="/tmp/\n\x1b[2J", cwd=CWD)
    program.block(300, [("a\x1b[31mred\r\n.py", 1, "f\u202eg", 1)])
    program.block(200, [(b"\xff\xfe.py", 2, b"\xed\xa0\x80", 1)])
    program.block(100, [("\u65e5\u672c\u8a9e/" * 30 + "x.py", 2**32 - 1, "n" * 300, 0)])
    program.block(50, [], tid=2**63, name="t\x00\n")
    return program


def native() -> Program:
    program = Program(131072, exe="/usr/bin/gcc")
    del program.head["python"]
    program.block(5 << 20, [("<unknown>", 0, "[no Python thread]", 0)], domain="malloc")
    return program


def parent_and_child() -> List[Program]:
    parent = Program(16384, cmdline="gunicorn\0app", cwd=CWD)
    for number in range(30):
        parent.block(20_000, [LOAD, MAIN], address=number + 1, time=number)
    child = copy.deepcopy(parent)
    child.fork(0xB2, 4720, 30_000)
    child.head.update(clock_ms=60_000)
    child.live = child.live[:25]
    for number in range(10):
        child.block(30_000, [VIEW, MAIN], address=1000 + number, time=40_000)
    parent.live = parent.live[10:]
    for program, pages in ((parent, 30000), (child, 20000)):
        program.proc.append(("/proc/self/status", "VmRSS:\t %d kB\n" % pages))
    return [parent, child]


ROLLUP = """\
5611db1a3000-7fff7220e000 ---p 00000000 00:00 0                          [rollup]
Rss:              %(rss)d kB
Pss:              %(pss)d kB
Pss_Anon:         %(pss_anon)d kB
Pss_File:           2500 kB
Pss_Shmem:             0 kB
Shared_Clean:       6740 kB
Shared_Dirty:     %(shared)d kB
Private_Clean:        20 kB
Private_Dirty:    %(private)d kB
Anonymous:        %(anonymous)d kB
"""


def kernel(program: Program, rss: int, file: int = 7000, swap: int = 0, shared: int = 0) -> None:
    """Sizes in kB, as the kernel says them; *shared* of the anonymous memory with one other."""
    program.proc.append(
        (
            "/proc/self/status",
            "VmHWM:\t %d kB\nVmRSS:\t %d kB\nRssAnon:\t %d kB\nRssFile:\t %d kB\nRssShmem:\t 0 kB\n"
            "VmStk:\t 132 kB\nVmPTE:\t 268 kB\nVmSwap:\t %d kB\nThreads:\t3\n"
            % (rss + 4000, rss, rss - file, file, swap),
        )
    )
    anonymous = rss - file
    sizes = {"rss": rss, "pss": anonymous - shared // 2 + 2500, "pss_anon": anonymous - shared // 2}
    sizes.update(shared=shared, private=anonymous - shared, anonymous=anonymous)
    program.proc.append(("/proc/self/smaps_rollup", ROLLUP % sizes))


def account(**head: str) -> Program:
    """A program whose size is asked for: 60,000 objects in arenas, some memory from malloc."""
    plain = {
        "python.alloc": "pymalloc",
        "python.free": "unhooked",
        "malloc.served_by": "glibc 2.36",
    }
    values = {"clock_ms": 60000, "own_bytes": 400_000, "arena_bytes": 70 << 20, "cwd": CWD}
    values.update(
        {"peak_bytes": 90_000_000, "peak_var": 1_000_000_000_000, "peak_clock_ms": 50_000}
    )
    program = Program(131072, **{**plain, **values, **head})
    program.head.update(
        {
            "malloc.system": 12_000_000,
            "malloc.mapped": 0,
            "malloc.used": 8_000_000,
            "malloc.free": 4_000_000,
            "malloc.top": 130_000,
            "malloc.clock_ms": 58_500,
            **head,
        }
    )
    return program


def rss_python() -> Program:
    program = account()
    for number in range(430):
        program.block(100 + number % 50, [LOAD, MAIN] if number % 4 else [VIEW, MAIN])
    for number in range(50):
        program.block(100_000 + number, [VIEW, MAIN], domain="malloc")
    kernel(program, 86_000)
    return program


def rss_native() -> Program:
    """Native memory leads; a mapping is mostly untouched; some is swapped out."""
    program = account(arena_bytes=4 << 20, **{"malloc.used": 40_000_000})
    for number in range(20):
        program.block(100, [LOAD, MAIN])
    for number in range(400):
        program.block(100_000, [VIEW, MAIN] if number % 3 else [LOAD, MAIN], domain="malloc")
    program.block(200 << 20, [LOAD, MAIN], domain="mmap")
    kernel(program, 80_000, swap=3000)
    return program


def rss_free() -> Program:
    """Freed and kept, by both allocators."""
    program = account(**{"malloc.free": 60_000_000, "malloc.used": 3_000_000})
    for number in range(100):
        program.block(100, [LOAD, MAIN])
    kernel(program, 140_000)
    return program


def rss_workers() -> List[Program]:
    parent = account(pid=100)
    for number in range(400):
        parent.block(120, [LOAD, MAIN], address=16 * number + 16, time=number)
    child = copy.deepcopy(parent)
    child.fork(0xB2, 101, 30_000)
    for number in range(200):
        child.block(150, [VIEW, MAIN], address=16 * number + 90000, time=40_000)
    child.head["arena_bytes"] = 100 << 20
    kernel(parent, 82_000, shared=60_000)
    kernel(child, 110_000, shared=60_000)
    return [parent, child]


def newer() -> bytes:
    head, *rest = small(cwd=CWD, hum="a key from later").sections()
    strings = sw.section(b"RATE", struct.pack("<IIQ", 1, 0, 0) + b"a column from later")
    rest = [strings if section[:4] == b"RATE" else section for section in rest]
    return sw.finish([head, sw.section(b"LATR", b"a section from later")] + rest[::-1], minor=3)


def good() -> Dict[str, bytes]:
    parent, child = parent_and_child()
    worker, forked = rss_workers()
    return {
        "mixed": mixed(cwd=CWD).bytes(),
        "rss_python": rss_python().bytes(),
        "rss_native": rss_native().bytes(),
        "rss_free": rss_free().bytes(),
        "rss_worker": worker.bytes(),
        "rss_forked": forked.bytes(),
        "leaky": leaky(cwd=CWD).bytes(),
        "leaky_before": leaky(HOUR, number=1, cwd=CWD).bytes(),
        "exact": small(cwd=CWD).bytes(),
        "sampled": sampled().bytes(),
        "lossy": lossy().bytes(),
        "hostile": hostile().bytes(),
        "native": native().bytes(),
        "parent": parent.bytes(),
        "child": child.bytes(),
        "newer": newer(),
        "empty": sw.finish([sw.head({})]),
    }


def bad() -> Dict[str, bytes]:
    exact = small(cwd=CWD).bytes()
    flipped = bytearray(exact)
    flipped[600] ^= 4
    looping = small()
    looping.nodes[2] = (5, *looping.nodes[2][1:])
    dangling = small()
    dangling.live[1] = (*dangling.live[1][:3], 4000, *dangling.live[1][4:])
    front = struct.pack("<4sIQI", b"LIVE", 0, 1 << 40, 0)
    long = sw.header() + sw.head({}) + front + struct.pack("<I", sw.zlib.crc32(front))
    return {
        "bad_cut": exact[:1000],
        "bad_no_end": exact[:-40],
        "bad_flipped": bytes(flipped),
        "bad_major": sw.finish(small().sections(), major=2),
        "bad_must_know": sw.finish(small().sections() + [sw.section(b"KEYS", b"", 1)]),
        "bad_loop": looping.bytes(),
        "bad_id": dangling.bytes(),
        "bad_length": long,
        "bad_foreign": b"\x7fELF\x02\x01\x01" + bytes(57),
        "bad_empty": b"",
    }


#: The reports that are compared word by word.
CASES: Dict[str, List[str]] = {
    "exact": ["exact.bin"],
    "exact_cumulative": ["exact.bin", "--cumulative", "--by", "function"],
    "sampled": ["sampled.bin"],
    "sampled_traceback": ["sampled.bin", "--by", "traceback", "--limit", "4"],
    "sampled_filename": ["sampled.bin", "--by", "filename", "--value", "inuse_blocks"],
    "sampled_thread": ["sampled.bin", "--by", "thread"],
    "sampled_domain": ["sampled.bin", "--by", "domain"],
    "sampled_alloc": ["sampled.bin", "--value", "alloc_bytes", "--limit", "2"],
    "sampled_peak": ["sampled.bin", "--value", "peak_bytes", "--limit", "2"],
    "sampled_include": ["sampled.bin", "--include", "app/*", "--exclude", "*models*"],
    "sampled_json": ["sampled.bin", "--json", "-", "--limit", "2"],
    "lossy": ["lossy.bin"],
    "hostile": ["hostile.bin"],
    "native": ["native.bin"],
    "mixed": ["mixed.bin"],
    "mixed_traceback": ["mixed.bin", "--by", "traceback"],
    "mixed_function": ["mixed.bin", "--by", "function", "--cumulative"],
    "rss_head": ["rss_python.bin", "--limit", "1"],
    "rss_python": ["rss_python.bin", "--rss"],
    "rss_native": ["rss_native.bin", "--rss"],
    "rss_free": ["rss_free.bin", "--rss"],
    "rss_workers": ["rss_worker.bin", "rss_forked.bin", "--rss"],
    "rss_unknown": ["exact.bin", "--rss"],
    "merged": ["child.bin", "parent.bin"],
    "merged_generation": ["child.bin", "parent.bin", "--by", "generation"],
    "merged_process": ["child.bin", "parent.bin", "--by", "process"],
    "tree": ["sampled.bin", "--tree"],
    "tree_mixed": ["mixed.bin", "--tree"],
    "tree_limit": ["sampled.bin", "--tree", "--limit", "4"],
    "leaks": ["leaky.bin", "--leaks"],
    "leaks_json": ["leaky.bin", "--leaks", "--json", "-", "--limit", "2"],
    "trend": ["leaky.bin", "leaky_before.bin", "--leaks"],
    "trend_json": ["leaky.bin", "leaky_before.bin", "--leaks", "--json", "-", "--limit", "1"],
    "diff": ["leaky.bin", "--diff", "leaky_before.bin"],
    "diff_significant": [
        *["leaky.bin", "--diff", "leaky_before.bin"],
        *["--significant", "--limit", "2"],
    ],
    "diff_same": ["exact.bin", "exact.bin", "--diff", "exact.bin"],
    "diff_alloc": ["leaky.bin", "--diff", "leaky_before.bin", "--value", "alloc_bytes"],
    "diff_strangers": ["leaky.bin", "--diff", "native.bin", "--by", "thread"],
    "diff_json": ["leaky.bin", "--diff", "leaky_before.bin", "--json", "-", "--limit", "2"],
    "collapsed": ["mixed.bin", "--collapsed", "-"],
    "collapsed_leaf": ["sampled.bin", "--collapsed", "-", "--leaf-first"],
    "collapsed_diff": ["leaky.bin", "--diff", "leaky_before.bin", "--collapsed", "-"],
    "speedscope": ["exact.bin", "--speedscope", "-"],
    "newer": ["newer.bin"],
    "empty": ["empty.bin"],
    "salvaged": ["bad_flipped.bin", "--salvage"],
}


def main() -> None:
    os.makedirs(GOLDEN, exist_ok=True)
    for name, data in {**good(), **bad()}.items():
        save(os.path.join(GOLDEN, name + ".bin"), data)
    os.chdir(GOLDEN)
    for name, arguments in CASES.items():
        status, out, err = read(*arguments)
        assert (status, err) == (0, ""), (name, err)
        save(name + ".txt", out.encode())
    lines = [read(name + ".bin") for name in sorted(bad())]
    assert all(status == 2 and not out for status, out, _ in lines)
    save("bad.txt", "".join(err for _, _, err in lines).encode())


if __name__ == "__main__":
    import conftest  # noqa: F401  (makes tools/ importable)

    main()
