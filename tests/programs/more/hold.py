# SPDX-License-Identifier: MIT
"""What every program of this folder ends with: it says what it keeps, waits, and ends with a status of its own.

The line that keeps memory ends in `# @kept`. What is printed before is the same in every run.
"""
from __future__ import annotations

import sys


def hold(least: int, most: int) -> None:
    """Say that the kept blocks are between `least` and `most` bytes, and wait until standard input closes."""
    print("kept", least, most)
    print("ready", flush=True)
    sys.stdin.read()
    sys.exit(3)
