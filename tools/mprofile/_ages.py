# SPDX-License-Identifier: MIT
"""Live blocks by age: how much of each row is from which tenth of the run.

A process's run is what its clock says, from when it began (or was forked) to the snapshot, cut into
ten equal windows, the oldest first. What it inherited is older than its run and in the first. Ages
beyond a minute and beyond an hour are told apart too.

Invariants: a row's windows add up to its live figure; workers add up window by window, each with
the tenths of its own run.
"""

from __future__ import annotations

import copy
from array import array
from dataclasses import dataclass, field
from operator import add
from typing import Dict, Hashable, Iterator, List, Sequence, Tuple

from ._groups import StackIds
from ._heap import Heap
from ._rows import Query, Row, run
from ._sums import Sums, sum_live

WINDOWS = 10
#: Milliseconds; a sample's class is how many of these its age has reached.
_LIMITS = (60_000, 3_600_000)
_CLASSES = len(_LIMITS) + 1
_HOUR = 3_600_000.0


@dataclass
class AgedRow:
    """One group's live figure (bytes or blocks, as the query ranks) by window, and its variance."""

    row: Row
    windows: List[float] = field(default_factory=lambda: [0.0] * WINDOWS)
    variances: List[float] = field(default_factory=lambda: [0.0] * WINDOWS)
    #: Blocks in each window, whatever is ranked.
    blocks: List[float] = field(default_factory=lambda: [0.0] * WINDOWS)
    #: Each window's share of the figure an hour: its figure over its length, over all processes.
    rates: List[float] = field(default_factory=lambda: [0.0] * WINDOWS)
    rate_variances: List[float] = field(default_factory=lambda: [0.0] * WINDOWS)
    #: What is older than a minute, and than an hour.
    older: List[float] = field(default_factory=lambda: [0.0] * len(_LIMITS))


def run_ms(heap: Heap) -> Tuple[int, int]:
    """When a process began and when its snapshot was taken, on its sample clock."""
    begin = heap.lineage.clock_ms[-1] if heap.lineage.clock_ms else 0
    end = heap.head.integer("clock_ms")
    if end is None:
        end = max(heap.live.time, default=0)
    return begin, max(end, begin + 1)


def _codes(heap: Heap) -> bytearray:
    """Each live sample's window and class in one number: window * _CLASSES + class."""
    begin, end = run_ms(heap)
    length, last = end - begin, len(heap.lineage.uid) - 1
    minute, hour = _LIMITS

    def code(time: int, window: int) -> int:
        return window * _CLASSES + (end - time >= minute) + (end - time >= hour)

    # Moments repeat: of millions of samples each is looked at once.
    of_time = {
        time: code(time, min(max(time - begin, 0) * WINDOWS // length, WINDOWS - 1))
        for time in set(heap.live.time)
    }
    codes = bytearray(map(of_time.__getitem__, heap.live.time))
    if last > 0:
        for row, generation in enumerate(heap.live.generation):
            if generation != last:
                codes[row] = code(heap.live.time[row], 0)
    return codes


def _parts(heap: Heap, query: Query) -> Iterator[Tuple[int, Heap, Sums]]:
    """The heap in pieces of one code each."""
    codes = _codes(heap)
    present = sorted(set(codes))
    if query.by in ("type", "thread", "generation"):
        for code in present:
            piece = copy.copy(heap)
            piece.live = heap.live.kept([one == code for one in codes])
            yield code, piece, sum_live(piece, piece.live.site, len(heap.sites.node))
        return
    # Sums by site are enough: one pass over the samples instead of one a piece.
    step = len(present)
    dense = codes.translate(bytes(present.index(c) if c in present else 0 for c in range(256)))
    labels = array("Q", map(add, map(step.__mul__, heap.live.site), dense))
    sums = sum_live(heap, labels, len(heap.sites.node) * step)
    for index, code in enumerate(present):
        part = Sums(0)
        for name in Sums.__slots__:
            setattr(part, name, getattr(sums, name)[index::step])
        yield code, heap, part


def aged_rows(heaps: Sequence[Heap], query: Query, stacks: StackIds) -> List[AgedRow]:
    """The rows of *heaps* by age. *query* ranks bytes or blocks in use."""
    rows: Dict[Hashable, AgedRow] = {}
    for heap in heaps:
        begin, end = run_ms(heap)
        hours = (end - begin) / WINDOWS / _HOUR
        for code, piece, sums in _parts(heap, query):
            window, kind = divmod(code, _CLASSES)
            for row in run([piece], [sums], query, stacks).rows:
                aged = rows.get(row.key)
                if aged is None:
                    aged = rows[row.key] = AgedRow(row)
                _add(aged, row, query.ranks_bytes, window, kind, hours)
    return list(rows.values())


def _add(aged: AgedRow, row: Row, of_bytes: bool, window: int, kind: int, hours: float) -> None:
    total = row.total
    if total.best > aged.row.total.best:
        aged.row = row
    value, variance = total.blocks, total.blocks_var
    if of_bytes:
        value, variance = total.bytes, total.bytes_var
    aged.windows[window] += value
    aged.variances[window] += variance
    aged.blocks[window] += total.blocks
    aged.rates[window] += value / hours
    aged.rate_variances[window] += variance / hours**2
    for limit in range(kind):
        aged.older[limit] += value
