#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long and how much memory it takes to read a snapshot of many live samples.

    tests/bench/read_speed.py [SAMPLES [RATE]] [--write]     (default 3,000,000 at rate 1)

Makes the file with the tests' own writer, then reads it with `mprofile-read` in a process of its
own, once for each report and export, and prints wall time and highest resident size. The
target for 3,000,000 samples is 10 s and 1 GiB on one core, for a report of one snapshot.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))

import results  # noqa: E402
from asked import at_least  # noqa: E402
import snapshot_writer as sw  # noqa: E402

ROWS_A_SECTION = 24_000
FILES = 400
STACKS = 30_000
DEPTH = 20
TYPES = 200


def program(rate: int, rng: random.Random) -> sw.Program:
    """Stacks as a busy service has them: many, deep, with common callers."""
    result = sw.Program(rate, cmdline="python\0bench.py")
    for number in range(STACKS):
        branch = number
        stack = []
        for level in range(DEPTH):
            stack.append(("pkg/module%d.py" % (branch % FILES), branch % 900, "f%d" % branch, 1))
            branch = branch * 3 // 4 if level else branch // 2
        result.site(stack, rng.choice(("obj", "mem", "malloc")))
    for number in range(TYPES):
        result.string("pkg.Model%d" % number)
    result.thread()
    result.rates = [rate]
    return result


def live_sections(samples: int, sites: int, types: "list[int]", rng: random.Random) -> "list[bytes]":
    sections = []
    for start in range(0, samples, ROWS_A_SECTION):
        n = min(ROWS_A_SECTION, samples - start)
        chosen = [rng.randrange(sites) for _ in range(n)]
        columns = [
            array("Q", range(16 * start, 16 * (start + n), 16)),
            array("Q", [int(rng.paretovariate(0.9) * 40) for _ in range(n)]),
            array("Q", [rng.randrange(60_000) for _ in range(n)]),
            array("I", chosen),
            array("I", bytes(4 * n)),
            array("H", bytes(2 * n)),
            array("H", bytes(2 * n)),
            array("H", [DEPTH]) * n,
            # The blocks of a site are of one to three types.
            array("I", [types[(site + rng.randrange(site % 3 + 1)) % TYPES] for site in chosen]),
        ]
        payload = struct.pack("<II", n, 0) + b"".join(sw.pad(c.tobytes()) for c in columns)
        sections.append(sw.section(b"LIVE", payload))
    return sections


def chunked(tag: bytes, codes: str, rows: "list[Any]", first: int) -> "list[bytes]":
    step = 10_000
    return [
        sw.table(tag, codes, rows[at : at + step], first + at) for at in range(0, len(rows), step)
    ]


def write(path: str, samples: int, rate: int) -> None:
    rng = random.Random(5)
    told = program(rate, rng)
    types = [0] + [told.string("pkg.Model%d" % number) for number in range(TYPES)]
    sections = [sw.head(dict(told.head, samples=samples))]
    sections += [
        sw.strings(told.strings[at : at + 10_000], at) for at in range(0, len(told.strings), 10_000)
    ]
    sections += chunked(b"FUNC", "III", told.functions, 0)
    sections += chunked(b"NODE", "III", told.nodes, 1)
    sections += chunked(b"SITE", "IBQdddddd", told.sites, 0)
    sections += live_sections(samples, len(told.sites), types, rng)
    sections.append(sw.table(b"THRD", "QQI", told.threads))
    sections.append(sw.counted(b"RATE", "Q", [(rate,)]))
    sections.append(sw.counted(b"LINE", "QQQ", told.lineage))
    with open(path, "wb") as file:
        file.write(sw.finish(sections))


def read(path: str, options: "list[str]") -> "list[str]":
    """A row of the table: wall time, processor time, highest resident size."""
    start = time.perf_counter()
    reader = os.path.join(ROOT, "tools", "mprofile-read")
    process = subprocess.Popen(
        [sys.executable, reader, path, *options], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    assert status == 0, status
    row = [
        " ".join(options).replace(path, "OLD") or "--by lineno",
        "%.2f s" % (time.perf_counter() - start),
        "%.2f s" % (usage.ru_utime + usage.ru_stime),
        "%.0f MiB" % (usage.ru_maxrss / 1024),
    ]
    print(*row, file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="?", type=at_least(1), default=3_000_000)
    parser.add_argument("rate", nargs="?", type=at_least(1), default=1)
    parser.add_argument("--write", action="store_true", help="into tests/bench/RESULTS.md")
    args = parser.parse_args()
    samples, rate = args.samples, args.rate
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench.bin")
        # In a process of its own: a child's highest resident size begins with its parent's.
        code = "import read_speed; read_speed.write(%r, %d, %d)" % (path, samples, rate)
        subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True)
        size = os.path.getsize(path) / 2**20
        reports: list[list[str]] = [[], ["--by", "traceback"], ["--cumulative"], ["--by", "thread"]]
        reports += [["--tree"], ["--leaks"], ["--diff", path], ["--pprof", "/dev/null"]]
        reports += [["--speedscope", "/dev/null"], ["--collapsed", "/dev/null"]]
        reports += [["--html", "/dev/null"]]
        rows = [read(path, options) for options in reports]
    title = "%d samples at rate %d, %.0f MiB" % (samples, rate, size)
    text = results.table([title, "wall time", "processor time", "highest resident size"], rows)
    foot = results.footer("read by Python %s" % sys.version.split()[0])
    results.show("reading", "%s\n\n%s" % (text, foot), args.write)


if __name__ == "__main__":
    main()
