#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions of workloads under this profiler, an empty hook and the others, as ratios to no profiler.

    tests/bench/instructions.py [--pythons 3.11.2,pgo] [--under core|all|NAME,...] [--workloads NAME,...] [--fresh|--table] [--write]

Counted by cachegrind between two marks of one run (tests/bench/inside.c). What was counted already with the same library is not counted again, unless
--fresh. Those that make a program many times slower get an eighth of the loops; figures are a loop's. This profiler draws at random, and where its samples
lie changes how malloc's free memory is cut; so does where the kernel puts the program. The median of three runs is shown of it, of no profiler and of the
empty hook (on churn they differ by 2 %, nearly all of it in malloc itself). Needs valgrind and cc.
"""
from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import packages
import process
import results
from asked import at_least, some_workloads
from configurations import CONFIGURATIONS, CORE, LIBRARY, NONE, names
from interpreters import Interpreter, choose
from loops import LOOPS

REPEATS = 3


def loops_of(workload: str, name: str) -> int:
    loops = LOOPS[workload].counted
    return max(1, loops // 8) if CONFIGURATIONS[name].heavy else loops


def key_of(python: Interpreter, name: str, workload: str, library: str) -> str:
    ours = library if CONFIGURATIONS[name].preload else ""
    return "/".join((python.name, name, workload, str(loops_of(workload, name)), ours))


class Counts:
    """Instructions a loop; None where there are none."""

    def __init__(self, fresh: bool) -> None:
        self.library = hashlib.sha256(LIBRARY.read_bytes()).hexdigest()[:12]
        self.raw = results.Raw(LIBRARY.parent / "bench" / "instructions.jsonl", fresh)
        self.lock = threading.Lock()

    def count(self, job: tuple[Interpreter, str, str]) -> None:
        python, name, workload = job
        if process.available(python, name):
            wanted = REPEATS if name in CORE else 1
            key = key_of(python, name, workload, self.library)
            for _ in range(wanted - len(self.raw.found.get(key, []))):
                self.once(python, name, workload, key)

    def once(self, python: Interpreter, name: str, workload: str, key: str) -> None:
        loops = loops_of(workload, name)
        try:
            taken = process.run(python, name, workload, loops, LOOPS[workload].warm, count=True)
        except process.Failed as failed:
            print(failed, file=sys.stderr, flush=True)
            return
        with self.lock:
            self.raw.add(key, instructions=taken.instructions / loops)
            print("%-16s %-16s %-16s %14.0f" % (python.name, name, workload, taken.instructions / loops), file=sys.stderr,
                  flush=True)

    def get(self, python: Interpreter, name: str, workload: str) -> float | None:
        rows = self.raw.found.get(key_of(python, name, workload, self.library))
        return statistics.median(row["instructions"] for row in rows) if rows else None


def millions(count: float) -> str:
    return "%.1f M" % (count / 1e6) if count >= 1e6 else "%.0f" % count


def table_of(counts: Counts, python: Interpreter, under: list[str], workloads: list[str]) -> str:
    rows = []
    for name in under:
        row = [CONFIGURATIONS[name].title]
        for workload in workloads:
            bare, value = counts.get(python, NONE, workload), counts.get(python, name, workload)
            shown = "–" if bare is None or value is None else millions(bare) if name == NONE else "%.3f" % (value / bare)
            row.append(shown)
        if any(cell != "–" for cell in row[1:]):
            rows.append(row)
    if not rows:
        return ""  # nothing was counted
    return "CPython %s\n\n%s" % (python.name, results.table(["", *(LOOPS[one].title for one in workloads)], rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="", help="versions, pgo, plain; default: all from 3.11 with a GIL")
    parser.add_argument("--under", default="core", help="core (%(default)s), all, or names: " + ", ".join(CONFIGURATIONS))
    parser.add_argument("--workloads", type=some_workloads, default=",".join(LOOPS))
    parser.add_argument("--jobs", type=at_least(1), default=2)
    parser.add_argument("--table", action="store_true", help="count nothing: the tables of what was counted")
    parser.add_argument("--fresh", action="store_true", help="count again what was counted")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    pythons, under, workloads = choose(args.pythons), names(args.under), args.workloads.split(",")
    for python in pythons:
        packages.folder(python)
    process.helper()
    counts = Counts(args.fresh)
    jobs = [(python, name, workload) for python in pythons for workload in workloads for name in under if not args.table]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(counts.count, jobs))
    tables = [table_of(counts, python, under, workloads) for python in pythons]
    tables = [one for one in tables if one]
    note = "Instructions relative to no profiler, whose own are those of one loop."
    results.show("instructions", "\n\n".join([note, *tables, results.footer(packages.versions())]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
