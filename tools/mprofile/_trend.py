# SPDX-License-Identifier: MIT
"""`--leaks` of several snapshots of one process (or of each of its workers): what grows in each.

Every process has as many snapshots as the others; the first of each make the first set, and so on.
A row grows if it is larger in each set than in the one before, and if its change from the first set
to the last is not within the noise.

Invariants: changes are those of `_diff.py`, so what two sets share has no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Hashable, List, Optional, Sequence

from ._diff import Change, DiffRow, difference
from ._groups import StackIds
from ._heap import Heap
from ._merge import merge, moment
from ._rows import Query, UsageError, is_exact


@dataclass
class TrendRow:
    diff: DiffRow
    #: Changes from one set to the next.
    steps: List[float]
    #: It is larger in each set than in the one before, and not by noise alone.
    grows: bool


@dataclass
class Trend:
    query: Query
    sets: List[List[Heap]]
    rows: List[TrendRow]
    #: Seconds from the first set to the last, where they are known.
    seconds: Optional[float]
    exact: bool

    def growth(self, row: TrendRow) -> Optional[Change]:
        """The change an hour."""
        if not self.seconds:
            return None
        hours, change = self.seconds / 3600, row.diff.change
        return Change(
            change.bytes / hours,
            change.blocks / hours,
            change.bytes_var / hours**2,
            change.blocks_var / hours**2,
        )


def sets_of(heaps: Sequence[Heap]) -> List[List[Heap]]:
    """The snapshots as sets of one moment each, oldest first; one set where no process has two."""
    by_process: Dict[object, List[Heap]] = {}
    for index, heap in enumerate(heaps):
        key: object = heap.head.text("uid") or index
        known = by_process.setdefault(key, [])
        if all(moment(heap) != moment(other) for other in known):
            known.append(heap)
    counts = {len(some) for some in by_process.values()}
    if counts == {1}:
        return [list(heaps)]
    if len(counts) > 1:
        raise UsageError(
            "--leaks: some processes have more snapshots than others; expected as many of each"
        )
    for some in by_process.values():
        some.sort(key=moment)
    return [list(one) for one in zip(*by_process.values())]


def find_trend(sets: Sequence[Sequence[Heap]], query: Query) -> Trend:
    stacks = StackIds()
    of_bytes = query.ranks_bytes
    merged = [merge(one)[0] for one in sets]
    whole = difference(merged[-1], merged[0], query, stacks=stacks)
    steps: Dict[Hashable, List[float]] = {row.key: [] for row in whole.rows}
    for at, (older, newer) in enumerate(zip(merged, merged[1:])):
        for row in difference(newer, older, query, stacks=stacks).rows:
            known = steps.setdefault(row.key, [])
            known += [0.0] * (at - len(known)) + [row.change.figures(of_bytes)[0]]
    rows = []
    for row in whole.rows:
        some = steps[row.key] + [0.0] * (len(merged) - 1 - len(steps[row.key]))
        noise = row.change.is_noise(of_bytes)
        rows.append(TrendRow(row, some, not noise and min(some) > 0))
    rows.sort(key=lambda row: (not row.grows, -row.diff.change.figures(of_bytes)[0]))
    moments = [[heap.head.number("time") for heap in one] for one in (merged[0], merged[-1])]
    first, last = [max((t for t in some if t is not None), default=None) for some in moments]
    seconds = last - first if first is not None and last is not None else None
    exact = is_exact([heap for one in merged for heap in one])
    return Trend(query, merged, rows, seconds, exact)
