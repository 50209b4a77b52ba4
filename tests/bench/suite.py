#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pyperformance's whole suite with the library preloaded and without, benchmark by benchmark in turn.

    tests/bench/suite.py [--python 3.11.2] [--benchmarks NAME,...|every-third] [--rounds 3] [--processes 4 --values 3] [--fresh] [--write]

The benchmarks are run as pyperformance runs them, through pyperf, by default with as many processes and values, in all, as its --fast. For each benchmark the two sides
take turns, three times, so that what else the machine does meets both. What it does makes values longer and never shorter: the ratio is that of the lower quartiles
of all of a side's values. It is wall time, as pyperf measures: nothing else should run. A run that was stopped goes on where it was; --fresh begins anew. Shown: the ratios as geometric mean, median, 90th percentile and the worst ones; and of the highest resident size.
Each benchmark's pinned packages are installed into a folder of its own in the cache; what has no wheel for the interpreter is left out, and named.
Stated for Debian's optimized builds: 1.03 (geometric mean), 1.08 (90th percentile), 1.15 (worst).
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import packages
import process
import results
from asked import at_least
from configurations import LIBRARY
from interpreters import Interpreter, choose

SIDES = ("bare", "ours")
LIMIT = 1200


@dataclass(frozen=True)
class Benchmark:
    name: str
    script: Path
    options: tuple[str, ...]
    requirements: Path | None


def listed(common: Path, python: Interpreter) -> list[Benchmark]:
    """What pyperformance's manifest names and this interpreter is new enough for."""
    root = common / "pyperformance" / "data-files" / "benchmarks"
    found = []
    for line in (root / "MANIFEST").read_text().splitlines():
        words = line.split("#")[0].split()
        if len(words) != 2 or not words[1].startswith("<local"):
            continue
        name, folder = words[0], words[1].removeprefix("<local").strip(":>")
        where = root / ("bm_" + (folder or name))
        own = where / ("bm_%s.toml" % name)
        facts = tomllib.loads((own if own.exists() else where / "pyproject.toml").read_text())
        tool = facts.get("tool", {}).get("pyperformance", {})
        least = facts.get("project", {}).get("requires-python", "").removeprefix(">=")
        if least and tuple(map(int, least.split(".")[:2])) > python.minor:
            continue
        requirements = where / "requirements.txt"
        found.append(Benchmark(name, where / tool.get("runscript", "run_benchmark.py"), tuple(tool.get("extra_opts", ())),
                               requirements if requirements.exists() else None))
    return found


def path_of(benchmark: Benchmark, python: Interpreter, common: Path) -> str | None:
    """What is to be on its path: its own packages, then everyone's. None where they cannot be had."""
    if benchmark.requirements is None:
        return str(common)
    digest = hashlib.sha256(benchmark.requirements.read_bytes()).hexdigest()[:12]
    where = packages.cache() / "suite" / ("%s-%s" % (python.minor_name, digest))
    refused = where.with_name(where.name + ".refused")
    if not where.exists() and not refused.exists():
        part = where.with_name("%s.part%d" % (where.name, os.getpid()))
        part.mkdir(parents=True)
        done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(part),
                               "--python-version", "%d.%d" % python.minor, "--only-binary=:all:", "-r", str(benchmark.requirements)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0:
            part.rename(where)
        else:
            refused.write_text(done.stdout)
    return "%s:%s" % (where, common) if where.exists() else None


def run(benchmark: Benchmark, python: Interpreter, path: str, side: str, args: argparse.Namespace) -> dict[str, tuple[list[float], float]]:
    """Of each benchmark that the script knows: its values and its highest resident size, in KiB."""
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        out = folder + "/out.json"
        env = {**process.clean_environment(), "HOME": folder, "PYTHONPATH": path, "MPROFILEOUT": folder}
        if side == "ours":
            env["LD_PRELOAD"] = str(LIBRARY)
        command = [python.path, str(benchmark.script), *benchmark.options, "--quiet", "-o", out, "--processes", str(args.processes),
                   "--values", str(args.values), "--inherit-environ", ",".join(env)]
        done = subprocess.run(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, timeout=LIMIT)
        if done.returncode != 0 or not os.path.exists(out):
            raise process.Failed("%s, %s: %s" % (benchmark.name, side, done.stderr[-800:]))
        told = json.loads(Path(out).read_text())
    found = {}
    for one in told["benchmarks"]:
        common = {**told.get("metadata", {}), **one.get("metadata", {})}
        values = [value for row in one["runs"] for value in row.get("values", [])]
        sizes = [{**common, **row.get("metadata", {})}.get("mem_max_rss", 0) / 1024 for row in one["runs"]]
        found[common["name"]] = values, max(sizes)
    return found


