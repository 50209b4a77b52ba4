#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the library costs by the number of threads that allocate: the ratio to no profiler should not grow.

    tests/bench/threads.py [--pythons 3.11.2,3.13t] [--rounds 7] [--write]

Two kinds of threads. In C: malloc and free in threads that hold no lock of Python's, inside a Python process. In Python: the worst case of
tests/bench/workloads.py, in each interpreter; where there is a GIL its threads take turns. The work is the same whatever the number of threads.
Processor time of all threads, in rounds of no profiler and this one by turns: median and quartiles of the ratios of a round. Waiting for a lock in the
kernel is not in processor time, so the ratio of wall time stands beside it; with more threads than cores it says little.
"""
from __future__ import annotations

import argparse
import random
import statistics
import sys

import packages
import process
import results
from asked import at_least
from configurations import NONE
from interpreters import Interpreter, choose
from loops import THREADS

KINDS = {"c": ("malloc and free in C", 40_000_000), "churn": ("objects in Python", 1_600_000)}


def ratios(python: Interpreter, kind: str, number: int, rounds: int, scale: float) -> tuple[list[float], list[float]]:
    """Of processor time and of wall time, a round each."""
    rng = random.Random(number)
    cpu, wall = [], []
    for _ in range(rounds):
        sides = [NONE, "mprofile"]
        rng.shuffle(sides)
        taken = {name: process.run(python, name, "%s_%d_threads" % (kind, number), int(KINDS[kind][1] * scale), 10_000, count=False)
                 for name in sides}
        cpu.append(taken["mprofile"].cpu / taken[NONE].cpu)
        wall.append(taken["mprofile"].wall / taken[NONE].wall)
    return cpu, wall


def shown(values: list[float]) -> str:
    quarters = statistics.quantiles(values, n=4)
    return "%.3f (%.3f–%.3f)" % (statistics.median(values), quarters[0], quarters[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2,3.13t")
    parser.add_argument("--rounds", type=at_least(2), default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="of the work")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    rows = []
    for python in choose(args.pythons):
        packages.folder(python)
        for kind, (title, _) in KINDS.items():
            found = [ratios(python, kind, number, args.rounds, args.scale) for number in THREADS]
            rows.append(["%s, CPython %s, processor time" % (title, python.name), *(shown(cpu) for cpu, _ in found)])
            rows.append(["… wall time", *(shown(wall) for _, wall in found)])
            print(rows[-2], rows[-1], file=sys.stderr, flush=True)
    heads = ["ratio to no profiler, by threads", *(str(number) for number in THREADS)]
    results.show("threads", "%s\n\n%s" % (results.table(heads, rows), results.footer()), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
