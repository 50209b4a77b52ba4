#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the library costs by the number of threads that allocate: the ratio to no profiler should not grow.

    tests/bench/threads.py [--pythons 3.11.2,3.13t] [--kinds c,churn] [--rate 128k] [--rounds 6 --turns 20] [--write]

Two kinds of threads. In C: malloc and free in threads that hold no lock of Python's, inside a Python process. In Python: the worst case of
tests/bench/workloads.py, in each interpreter; where there is a GIL its threads take turns. Both sides do the same work in a turn.
Processor time of all threads: in a round a process without and one with it take turns of a tenth of a second, and the median of the turns' ratios is the
round's; shown is the mean of the rounds with its standard error. Waiting for a lock in the
kernel is not in processor time, so the ratio of wall time stands beside it; with more threads than cores it says little. A second process without the library
takes turns with them: what its ratio is away from 1, and differs between rounds, is the machine's. A finer --rate makes what samples cost, and the lock that
they take, stand out of it.
"""
from __future__ import annotations

import argparse
import random
import statistics
import sys
from dataclasses import dataclass, field

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
RATE = "128k"


@dataclass
class Ratios:
    """To no profiler: medians of a round's turns, a round each. `again` is a second process without the library, processor time."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


def play_round(found: Ratios, python: Interpreter, workload: str, number: int, rate: str, turns: int, rng: random.Random) -> None:
    """A process of each side, which take turns."""
    with process.Resident(python, NONE, workload, WARM) as bare, process.Resident(python, NONE, workload, WARM) as other, process.Resident(
        python, "mprofile", workload, WARM, {"MPROFILERATE": rate}
    ) as ours:
        loops = process.loops_of(bare, 100 * number, TURN_SECONDS)
        taken = []
        for _ in range(turns):
            order = [bare, other, ours]
            rng.shuffle(order)
            taken.append({side: side.turn(loops) for side in order})
        found.cpu.append(statistics.median(turn[ours].cpu / turn[bare].cpu for turn in taken))
        found.wall.append(statistics.median(turn[ours].wall / turn[bare].wall for turn in taken))
        found.again.append(statistics.median(turn[other].cpu / turn[bare].cpu for turn in taken))


def ratios(python: Interpreter, kind: str, number: int, args: argparse.Namespace) -> Ratios:
    rng = random.Random(number)
    found = Ratios()
    for _ in range(args.rounds):
        play_round(found, python, "%s_%d_threads" % (kind, number), number, args.rate, args.turns, rng)
    return found


def some_kinds(words: str) -> list[str]:
    chosen = words.split(",")
    if not set(chosen) <= set(KINDS):
        raise argparse.ArgumentTypeError("%s: expected some of %s" % (words, ",".join(KINDS)))
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2,3.13t")
    parser.add_argument("--kinds", type=some_kinds, default=list(KINDS), help="of %s" % ",".join(KINDS))
    parser.add_argument("--rate", default=RATE, help="as MPROFILERATE takes it (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(2), default=6)
    parser.add_argument("--turns", type=at_least(1), default=20)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    rows = []
    for python in choose(args.pythons):
        packages.folder(python)
        for kind in args.kinds:
            found = [ratios(python, kind, number, args) for number in THREADS]
            title = KINDS[kind] if args.rate == RATE else "%s, a sample in %s" % (KINDS[kind], args.rate)
            rows.append(["%s, CPython %s, processor time" % (title, python.name), *(results.mean_and_error(ratio.cpu) for ratio in found)])
            rows.append(["… wall time", *(results.mean_and_error(ratio.wall) for ratio in found)])
            rows.append(["… no profiler, again, processor time", *(results.mean_and_error(ratio.again) for ratio in found)])
            print(*rows[-3:], file=sys.stderr, flush=True)
    heads = ["ratio to no profiler, by threads", *(str(number) for number in THREADS)]
    name = "threads" if args.rate == RATE else "threads_%s" % args.rate
    results.show(name, "%s\n\n%s" % (results.table(heads, rows), results.footer()), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
