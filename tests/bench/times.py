#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processor time of workloads under this profiler, an empty hook and the others, as ratios to no profiler.

    tests/bench/times.py [--pythons 3.11.2] [--under all] [--rounds 6 --turns 24] [--workloads NAME,...] [--write]

User and system time of the process, all threads. In a round a process of each configuration is started, and they take turns of a twentieth of a second (of no
profiler's), in random order each time; a turn is divided by the same turn's of no profiler, and the median of these is the round's ratio: so it matters
little what else the machine does. Those that are many times slower take every eighth turn only. Shown: the mean of the rounds, with its standard
error: processes differ by where the kernel puts their memory. `none again` is a second process without: what the method itself is off by. The highest resident size is the process's,
above that of no profiler.
"""
from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
from dataclasses import dataclass

import packages
import process
import results
from asked import at_least, some_workloads
from configurations import CONFIGURATIONS, NONE, names
from interpreters import Interpreter, choose
from loops import LOOPS

AGAIN = "none again"
TURN_SECONDS = 0.05
HEAVY_TURNS = 8  # of which a heavy one takes one


@dataclass(frozen=True)
class Round:
    """One process's: the median ratio of its turns, and its highest resident size above no profiler's."""

    ratio: float
    more_kib: int


def heavy(name: str) -> bool:
    return name in CONFIGURATIONS and CONFIGURATIONS[name].heavy


def round_of(python: Interpreter, under: list[str], workload: str, turns: int, rng: random.Random) -> tuple[dict[str, Round], float]:
    """By configuration; and the seconds that no profiler takes for a loop. What does not run is left out, and why is said."""
    with contextlib.ExitStack() as stack:
        residents: dict[str, process.Resident] = {}
        for name in under:
            residents[name] = stack.enter_context(
                process.Resident(python, NONE if name == AGAIN else name, workload, LOOPS[workload].warm))
        loops = process.loops_of(residents[NONE], 1, TURN_SECONDS)
        found: dict[str, list[tuple[process.Taken, process.Taken]]] = {name: [] for name in residents}
        for turn in range(turns):
            order = [name for name in found if turn % HEAVY_TURNS == 0 or not heavy(name)]
            rng.shuffle(order)
            taken: dict[str, process.Taken] = {}
            for name in order:
                try:
                    taken[name] = residents[name].turn(loops)
                except process.Failed as failed:
                    if name == NONE:
                        raise
                    print(failed, file=sys.stderr, flush=True)
                    del found[name]
            for name, mine in taken.items():
                found[name].append((mine, taken[NONE]))
    bare = [mine for mine, _ in found[NONE]]
    return {name: Round(statistics.median(mine.cpu / theirs.cpu for mine, theirs in pairs), pairs[-1][0].peak_kib - bare[-1].peak_kib)
            for name, pairs in found.items() if pairs}, statistics.median(taken.cpu for taken in bare) / loops


def cell(rounds: list[Round]) -> str:
    return "%s %+.1f MiB" % (results.mean_and_error([one.ratio for one in rounds]), statistics.median(one.more_kib for one in rounds) / 1024)


def duration(seconds: float) -> str:
    """Three digits, in the largest unit that is not larger than it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return "%.3g %s" % (seconds / size, unit)
    return "%.3g ns" % (seconds / 1e-9)


def column_of(python: Interpreter, under: list[str], workload: str, rounds: int, turns: int) -> list[str]:
    rng = random.Random(1)
    found: dict[str, list[Round]] = {name: [] for name in under}
    bare = []
    for number in range(rounds):
        these, seconds = round_of(python, under, workload, turns, rng)
        bare.append(seconds)
        for name, one in these.items():
            found[name].append(one)
        print("%s %s: round %d of %d: %s" % (python.name, workload, number + 1, rounds,
                                            ", ".join("%s %.3f" % (name, one.ratio) for name, one in these.items())), file=sys.stderr, flush=True)
    return [duration(statistics.median(bare)) + " a loop" if name == NONE else cell(found[name]) if len(found[name]) > 1 else "–"
            for name in under]


def table_of(python: Interpreter, under: list[str], workloads: list[str], rounds: int, turns: int) -> str:
    columns = [column_of(python, under, workload, rounds, turns) for workload in workloads]
    titles = ["no profiler, again" if name == AGAIN else CONFIGURATIONS[name].title for name in under]
    return "CPython %s\n\n%s" % (python.name, results.table(["", *(LOOPS[one].title for one in workloads)], zip(titles, *columns)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2")
    parser.add_argument("--under", default="all", help="all (%(default)s), core, or names: " + ", ".join(CONFIGURATIONS))
    parser.add_argument("--workloads", type=some_workloads, default=",".join(LOOPS))
    parser.add_argument("--rounds", type=at_least(2), default=6)
    parser.add_argument("--turns", type=at_least(1), default=24)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    tables = []
    for python in choose(args.pythons):
        packages.folder(python)
        under = [name for name in names(args.under) if process.available(python, name)]
        tables.append(table_of(python, [NONE, AGAIN, *under[1:]], args.workloads.split(","), args.rounds, args.turns))
    note = "Processor time relative to no profiler: mean of %d processes, its standard error, and the highest resident size above." % args.rounds
    results.show("times", "\n\n".join([note, *tables, results.footer(packages.versions())]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
