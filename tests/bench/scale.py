#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How the profiler's tables stand large heaps: millions of live samples, a million stacks, stacks of 10,000 frames, a budget.

    tests/bench/scale.py [--samples 10000000] [--stacks 1000000] [--write]

Drives core by itself (scale.c, compiled here with the sources of core), so that the sizes are those of heaps of many GiB. Where the profiler
should be flat, the cost of the first, the middle and the last tenth is shown: processor times of one thread; what grows in them are the processor's
caches' misses, which instructions would not show. Then the snapshot of those samples, with the longest time that the lock was held
(processor time of the holder), and its reading. Stated: 2 MiB, 64 bytes a live sample, and each stack once; a snapshot of 3 million in 1 s, no lock held for more
than 5 ms; read in 10 s and 1 GiB.
"""
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results
from asked import at_least

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


class Told:
    """What scale printed, by key; a key may come more than once."""

    def __init__(self, text: str) -> None:
        self.lines = [line.split(" ", 1) for line in text.splitlines()]

    def numbers(self, key: str) -> list[float]:
        return [float(value) for name, value in self.lines if name == key]

    def number(self, key: str) -> float:
        return self.numbers(key)[-1]

    def text(self, key: str) -> str:
        return [value for name, value in self.lines if name == key][-1]

    def tenths(self) -> str:
        """The first, the middle and the last tenth's cost a sample."""
        windows = self.numbers("sample_ns")
        return "%.2f, %.2f, %.2f µs" % tuple(windows[at] / 1000 for at in (0, len(windows) // 2, -1))


def compiled(folder: str) -> str:
    program = folder + "/scale"
    sources = [path for path in sorted((ROOT / "core").glob("*.c")) if path.name != "lock.c"]
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-O2", "-g", "-D_GNU_SOURCE", '-DMP_VERSION="bench"', "-I", str(ROOT), "-o", program,
                    str(Path(__file__).with_name("scale.c")), *map(str, sources)], check=True)
    return program


def run(program: str, *words: object) -> Told:
    done = subprocess.run([program, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    return Told(done.stdout)


def reading(path: str) -> str:
    """Seconds and memory of the reader on a snapshot, which goes."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(ROOT / "tools" / "mprofile-read"), path], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - began
    size = os.path.getsize(path) / MIB
    os.unlink(path)
    assert process.returncode == 0, process.returncode
    return "%.1f s of processor (%.1f s), %.0f MiB; the file %.0f MiB" % (
        usage.ru_utime + usage.ru_stime, took, usage.ru_maxrss / 1024, size)


def live_rows(program: str, samples: int, rate: int, size: int) -> list[list[str]]:
    told = run(program, "live", samples, rate, size)
    heap = told.number("blocks") * size / (1 << 30)
    title = "%.1f million live samples at rate %d (%.1f GiB live)" % (samples / 1e6, rate, heap)
    each = (told.number("own_bytes") - 2 * MIB) / samples
    return [
        [title + ": a sample", told.tenths(), "flat"],
        ["… its free", "%.2f µs" % (told.number("forget_ns") / 1000), ""],
        ["… a watched free of another block", "%.1f ns; the filter says “maybe” to %.1f %%" % (
            told.number("miss_ns"), 100 * told.number("maybe")), ""],
        ["… own memory a live sample, above 2 MiB", "%.1f bytes" % each, "64 bytes"],
        ["… a snapshot", "%.2f s" % told.number("snapshot_s"), "1 s for 3 million"],
        ["… longest hold of the lock meanwhile", "%.2f ms" % told.number("longest_hold_ms"), "5 ms"],
        ["… reading it", reading(told.text("path")), "10 s, 1 GiB for 3 million"],
    ]


def stack_rows(program: str, count: int) -> list[list[str]]:
    told = run(program, "stacks", count)
    rest = told.number("own_bytes") - 64 * count - 2 * MIB
    return [
        ["%.1f million distinct stacks of 20 frames: a sample" % (count / 1e6), told.tenths(), "flat"],
        ["… own memory a stack, without the sample", "%.0f bytes (%.1f nodes)" % (rest / count, told.number("nodes") / count), ""],
        ["… a snapshot", "%.2f s" % told.number("snapshot_s"), ""],
        ["… longest hold of the lock meanwhile", "%.2f ms" % told.number("longest_hold_ms"), "5 ms"],
        ["… reading it", reading(told.text("path")), ""],
    ]


def deep_rows(program: str) -> list[list[str]]:
    told = run(program, "deep", 10_000, 2000)
    windows = told.numbers("sample_ns")
    return [["stacks of 10,000 frames: a sample", told.tenths(), "flat"],
            ["… a frame", "%.0f ns" % (sum(windows) / len(windows) / 10_000), ""]]


def budget_rows(program: str, blocks: int, budget: int) -> list[list[str]]:
    told = run(program, "budget", blocks, 64, budget)
    return [
        ["%.0f million blocks of 64 bytes at rate 1 under a budget of %d MiB: a block" % (blocks / 1e6, budget // MIB),
         "%.2f µs" % (told.number("block_ns") / 1000), ""],
        ["… most memory of its own", "%.0f MiB" % (told.number("highest_bytes") / MIB), "%d MiB" % (budget // MIB)],
        ["… the rate in the end, after so many times, with so many live samples", "%.0f bytes, %.0f, %.0f k" % (
            told.number("rate"), told.number("thinned"), told.number("live") / 1e3), ""],
        ["… live bytes as estimated, of the truth", "%.4f" % told.number("estimate"), "1"],
        ["… longest hold of the lock", "%.2f ms" % told.number("longest_hold_ms"), "5 ms"],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=at_least(1_000_000), default=10_000_000)
    parser.add_argument("--stacks", type=at_least(100_000), default=1_000_000)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(folder)
        for samples, rate, size in ((args.samples // 100, 1, 64), (3 * args.samples // 10, 1, 64), (args.samples, 1, 64),
                                    (args.samples // 40, 131072, 4096)):
            rows += live_rows(program, samples, rate, size)
        rows += stack_rows(program, args.stacks)
        rows += deep_rows(program)
        rows += budget_rows(program, 2 * args.samples, 256 * MIB)
    results.show("scale", "%s\n\n%s" % (results.table(["", "measured", "stated"], rows), results.footer()), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
