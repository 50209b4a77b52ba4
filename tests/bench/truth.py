#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether the figures are true: 21 lines of exactly known size, estimated again and again.

    tests/bench/truth.py [--runs 100] [--rate 16k] [--pythons 3.11.2,3.14] [--write]

The lines are those of tests/programs/true_lines.py: blocks of 1 byte to 16 times the rate, exactly the rate among them, in each domain; mixed sizes; blocks
that grew; blocks that went again; eight threads at once. Each run is a process of its own. Of each line: the mean of the estimates against the
truth, of what is live and of what was ever allocated, with the mean's own standard error; and how often the truth lay within two of the standard errors that the
reader stated (93 to 97 % should). Forked children and processes must not draw alike.
tests/bench/coverage.py does the same for objects made by Python code.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from asked import a_rate, at_least
from interpreters import TESTS, Interpreter, choose

sys.path[:0] = [str(TESTS / "e2e")]

import find  # noqa: E402
import process  # noqa: E402
import results  # noqa: E402
from harness import PROGRAMS, Python, RawFile, Running, load  # noqa: E402

UNITS = {"k": 1 << 10, "m": 1 << 20}
FILE = "<lines>"


class Line:
    """One line's truth and its estimates."""

    def __init__(self, what: str, live: float, allocated: float) -> None:
        self.what, self.truth = what, {"live": live, "allocated": allocated}
        self.found: dict[str, list[float]] = {"live": [], "allocated": []}
        self.within = 0

    def add(self, live: float, error: float, allocated: float) -> None:
        self.found["live"].append(live)
        self.found["allocated"].append(allocated)
        self.within += abs(live - self.truth["live"]) <= 2 * error + 1

    def off(self, kind: str) -> tuple[float, float]:
        """The mean's distance from the truth, and its standard error, in per cent."""
        values, truth = self.found[kind], self.truth[kind]
        return 100 * (statistics.fmean(values) / truth - 1), 100 * statistics.stdev(values) / len(values) ** 0.5 / truth


def nearest(stack: Any) -> int | None:
    return stack[0].line if stack and stack[0].file == FILE else None


def estimates(path: Path) -> tuple[dict[int, tuple[float, float]], dict[int, float]]:
    """Live bytes and their stated error by the reader; ever allocated bytes; by line."""
    live: dict[int, tuple[float, float]] = {}
    for one in load(path).statistics("lineno"):
        if one.traceback[0].filename == FILE:
            live[one.traceback[0].lineno] = (one.size, one.size_error)
    allocated: dict[int, float] = defaultdict(float)
    for site in RawFile(path).sites:
        line = nearest(site.stack)
        if line is not None:
            allocated[line] += site.alloc_bytes
    return live, allocated


class Runs:
    def __init__(self, python: Interpreter, rate: int) -> None:
        facts = next(facts for facts in find.find() if facts["path"] == python.path)
        self.python, self.rate = Python.from_facts(facts), rate
        self.lines: dict[int, Line] = {}
        self.draws: set[float] = set()      # of the mixed line, each process
        self.child_draws: set[float] = set()  # the same, each forked child
        self.children = 0

    def once(self, forks: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = Running(self.python, argv=[PROGRAMS / "true_lines.py"], args=[process.helper(), str(self.rate)],
                              env={"MPROFILERATE": str(self.rate)}, cwd=Path(folder))
            try:
                truths = json.loads(program.line())
                program.ready()
                live, allocated = estimates(program.dump())
                for _ in range(forks):
                    program.say("fork")
                    program.ready("forked")
                children = [path for path in Path(folder).glob("mprofile.*.bin") if path != program.path(1)]
                mixed = next(at for at, what, *_ in truths if what == "mixed sizes")
                self.children += len(children)
                self.child_draws.update(estimates(path)[1].get(mixed, 0.0) for path in children)
            finally:
                program.kill()
        for at, what, here, ever, *_ in truths:
            line = self.lines.setdefault(at, Line(what, here, ever))
            line.add(*live.get(at, (0.0, 0.0)), allocated.get(at, 0.0))
        self.draws.add(allocated[mixed])


def shown(off: tuple[float, float]) -> str:
    return "%+.2f ±%.2f %%" % off


def table_of(runs: Runs, number: int, name: str) -> str:
    lines = runs.lines.values()
    rows = [[line.what, "%.2f MiB" % (line.truth["live"] / 2**20), shown(line.off("live")), shown(line.off("allocated")),
             "%.0f %%" % (100 * line.within / number)] for line in lines]
    total = Line("all lines together", sum(line.truth["live"] for line in lines), sum(line.truth["allocated"] for line in lines))
    for values in zip(*(line.found["live"] for line in lines)):
        total.found["live"].append(sum(values))
    for values in zip(*(line.found["allocated"] for line in lines)):
        total.found["allocated"].append(sum(values))
    share = 100 * sum(line.within for line in lines) / (number * len(lines))
    rows.append(["**all lines together**", "%.2f MiB" % (total.truth["live"] / 2**20), shown(total.off("live")),
                 shown(total.off("allocated")), "%.1f %%" % share])
    mean = statistics.fmean(abs(line.off("live")[0]) for line in lines)
    return "CPython %s, rate %d, %d runs\n\n%s\n\nThe mean over lines of the distance is %.2f %%. Of %d processes %d drew differently; of %d forked children %d." % (
        name, runs.rate, number, results.table(["line", "truth", "live, mean off by", "ever allocated, mean off by", "truth within 2 ±"], rows),
        mean, number, len(runs.draws), runs.children, len(runs.child_draws))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=at_least(2), default=100)
    parser.add_argument("--rate", type=a_rate, default="16k")
    parser.add_argument("--pythons", default="3.11.2,3.14")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    rate = int(args.rate[:-1]) * UNITS[args.rate[-1]] if args.rate[-1] in UNITS else int(args.rate)
    tables = []
    for python in choose(args.pythons):
        runs = Runs(python, rate)
        for number in range(args.runs):
            runs.once(forks=8 if number < 5 else 0)
        tables.append(table_of(runs, args.runs, python.name))
    results.show("truth", "\n\n".join([*tables, results.footer()]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
