# SPDX-License-Identifier: MIT
"""What tests/programs/known_lines.py is expected to look like: truths, and how far an estimate may be off."""
from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from harness import PROGRAMS, Line, Python, Running

SIGMAS = 7.0  # one-sided tail of a normal: 1e-12; leaves room for the skew of small counts
# Kinds that are two allocations each, a head and a body.
COMPOSITE = ("bytearrays", "small_bytearrays", "lists", "dicts", "sets")


class Truth:
    """One line: where it is, and what it keeps."""

    def __init__(self, row: Mapping[str, Any], python: Python) -> None:
        self.name: str = row["name"]
        self.file: str = row["file"]
        self.line: int = row["line"]
        self.function: str = row["function"] if python.qualified else row["function"].split(".")[-1]
        self.count: int = row["count"]
        self.size: int = row["size"]
        # What the interpreter adds or takes away by itself. A list's or dict's head may come out of a
        # freelist (80 of each; up to 3.15) that an earlier allocation of another line filled.
        # pymalloc's table of arenas (48 bytes each) doubles when it is full, in the raw domain, on
        # the line that wanted one arena more: 1,536 or 3,072 bytes, once.
        self.low, self.high = 0, 6144
        if self.name in ("lists", "dicts"):
            self.low = 80 * 200
        if python.free_threaded:
            # A list's items have a header of 8 bytes that getsizeof does not count; specialising a
            # function for a further thread copies its bytecode.
            self.high += 16 * 1024 + (8 * self.count if self.name == "lists" else 0)

    @property
    def key(self) -> Tuple[str, int]:
        return os.path.basename(self.file), self.line

    def sigma(self, rate: int) -> float:
        """One standard error of the estimate at a rate."""
        if rate <= 1:
            return 0.0
        if self.name in COMPOSITE:  # s²(1-p)/p is below s R for each part, whatever the parts are
            return math.sqrt(self.size * rate)
        each = self.size / self.count
        chance = -math.expm1(-each / rate)
        return math.sqrt(self.count * (1 - chance) / chance) * each

    def expected_samples(self, rate: int) -> float:
        return self.count * -math.expm1(-(self.size / self.count) / rate)

    def check(self, estimate: float, rate: int) -> None:
        slack = SIGMAS * self.sigma(rate)
        if rate > 1:  # whole samples: one more or less is always possible
            slack += 2 * max(rate, self.size / self.count)
        off = estimate - self.size
        assert -self.low - slack <= off <= self.high + slack, "%s: %d estimated, %d true, at rate %d" % (
            self.name, estimate, self.size, rate)


def start(run: Callable[..., Running], python: Python, rate: str, *, scale: int = 1, env: Mapping[str, str] = {},
          options: Sequence[str] = ()) -> Tuple[Running, List[Truth]]:
    """Start the program, and wait until its memory is there."""
    program = run(python, options=options, argv=[PROGRAMS / "known_lines.py"], args=[str(scale)],
                  env={"MPROFILERATE": rate, **env})
    truths = [Truth(row, python) for row in json.loads(program.line())]
    program.ready()
    return program, truths


ARENA_MAP_NODE = 16384 * 8


def own_lines(path: Path) -> Dict[Tuple[str, int], Line]:
    """`harness.by_line`, without the nodes of pymalloc's map of its arenas (3.10 and later).

    A node has 16,384 pointers and comes in the raw domain, on the line that made pymalloc take an arena in a
    region of addresses where it had none: once or twice in a run, where the kernel's random addresses want it.
    """
    from harness import RawFile, by_line

    lines = by_line(path)
    for sample in RawFile(path).live:
        if sample.domain == 0 and sample.size == ARENA_MAP_NODE and sample.stack:
            key = os.path.basename(sample.stack[0].file), sample.stack[0].line
            line = lines[key]
            lines[key] = line._replace(size=line.size - sample.weight * sample.size)
    return lines


def functions(path: Path) -> Dict[Tuple[str, int], Tuple[str, str]]:
    """(base name, line) to the whole file name and the function, of the nearest frame of each live trace."""
    from harness import load

    found: Dict[Tuple[str, int], Tuple[str, str]] = {}
    for trace in load(path).traces:
        near = trace.traceback[-1]  # as tracemalloc: most recent call last
        found[os.path.basename(near.filename), near.lineno] = near.filename, near.name
    return found
