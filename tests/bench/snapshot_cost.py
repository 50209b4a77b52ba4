#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What take_snapshot() costs a program with many live blocks, beside tracemalloc's, every allocation recorded.

    python3 tests/bench/snapshot_cost.py [--blocks N] [--frames N] [--preload] [PYTHON]

For each of the two, in a process of its own, a program makes N live blocks (3,000,000) at a thousand lines and a
few stacks each; then take_snapshot(), and statistics("lineno") of it, are timed, and the highest resident size
meanwhile, above what it was before, is measured. Printed as a table of markdown. The library is that of the build
folder. What the library writes to memory on the way, some 40 bytes a block, is the kernel's and not in these sizes.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Dict, List

from asked import at_least

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MPROFILE_BUILD") or os.path.join(ROOT, "build")

PROGRAM = r"""
import json, sys, time

name, blocks, frames = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
module = __import__(name)
LINES = 1000
source = "def make(at, kept):\n    return MAKERS[at](kept)\n"
for line in range(LINES):
    source += "def m%d(kept):\n    kept.append(bytes(%d))\n" % (line, 1 + line % 200)
source += "MAKERS = [%s]\n" % ", ".join("m%d" % line for line in range(LINES))
for way in range(3):
    source += "def way%d(at, kept):\n    make(at, kept)\n" % way
scope = {}
exec(compile(source, "/made/up.py", "exec"), scope)
ways = [scope["way%d" % way] for way in range(3)]


def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024


def peak_from_here():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")


module.start(frames)
kept = [None] * blocks
del kept[:]
began = time.perf_counter()
for number in range(blocks):
    ways[number % 3](number * 7 % LINES, kept)
found = {"build": time.perf_counter() - began}
for what in ("take_snapshot", "statistics"):
    before = peak_from_here()
    began, used = time.perf_counter(), time.process_time()
    if what == "take_snapshot":
        snapshot = module.take_snapshot()
    else:
        statistics = snapshot.statistics("lineno")
    found[what] = time.perf_counter() - began
    found[what + " cpu"] = time.process_time() - used
    found[what + " peak"] = status("VmHWM") - before
    found[what + " kept"] = status("VmRSS") - before
found["traces"] = len(snapshot.traces)
found["own"] = module.get_tracemalloc_memory()
top = [one for one in statistics if one.traceback[0].filename == "/made/up.py"]
assert sum(one.count for one in top) >= blocks, (sum(one.count for one in top), blocks)
print(json.dumps(found))
"""


def measure(python: str, name: str, options: argparse.Namespace) -> Dict[str, float]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MPROFILE", "LD_"))}
    env["PYTHONPATH"] = os.path.join(ROOT, "tools")
    env["PYTHONHASHSEED"] = "0"
    env["MPROFILEMEMORY"] = "none"
    if options.preload and name == "mprofile":
        env.update(LD_PRELOAD=os.path.join(BUILD, "libmprofile.so"), MPROFILERATE="off")
    command = [python, "-c", PROGRAM, name, str(options.blocks), str(options.frames)]
    found = json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout)
    assert isinstance(found, dict)
    return found


def table(ours: Dict[str, float], stock: Dict[str, float]) -> List[str]:
    rows = ["| | mprofile | tracemalloc | ratio |", "|---|--:|--:|--:|"]
    for key, label, unit, scale in [
        ("build", "making the blocks", "s", 1.0),
        ("own", "the profiler's own memory", "MiB", 2.0**20),
        ("take_snapshot", "take_snapshot()", "s", 1.0),
        ("take_snapshot cpu", "its processor time", "s", 1.0),
        ("take_snapshot peak", "its highest resident size, above before", "MiB", 2.0**20),
        ("take_snapshot kept", "what the snapshot keeps", "MiB", 2.0**20),
        ("statistics", 'statistics("lineno")', "s", 1.0),
        ("statistics cpu", "its processor time", "s", 1.0),
        ("statistics peak", "its highest resident size, above before", "MiB", 2.0**20),
    ]:
        mine, theirs = ours[key] / scale, stock[key] / scale
        ratio = "%.2f" % (mine / theirs) if theirs > 0 else ""
        rows.append("| %s | %.2f %s | %.2f %s | %s |" % (label, mine, unit, theirs, unit, ratio))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("python", nargs="?", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--blocks", type=at_least(1000), default=3_000_000)
    parser.add_argument("--frames", type=at_least(1), default=10)
    parser.add_argument("--preload", action="store_true")
    options = parser.parse_args()
    stock = measure(options.python, "tracemalloc", options)
    ours = measure(options.python, "mprofile", options)
    print("%d live blocks, %d and %d traces, up to %d frames; %s\n" % (
        options.blocks, ours["traces"], stock["traces"], options.frames, options.python))
    print("\n".join(table(ours, stock)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
