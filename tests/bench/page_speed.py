#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long and how much memory it takes to make the page of many live samples.

    tests/bench/page_speed.py [SAMPLES [RATE [STACKS]]]     (default 3,000,000 at rate 1, 30,000 stacks)

The target for 3,000,000 samples is 15 s and 1 GiB on one core. PAGE_KEEP=FILE keeps the page.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import read_speed
from asked import at_least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("samples", 3_000_000), ("rate", 1), ("stacks", 30_000)):
        parser.add_argument(name, nargs="?", type=at_least(1), default=default)
    args = parser.parse_args()
    samples, rate, stacks = args.samples, args.rate, args.stacks
    reader = os.path.join(read_speed.ROOT, "tools", "mprofile-read")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "bench.bin")
        page = os.environ.get("PAGE_KEEP") or os.path.join(folder, "bench.html")
        # In a process of its own: a child's highest resident size begins with its parent's.
        code = "import read_speed; read_speed.STACKS = %d; read_speed.write(%r, %d, %d)"
        subprocess.run([sys.executable, "-c", code % (stacks, source, samples, rate)], cwd=read_speed.HERE, check=True)
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, reader, "--html", page, source])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0, status
        print(
            "%d samples at rate %d in %d stacks: %.2f s wall, %.2f s cpu, %.0f MiB; the page is %.1f MB"
            % (
                samples,
                rate,
                stacks,
                time.perf_counter() - start,
                usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss / 1024,
                os.path.getsize(page) / 1e6,
            )
        )


if __name__ == "__main__":
    main()
