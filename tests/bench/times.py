#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processor time of workloads under this profiler, an empty hook and the others, as ratios to no profiler.

    tests/bench/times.py [--pythons 3.11.2] [--under all] [--rounds 7] [--workloads NAME,...] [--scale 1] [--write]

User and system time of the process, all threads, between the mark and the end (tests/bench/workloads.py); in each round every
configuration runs once, in random order, and is divided by the same round's run without a profiler. Shown: the median of these ratios, and
the quartiles. `none again` is a second run without: what the machine's noise does by itself. The highest resident size is the process's.
"""
from __future__ import annotations

import argparse
import random
import statistics
import sys

import packages
import process
import results
from asked import at_least, some_workloads
from configurations import CONFIGURATIONS, NONE, names
from interpreters import Interpreter, choose
from loops import LOOPS

AGAIN = "none again"


def one(python: Interpreter, name: str, workload: str, scale: float) -> process.Taken | None:
    """What a loop takes. None, and why on standard error, where it does not run."""
    loops = max(1, round(LOOPS[workload].timed * scale / (8 if name in CONFIGURATIONS and CONFIGURATIONS[name].heavy else 1)))
    try:
        taken = process.run(python, NONE if name == AGAIN else name, workload, loops, LOOPS[workload].warm, count=False)
    except process.Failed as failed:
        print(failed, file=sys.stderr, flush=True)
        return None
    return process.Taken(taken.cpu / loops, taken.wall / loops, taken.peak_kib)


def rounds_of(python: Interpreter, under: list[str], workload: str, rounds: int, scale: float) -> dict[str, list[process.Taken]]:
    """By configuration, a round's figure at the round's place; what failed once is left out."""
    found: dict[str, list[process.Taken]] = {name: [] for name in under}
    rng = random.Random(1)
    for number in range(rounds):
        order = list(found)
        rng.shuffle(order)
        for name in order:
            taken = one(python, name, workload, scale)
            if taken is None:
                del found[name]
            else:
                found[name].append(taken)
        print("%s %s: round %d of %d" % (python.name, workload, number + 1, rounds), file=sys.stderr, flush=True)
    return found


def cell(bare: list[process.Taken], taken: list[process.Taken]) -> str:
    ratios = [mine.cpu / theirs.cpu for mine, theirs in zip(taken, bare)]
    quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 2 else [min(ratios), 0, max(ratios)]
    more = statistics.median(a.peak_kib - b.peak_kib for a, b in zip(taken, bare)) / 1024
    return "%.3f (%.3f–%.3f) %+.1f MiB" % (statistics.median(ratios), quarters[0], quarters[2], more)


def table_of(python: Interpreter, under: list[str], workloads: list[str], rounds: int, scale: float) -> str:
    columns = {workload: rounds_of(python, under, workload, rounds, scale) for workload in workloads}
    rows = []
    for name in under:
        title = "no profiler, again" if name == AGAIN else CONFIGURATIONS[name].title
        if name == NONE:
            row = ["%.3g ms a loop" % (1000 * statistics.median(taken.cpu for taken in column[NONE]))
                   for column in columns.values()]
        else:
            row = [cell(column[NONE], column[name]) if name in column else "–" for column in columns.values()]
        rows.append([title, *row])
    return "CPython %s\n\n%s" % (python.name, results.table(["", *(LOOPS[one].title for one in workloads)], rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2")
    parser.add_argument("--under", default="all", help="all (%(default)s), core, or names: " + ", ".join(CONFIGURATIONS))
    parser.add_argument("--workloads", type=some_workloads, default=",".join(LOOPS))
    parser.add_argument("--rounds", type=at_least(1), default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of loops")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    tables = []
    for python in choose(args.pythons):
        packages.folder(python)
        under = [name for name in names(args.under) if process.available(python, name)]
        tables.append(table_of(python, [NONE, AGAIN, *under[1:]], args.workloads.split(","), args.rounds, args.scale))
    note = "Processor time relative to no profiler in the same round: median (quartiles) of %d rounds, and the highest resident size above." % args.rounds
    results.show("times", "\n\n".join([note, *tables, results.footer(packages.versions())]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
