#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the library costs where there is no Python object: malloc and free of C code, and start-up.

    tests/bench/native.py [--runs 300] [--python python3] [--rate 128k] [--write]

(a) Instructions of a tight loop of malloc and free in C, with the library over without, under cachegrind: the loop's own
    share, as the difference of two lengths, so that start-up is not in it. Small blocks (16 to 512 bytes, mixed) of which 64 are kept, and large ones; target: at most
    1.10. And without a target, to be told: small blocks freed at once, where malloc does the least; and all of it inside Python (through
    ctypes), where samples are taken, which is most of the cost of large blocks.
(b) Start-up of /bin/true, wall time, runs with and without in turn. Target: 0.3 ms more.
(c) The same of `python -c pass`. Target: 3 ms more.

Prints a table in markdown. The C program is compiled here, with cc; needs valgrind for (a). MPROFILE_BUILD says where the library
is (default build/).
"""
from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import results
from asked import a_rate, at_least

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ.get("MPROFILE_BUILD") or ROOT / "build").absolute() / "libmprofile.so"

LOOP = r"""
#include <stdlib.h>

#define KEPT 64
#define SIZES 4096

static void *kept[KEPT];
static unsigned sizes[SIZES];

/* Each step frees one block of those that are kept and takes another in its place. */
static __attribute__((noinline)) void kept_loop(long steps)
{
    for (long i = 0; i < steps; i++) {
        void **slot = &kept[(unsigned long)i % KEPT];
        free(*slot);
        *slot = malloc(sizes[(unsigned long)i % SIZES]);
    }
}

static __attribute__((noinline)) void at_once_loop(long steps)
{
    for (long i = 0; i < steps; i++) {
        void *volatile block = malloc(sizes[(unsigned long)i % SIZES]);
        free(block);
    }
}

