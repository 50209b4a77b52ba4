# SPDX-License-Identifier: MIT
"""What exports are made of: sums by stack, filtered as the report's, in whole numbers.

Other tools have no place for fractions. Rounding each stack alone could add up to any error over
many small ones, so what one stack is rounded by is carried to the next: each figure is within one
of the truth, and every sum over a whole file is the report's, rounded.

Invariants: weights are in, once: a figure is an estimate of what was there, not a sum of samples.
"""

from __future__ import annotations

import os
from array import array
from typing import Iterable, Iterator, List, Sequence, Tuple

from ._heap import NATIVE, UNKNOWN_FILE, Frame, Heap, frame_place
from ._rows import Query, filtered
from ._sums import Sums, sum_allocated, sum_peak


def value_sums(heap: Heap, live: Sums, query: Query) -> Sums:
    """The sums by site that a query's value is taken from, without what its filters leave out."""
    sums = live
    if query.source == "alloc":
        sums = sum_allocated(heap)
    elif query.source == "peak":
        sums = sum_peak(heap)
    return filtered(heap, sums, query)[1] if query.include or query.exclude else sums


def rounded(values: Iterable[float]) -> Iterator[int]:
    """Whole numbers whose sums are those of the values, to within a half."""
    owed = 0.0
    for value in values:
        owed += value
        whole = int(owed + 0.5)
        owed -= whole
        yield whole


def stacks(parts: Sequence[Tuple[Heap, Sums]], query: Query) -> Iterator[Tuple[Heap, int, int]]:
    """Each site's heap, node and whole figure; those with a figure of zero are left out."""
    for heap, live in parts:
        sums = value_sums(heap, live, query)
        values: List[float] = sums.bytes if query.ranks_bytes else sums.blocks
        for node, value in zip(heap.sites.node, rounded(values)):
            if value > 0:
                yield heap, node, value


#: What an export of whole stacks may hold: 100,000 stacks of 100 frames. Stacks share their
#: frames in a snapshot and not in an export, so that a small file could become any size.
FRAMES_MAX = 10_000_000


def frames_of_stacks(parts: Sequence[Tuple[Heap, Sums]], most: int = 0) -> int:
    """How many frames all stacks have together, or the *most* deepest of them."""
    depths: List[int] = []
    for heap, _ in parts:
        deep = array("I", bytes(4 * len(heap.nodes.parent)))
        for node, parent in enumerate(heap.nodes.parent):
            if node:
                deep[node] = deep[parent] + 1
        depths += [deep[node] for node in heap.sites.node]
    return sum(sorted(depths, reverse=True)[:most] if most else depths)


def plain_name(frame: Frame) -> str:
    """A function's name as other tools show it, alone.

    A name in angle brackets is that of many functions, so its file is said with it. It depends on
    nothing but the function, for profiles are compared by it.
    """
    file, _, name, first = frame
    if first == NATIVE and not name:
        return frame_place(frame)
    if not name:
        return "[%s]" % (os.path.basename(file) or "unknown")
    if name.startswith("<") and file and file != UNKNOWN_FILE:
        return "%s (%s)" % (name, os.path.basename(file))
    return name
