# SPDX-License-Identifier: MIT
"""`--leaks`: which rows grow, judged by the ages of what is alive in one snapshot.

A leak keeps some of what it allocates at all times, so its survivors are spread over the run. A
cache that was filled once is all old; a busy path is all young; a cache that throws out what is old
has nothing older than it keeps. So the run is cut into tenths. The first is start-up, the last the
young tail, of which nobody knows yet what will stay; what lies between is judged, in quarters.

Growth an hour is what was allocated in the quarters, and is alive, over their length. Its error is
that of sampling. Whether quarters differ is judged with the randomness of the arrivals too, as if
blocks came independently: the number of samples that would be as uncertain decides.

Invariants: what is not significantly uneven counts as even, so that few samples never hide a leak
behind a word; the order is by kind first, then by growth or by what is old.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Hashable, List, Optional, Sequence, Tuple

from ._ages import WINDOWS, AgedRow, aged_rows, run_ms
from ._groups import StackIds
from ._heap import Heap
from ._rows import Query, UsageError, run
from ._sums import Sums
from ._weights import standard_error

#: What a row is. The order is that of the report.
GROWS, LATE, TURNS_OVER, STOPPED, OLD, FEW, YOUNG = (
    "grows",
    "grows_late",
    "turns_over",
    "stopped",
    "old",
    "few",
    "young",
)
KINDS = (GROWS, LATE, TURNS_OVER, STOPPED, OLD, FEW, YOUNG)

_FIRST, _END = 1, WINDOWS - 1
#: Errors beyond which parts of the run are taken to differ; samples below which nothing is said.
_UNEVEN = 2.0
_ENOUGH = 4.0
#: A part that has less than this of its share has nearly nothing.
_LITTLE = 1.0 / 3.0
#: Of what a row ever allocated, less than this alive: it does not keep what it allocates.
_KEEPS = 0.5


@dataclass
class LeakRow:
    aged: AgedRow
    kind: str
    #: What is older than a tenth of the run, and its error.
    old: float
    old_error: float
    #: Growth an hour and its error; None where a row does not grow.
    growth: Optional[float]
    growth_error: float
    #: The window in which growth began, where it did not at the start.
    since: int
    #: Of what it ever allocated, what is alive; None where that is not known.
    kept: Optional[float]


@dataclass
class Leaks:
    query: Query
    rows: List[LeakRow]
    exact: bool
    #: The longest run of the processes, and the shortest, in seconds: tenths are each one's own.
    seconds: float
    shortest: float


def check(query: Query) -> None:
    if query.source != "inuse":
        raise UsageError("--leaks goes with --value inuse_bytes or inuse_blocks only")


def find_leaks(heaps: Sequence[Heap], query: Query, exact: bool) -> Leaks:
    stacks = StackIds()
    rows = aged_rows(heaps, query, stacks)
    allocated = _allocated(heaps, query, stacks)
    judged = [_judge(aged, query, allocated.get(aged.row.key)) for aged in rows]
    judged.sort(key=_order)
    runs = [run_ms(heap) for heap in heaps]
    lengths = [(end - begin) / 1000 for begin, end in runs]
    return Leaks(query, judged, exact, max(lengths), min(lengths))


def _allocated(heaps: Sequence[Heap], query: Query, stacks: StackIds) -> Dict[Hashable, float]:
    """Bytes or blocks ever allocated, by row, for the keys that have it."""
    if query.by in ("type", "thread", "generation"):
        return {}
    value = "alloc_bytes" if query.ranks_bytes else "alloc_blocks"
    ever = Query(query.by, value, query.cumulative, query.include, query.exclude)
    # What is alive plays no part in it.
    rows = run(heaps, [Sums(0)] * len(heaps), ever, stacks).rows
    return {r.key: r.total.bytes if query.ranks_bytes else r.total.blocks for r in rows}


def _order(row: LeakRow) -> Tuple[int, float, str]:
    value = row.growth if row.kind in (GROWS, LATE) else row.old
    first = row.aged.row
    return KINDS.index(row.kind), -(value or 0.0), repr((first.frames[:1], first.labels))


def _judge(aged: AgedRow, query: Query, allocated: Optional[float]) -> LeakRow:
    old = math.fsum(aged.windows[:_END])
    old_error = standard_error(math.fsum(aged.variances[:_END]))
    live = old + aged.windows[-1]
    kept = live / allocated if allocated else None
    kind, since = _kind(aged, kept)
    growth, error = None, 0.0
    if kind in (GROWS, LATE):
        span = range(since, _END)
        growth = math.fsum(aged.rates[i] for i in span) / len(span)
        error = standard_error(math.fsum(aged.rate_variances[i] for i in span)) / len(span)
    return LeakRow(aged, kind, old, old_error, growth, error, since, kept)


def _kind(aged: AgedRow, kept: Optional[float]) -> Tuple[str, int]:
    """What a row is, and the window in which its growth began."""
    windows = aged.windows
    if not any(windows[:_END]):
        return YOUNG, _FIRST
    middle = windows[_FIRST:_END]
    total = math.fsum(middle)
    n = _worth(aged, total)
    if n < _ENOUGH:
        return (OLD if windows[0] > total else FEW), _FIRST
    shares = [value / total for value in middle]
    half, quarter = len(middle) // 2, len(middle) // 4
    if _lacks(shares[half:], n, 0.5) or _lacks(shares[-quarter:], n, 0.25):
        return STOPPED, _FIRST
    if not (_lacks(shares[:half], n, 0.5) or _lacks(shares[:quarter], n, 0.25)):
        return GROWS, _FIRST
    kind = LATE if kept is None or kept >= _KEEPS else TURNS_OVER
    return kind, _onset(windows)


def _worth(aged: AgedRow, total: float) -> float:
    """How many independent samples would leave the middle of the run as uncertain."""
    variance = math.fsum(aged.variances[_FIRST:_END])
    blocks = math.fsum(aged.blocks[_FIRST:_END])
    if total <= 0 or blocks <= 0:
        return 0.0
    return 1.0 / (variance / total**2 + 1.0 / blocks)


def _lacks(shares: Sequence[float], n: float, expected: float) -> bool:
    """Whether a part of the run has significantly, and much, less than its share."""
    share = math.fsum(shares)
    spread = math.sqrt(n * expected * (1.0 - expected))
    return share < _LITTLE * expected and n * (expected - share) > _UNEVEN * spread


def _onset(windows: Sequence[float]) -> int:
    """The first window from which on there is about as much as later."""
    for first in range(_FIRST, _END):
        later = windows[first:_END]
        if windows[first] >= sum(later) / len(later) / 4:
            return first
    return _END - 1