/* how: 0 small, 1 large, 2 small and freed at once. The loops themselves do next to nothing: it would dilute what is measured. */
int loop(long steps, int how)
{
    unsigned long random = 12345;
    for (int i = 0; i < SIZES; i++) {
        random = random * 6364136223846793005ul + 1442695040888963407ul;
        sizes[i] = (unsigned)(how == 1 ? 20000 + (random >> 33) % 80000 : 16 + (random >> 33) % 497);
    }
    if (how == 2) {
        at_once_loop(steps);
    } else {
        kept_loop(steps);
    }
    for (int i = 0; i < KEPT; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
    return 0;
}

int main(int count, char **words)
{
    return count > 2 ? loop(atol(words[1]), atoi(words[2])) : 1;
}
"""
IN_PYTHON = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).loop(ctypes.c_long(int(sys.argv[2])), int(sys.argv[3]))"


def environment(preload: bool, rate: str) -> Dict[str, str]:
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith(("PYTHON", "MPROFILE")) and key != "LD_PRELOAD"}
    clean["PYTHONHASHSEED"] = "1"
    if preload:
        clean.update(LD_PRELOAD=str(LIBRARY), MPROFILERATE=rate)
    return clean


def instructions(command: Sequence[str], preload: bool, rate: str) -> int:
    done = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *command],
                          env=environment(preload, rate), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    found = re.search(r"I\s+refs:\s+([0-9,]+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise SystemExit("%s: %s" % (" ".join(command), done.stderr[-500:]))
    return int(found.group(1).replace(",", ""))


def a_step(command: Sequence[str], how: int, preload: bool, rate: str, steps: int) -> float:
    """Instructions of one step: a longer run less a shorter one."""
    few, many = (instructions([*command, str(n), str(how)], preload, rate) for n in (steps, 3 * steps))
    return (many - few) / (2 * steps)


def start_up(command: Sequence[str], runs: int, rate: str) -> Tuple[List[float], List[float]]:
    """Milliseconds of each run, without and with, in turn and in random order within a turn."""
    times: Dict[bool, List[float]] = {False: [], True: []}
    sides = {side: environment(side, rate) for side in times}
    rng = random.Random(1)
    for turn in range(runs + 5):
        order = [False, True]
        rng.shuffle(order)
        for side in order:
            began = time.perf_counter()
            pid = os.posix_spawn(command[0], list(command), sides[side])
            _, status = os.waitpid(pid, 0)
            took = 1000 * (time.perf_counter() - began)
            assert status == 0, status
            if turn >= 5:
                times[side].append(took)
    return times[False], times[True]


def spread(values: Sequence[float]) -> str:
    quarters = statistics.quantiles(values, n=4)
    return "%.2f (%.2f to %.2f)" % (statistics.median(values), quarters[0], quarters[2])


def first_line(command: Sequence[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.splitlines()[0] if done.stdout else "?"


def verdict(value: float, most: float) -> str:
    return "met" if value <= most else "**missed**"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=at_least(3), default=300, help="of /bin/true; a third of it of Python; default %(default)s")
    parser.add_argument("--steps", type=at_least(1000), default=200_000, help="of the loop; default %(default)s")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    parser.add_argument("--rate", type=a_rate, default="128k", help="MPROFILERATE; default %(default)s")
    args = parser.parse_args()
    python = shutil.which(args.python)
    compiler = shutil.which("cc")
    if python is None or compiler is None:
        parser.error("needs cc and %s" % args.python)
    if not LIBRARY.exists():
        parser.error("%s is not there: build first, or say where in MPROFILE_BUILD" % LIBRARY)
    # Not a shim: what is started must be the interpreter itself.
    python = subprocess.run([python, "-c", "import sys; print(sys.executable)"], stdout=subprocess.PIPE, text=True,
                            check=True, env=environment(False, args.rate)).stdout.strip()
    rows: List[Tuple[str, str, str, str, str, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "loop.c").write_text(LOOP)
        program, library = folder / "loop", folder / "loop.so"
        subprocess.run([compiler, "-O2", "-o", str(program), str(folder / "loop.c")], check=True)
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(folder / "loop.c")], check=True)
        if shutil.which("valgrind"):
            for where, command in (("no Python", [str(program)]), ("in Python", [python, "-c", IN_PYTHON, str(library)])):
                for how, what in ((0, "16 to 512 bytes"), (1, "20 to 100 kB"), (2, "16 to 512 bytes at once")):
                    bare, ours = (a_step(command, how, side, args.rate, args.steps) for side in (False, True))
                    meant = how != 2 and where == "no Python"
                    rows.append(("malloc and free, %s, %s" % (what, where), "%.1f instructions" % bare, "%.1f" % ours,
                                 "× %.3f" % (ours / bare), *(("× 1.10", verdict(ours / bare, 1.10)) if meant else ("", ""))))
        else:
            print("no valgrind: instructions are not counted\n")
    for label, command, runs, most in (("start-up of /bin/true", ["/bin/true"], args.runs, 0.3),
                                       ("start-up of python -c pass", [python, "-c", "pass"], args.runs // 3, 3.0)):
        bare_times, our_times = start_up(command, runs, args.rate)
        more = statistics.median(b - a for a, b in zip(bare_times, our_times))
        rows.append(("%s, %d runs" % (label, runs), spread(bare_times) + " ms", spread(our_times) + " ms",
                     "+ %.2f ms" % more, "+ %.1f ms" % most, verdict(more, most)))
    note = "Times are medians (and quartiles); their cost is the median of the differences within a turn."
    versions = "MPROFILERATE=%s; %s; Python %s; %s" % (
        args.rate, first_line([str(compiler), "--version"]),
        first_line([python, "-c", "import platform; print(platform.python_version())"]),
        first_line(["valgrind", "--version"]) if shutil.which("valgrind") else "no valgrind")
    heads = ["what", "without", "with", "cost", "target", ""]
    results.show("native", "\n\n".join([results.table(heads, rows), note, results.footer(versions)]), args.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
