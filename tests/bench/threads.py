#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the library costs by the number of threads that allocate: the ratio to no profiler should not grow.

    tests/bench/threads.py [--pythons 3.11.2,3.13t] [--rounds 6 --turns 20] [--write]

Two kinds of threads. In C: malloc and free in threads that hold no lock of Python's, inside a Python process. In Python: the worst case of
tests/bench/workloads.py, in each interpreter; where there is a GIL its threads take turns. Both sides do the same work in a turn.
Processor time of all threads: in a round a process without and one with it take turns of a tenth of a second, and the median of the turns' ratios is the
round's; shown is the mean of the rounds with its standard error. Waiting for a lock in the
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

KINDS = {"c": "malloc and free in C", "churn": "objects in Python"}
TURN_SECONDS = 0.1
WARM = 10_000


def round_of(python: Interpreter, workload: str, number: int, turns: int, rng: random.Random) -> tuple[float, float]:
    """Median ratio of the turns of one process of each side: of processor time and of wall time."""
    with process.Resident(python, NONE, workload, WARM) as bare, process.Resident(python, "mprofile", workload, WARM) as ours:
        loops = process.loops_of(bare, 100 * number, TURN_SECONDS)
        pairs = []
        for _ in range(turns):
            order = [bare, ours]
            rng.shuffle(order)
            taken = {side: side.turn(loops) for side in order}
            pairs.append((taken[ours], taken[bare]))
    return statistics.median(mine.cpu / theirs.cpu for mine, theirs in pairs), statistics.median(mine.wall / theirs.wall for mine, theirs in pairs)


def ratios(python: Interpreter, kind: str, number: int, rounds: int, turns: int) -> tuple[list[float], list[float]]:
    """Of processor time and of wall time, a round each."""
    rng = random.Random(number)
    found = [round_of(python, "%s_%d_threads" % (kind, number), number, turns, rng) for _ in range(rounds)]
    return [cpu for cpu, _ in found], [wall for _, wall in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2,3.13t")
    parser.add_argument("--rounds", type=at_least(2), default=6)
    parser.add_argument("--turns", type=at_least(1), default=20)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    rows = []
    for python in choose(args.pythons):
        packages.folder(python)
        for kind, title in KINDS.items():
            found = [ratios(python, kind, number, args.rounds, args.turns) for number in THREADS]
            rows.append(["%s, CPython %s, processor time" % (title, python.name), *(results.mean_and_error(cpu) for cpu, _ in found)])
            rows.append(["… wall time", *(results.mean_and_error(wall) for _, wall in found)])
            print(rows[-2], rows[-1], file=sys.stderr, flush=True)
    heads = ["ratio to no profiler, by threads", *(str(number) for number in THREADS)]
    results.show("threads", "%s\n\n%s" % (results.table(heads, rows), results.footer()), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
