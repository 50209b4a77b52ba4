#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From the signal to the file, and how long the program is held up meanwhile.

    tests/bench/latency.py [--pythons 3.11.2,3.14] [--times 20] [--blocks 3000000] [--write]

A program with so many live samples (about 1,000 at the default rate; millions at rate 1) allocates without end, and tells the longest time that one of
its steps took. Latency is from kill() to the moment the file has its name, seen by polling. The pause is the longest step while a
snapshot was written, beside the longest without one: on a machine whose processors are busy both are the scheduler's. How long the profile's lock is held by itself,
scale.py says. Stated: 10 ms for 1,000 samples, 1 s for 3 million, no hold of more than 5 ms.
"""
from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import process
import results
from asked import at_least
from configurations import LIBRARY
from interpreters import Interpreter, choose

PROGRAM = """
import sys, time
kept = [bytes(30 + i % 60) for i in range(int(sys.argv[1]))]
print("ready", flush=True)
clock = time.perf_counter
for turn in range(1 << 30):
    longest, began = 0.0, clock()
    last = began
    while last - began < 0.5:
        kept[turn % len(kept)] = bytes(40)
        now = clock()
        longest = max(longest, now - last)
        last = now
    print(longest, flush=True)
"""


def wait_for(path: Path) -> float:
    end = time.perf_counter() + 120
    while not path.exists():
        if time.perf_counter() > end:
            raise SystemExit("no snapshot after two minutes")
        time.sleep(0.0002)
    return time.perf_counter()


def measure(python: Interpreter, rate: str, blocks: int, times: int) -> tuple[list[float], list[float], list[float], int]:
    """Seconds from signal to file; the longest steps with a snapshot, and without; and how large the file was."""
    latencies, paused, calm = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        env = {**process.clean_environment(), "LD_PRELOAD": str(LIBRARY), "MPROFILERATE": rate, "MPROFILEMEMORY": "none",
               "MPROFILEOUT": folder + "/s.%n.bin"}
        program = subprocess.Popen([python.path, "-c", PROGRAM, str(blocks)], env=env, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "ready\n"
            for number in range(1, times + 1):
                calm.append(float(program.stdout.readline()))
                began = time.perf_counter()
                os.kill(program.pid, signal.SIGUSR2)
                path = Path(folder, "s.%d.bin" % number)
                latencies.append(wait_for(path) - began)
                size = path.stat().st_size
                path.unlink()
                longest = 0.0
                for _ in range(1 + int(latencies[-1] / 0.5)):
                    longest = max(longest, float(program.stdout.readline()))
                paused.append(longest)
                program.stdout.readline()
        finally:
            program.kill()
            program.wait()
    return latencies, paused, calm, size


def milliseconds(values: list[float]) -> str:
    return "%.1f (%.1f–%.1f)" % tuple(1000 * value for value in (statistics.median(values), min(values), max(values)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2,3.14")
    parser.add_argument("--times", type=at_least(1), default=20)
    parser.add_argument("--blocks", type=at_least(1000), default=3_000_000)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    rows = []
    for python in choose(args.pythons):
        for rate, blocks, times, stated in (("128k", 1_500_000, args.times, 10), ("1", args.blocks, max(3, args.times // 4), 1000)):
            latencies, paused, calm, size = measure(python, rate, blocks, times)
            rows.append(["CPython %s, rate %s, %.1f million live objects" % (python.name, rate, blocks / 1e6), "%.1f MiB" % (size / 2**20),
                         milliseconds(latencies), "%d ms" % stated, milliseconds(paused), milliseconds(calm)])
    heads = ["median (least–most), ms", "file", "signal to file", "stated", "longest step meanwhile", "longest step without"]
    results.show("latency", "%s\n\n%s" % (results.table(heads, rows), results.footer()), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
