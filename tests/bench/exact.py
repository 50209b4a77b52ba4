#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every allocation recorded (rate 1), beside tracemalloc with as many frames: instructions and memory, on the same interpreter.

    tests/bench/exact.py [--pythons 3.11.2,3.14] [--workloads NAME,...] [--write]

Instructions as instructions.py counts them, and with what it counted already. Memory is the highest resident size of a run of the same length without valgrind,
above that of no profiler: what tracemalloc and this library take for the blocks that live. This library also records what C code asks of malloc.
"""
from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

import instructions
import packages
import process
import results
from asked import at_least, some_workloads
from configurations import CONFIGURATIONS, NONE
from interpreters import Interpreter, choose
from loops import LOOPS

PAIRS = (("mprofile-1-1", "tracemalloc-1"), ("mprofile-1", "tracemalloc-128"))
WORKLOADS = ("tornado_http", "json", "deepcopy", "async_tree", "churn", "live_2_million")


def peak(python: Interpreter, name: str, workload: str) -> float:
    loops = instructions.loops_of(workload, "tracemalloc-1")
    return process.run(python, name, workload, loops, LOOPS[workload].warm, count=False).peak_kib / 1024


def table_of(counts: instructions.Counts, python: Interpreter, workloads: list[str]) -> str:
    rows = []
    bare_peaks = {workload: peak(python, NONE, workload) for workload in workloads}
    for pair in PAIRS:
        for name in pair:
            row = [CONFIGURATIONS[name].title]
            for workload in workloads:
                value, bare = counts.get(python, name, workload), counts.get(python, NONE, workload)
                ratio = "–" if value is None or bare is None else "%.2f" % (value / bare)
                row.append("%s, %+.1f MiB" % (ratio, peak(python, name, workload) - bare_peaks[workload]))
            rows.append(row)
    return "CPython %s\n\n%s" % (python.name, results.table(["", *(LOOPS[one].title for one in workloads)], rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default="3.11.2,3.14")
    parser.add_argument("--workloads", type=some_workloads, default=",".join(WORKLOADS))
    parser.add_argument("--jobs", type=at_least(1), default=2)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    pythons, workloads = choose(args.pythons), args.workloads.split(",")
    for python in pythons:
        packages.folder(python)
    process.helper()
    counts = instructions.Counts(fresh=False)
    jobs = [(python, name, workload) for python in pythons for workload in workloads
            for name in (NONE, *(name for pair in PAIRS for name in pair))]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(counts.count, jobs))
    tables = [table_of(counts, python, workloads) for python in pythons]
    note = "Instructions relative to no profiler, and the highest resident size above it."
    results.show("exact", "\n\n".join([note, *tables, results.footer()]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
