# SPDX-License-Identifier: MIT
"""Bins of age: round limits, so that "older than ten minutes" can be a sum of bins, exactly.

Ages go from milliseconds to months, so the limits grow by a factor of about two. The page's slider
stands on limits only; what it shows is then the sum of the reader's own figures, without a rest.

Invariants: limits ascend, the first is 0; an age is in the last bin whose limit it reaches.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import repeat
from typing import TYPE_CHECKING, List, Optional, Sequence

from ._heap import Heap

if TYPE_CHECKING:
    from ._heap import Ints

#: The bin of a block that is not there: in a snapshot that has it not.
ABSENT = 255
_BINS_MAX = 24

_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60000, 3600000, 86400000
_ROUND = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(n * _SECOND for n in (1, 2, 5, 10, 20, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 20, 30)),
    *(n * _HOUR for n in (1, 2, 4, 8, 12)),
    *(n * _DAY for n in (1, 2, 4, 7, 14, 30, 60, 120, 240, 480)),
)


def run_length(heaps: Sequence[Heap]) -> int:
    """Milliseconds from the first start to the last snapshot; 0 where no snapshot says."""
    return max((heap.head.integer("clock_ms") or 0 for heap in heaps), default=0)


def age_limits(length: int) -> List[int]:
    """The lower limits of the bins in milliseconds, for a run of *length*, youngest first."""
    fitting = [limit for limit in _ROUND if limit < length]
    return [0, *fitting[-(_BINS_MAX - 1) :]]


def age_bins(heap: Heap, limits: Sequence[int]) -> bytearray:
    """The bin of each live sample of *heap*; all in the first where its clock is not known.

    A sample taken while the tables were copied is younger than the snapshot, and counts as new.
    """
    clock: Optional[int] = heap.head.integer("clock_ms")
    times: Ints = heap.live.time
    if clock is None or len(limits) < 2:
        return bytearray(len(times))
    # Old enough for a limit is who was born at `clock - limit`, or before.
    births = [clock - limit for limit in reversed(limits[1:])]
    bins = bytes(range(len(births), -1, -1))
    later = map(bisect_left, repeat(births), times)
    return bytearray(map(bins.__getitem__, later))
