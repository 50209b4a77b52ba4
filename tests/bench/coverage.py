#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How often the truth lies within two of the stated standard errors: should be 93 to 97 %.

    tests/bench/coverage.py [--runs 20] [--rate 16k] [--pythons 3.11,3.14]

Runs tests/programs/known_lines.py again and again and takes of each run the lines that expect 16
samples or more. Also prints how far the mean over all runs and lines is from the truth. MPROFILE_BUILD
says where the library is (default build/).
"""
from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "pythons"), str(TESTS / "e2e")]

import find  # noqa: E402
import known  # noqa: E402
from asked import a_rate, at_least
from harness import Python, Running, by_line  # noqa: E402

UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def measure(python: Python, runs: int, rate: str) -> bool:
    number = int(rate[:-1]) * UNITS[rate[-1]] if rate[-1] in UNITS else int(rate)
    within = within_true = cases = 0
    estimated = true = 0.0
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            program, truths = known.start(lambda *a, **k: Running(*a, cwd=Path(folder), **k), python, rate)
            try:
                lines = by_line(program.dump())
            finally:
                program.kill()
        for truth in truths:
            line = lines.get(truth.key)
            estimated += line.size if line else 0.0
            true += truth.size
            if truth.expected_samples(number) < 16:
                continue
            off = abs((line.size if line else 0.0) - truth.size)
            # Where nearly everything is sampled (64 KiB blocks at 16k: 98 %) the estimate takes steps of
            # one block; the comparison is with the stated error all the same, as a user would make it.
            cases += 1
            within += off <= 2 * (line.error if line else 0.0) + 1
            within_true += off <= 2 * truth.sigma(number) + 1
    share = 100.0 * within / cases
    spread = 100.0 * math.sqrt(0.95 * 0.05 / cases)
    print("%-18s %4d of %4d lines within two stated standard errors: %.1f %% (expected 95.4, one standard error of"
          " that %.1f); within two true ones: %.1f %%; all lines of all runs together: %+.2f %%"
          % (python.name, within, cases, share, spread, 100.0 * within_true / cases,
             100.0 * (estimated - true) / true), flush=True)
    return 93.0 <= share <= 97.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=at_least(2), default=20)
    parser.add_argument("--rate", type=a_rate, default="16k")
    parser.add_argument("--pythons", default="", help="versions, as 3.11 or 3.13t; default: all")
    args = parser.parse_args()
    wanted = [word for word in args.pythons.split(",") if word]
    pythons = [Python.from_facts(facts) for facts in find.find()]
    chosen = [python for python in pythons if not wanted or python.minor_name in wanted or python.version in wanted]
    return 0 if all([measure(python, args.runs, args.rate) for python in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