def measure(benchmark: Benchmark, python: Interpreter, path: str, args: argparse.Namespace, raw: results.Raw) -> None:
    key = "%s/%s" % (python.name, benchmark.name)
    rng = random.Random(benchmark.name)
    while len(raw.found.get(key, [])) < args.rounds:
        order = list(SIDES)
        rng.shuffle(order)
        sides = {side: run(benchmark, python, path, side, args) for side in order}
        raw.add(key, **sides)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(rows: dict[str, tuple[float, float | None]], title: str) -> str:
    times, sizes = [row[0] for row in rows.values()], [row[1] for row in rows.values() if row[1] is not None]
    worst = sorted(rows, key=lambda name: -rows[name][0])[:5]
    cells = [["time", "%.3f" % statistics.geometric_mean(times), "%.3f" % statistics.median(times), "%.3f" % percentile(times, 0.9),
              "%.3f" % max(times), "%.3f" % min(times)],
             ["highest resident size", "%.3f" % statistics.geometric_mean(sizes), "%.3f" % statistics.median(sizes),
              "%.3f" % percentile(sizes, 0.9), "%.3f" % max(sizes), "%.3f" % min(sizes)]]
    heads = [title, "geometric mean", "median", "90th percentile", "worst", "best"]
    return "%s\n\nThe worst: %s." % (results.table(heads, cells), ", ".join("%s %.3f" % (name, rows[name][0]) for name in worst))


def ratios(raw: results.Raw, python: Interpreter, benchmarks: list[Benchmark]) -> dict[str, tuple[float, float | None]]:
    """Of time and of the highest resident size, where pyperf told one: of a benchmark that measures a command it does not."""
    found: dict[str, tuple[float, float | None]] = {}
    for benchmark in benchmarks:
        rounds = raw.found.get("%s/%s" % (python.name, benchmark.name), [])
        for name in rounds[0]["bare"] if rounds else ():
            values = {side: [value for one in rounds for value in one[side][name][0]] for side in SIDES}
            sizes = {side: max(one[side][name][1] for one in rounds) for side in SIDES}
            if all(len(some) > 3 for some in values.values()):
                quarter = {side: statistics.quantiles(some, n=4)[0] for side, some in values.items()}
                found[name] = (quarter["ours"] / quarter["bare"], sizes["ours"] / sizes["bare"] if sizes["bare"] else None)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.11.2")
    parser.add_argument("--benchmarks", default="", help="names, or every-third; default: all")
    parser.add_argument("--rounds", type=at_least(1), default=3)
    parser.add_argument("--processes", type=at_least(1), default=4)
    parser.add_argument("--values", type=at_least(1), default=3)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    python = choose(args.python)[0]
    common = packages.folder(python)
    if common is None:
        raise SystemExit("no packages for %s" % python.name)
    benchmarks = listed(common, python)
    whole = len(benchmarks)
    if args.benchmarks == "every-third":
        benchmarks = benchmarks[::3]
    elif args.benchmarks:
        benchmarks = [one for one in benchmarks if one.name in args.benchmarks.split(",")]
    raw = results.Raw(LIBRARY.parent / "bench" / "suite.jsonl", args.fresh)
    left_out = []
    for benchmark in benchmarks:
        path = path_of(benchmark, python, common)
        try:
            if path is None:
                raise process.Failed("%s: its packages have no wheels for %s" % (benchmark.name, python.name))
            measure(benchmark, python, path, args, raw)
        except (process.Failed, subprocess.TimeoutExpired) as failed:
            print(failed, file=sys.stderr, flush=True)
            left_out.append(benchmark.name)
    rows = ratios(raw, python, benchmarks)
    for name, row in rows.items():
        print("%-40s %.3f %s" % (name, row[0], "%.3f" % row[1] if row[1] else "–"), file=sys.stderr)
    told = "%d of the %d benchmarks of the suite asked for, %d results of %d; left out for want of wheels, or because they do not run here: %s." % (
        len(benchmarks), whole, len(rows), len(benchmarks), ", ".join(left_out) or "none")
    results.show("suite", "\n\n".join([summary(rows, "CPython %s, ratio to no profiler" % python.name), told,
                                       results.footer(packages.versions())]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
