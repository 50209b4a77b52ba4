# SPDX-License-Identifier: MIT
"""Weighted traces as repeated ones: what `tracemalloc.Snapshot` can carry.

A trace of weight w is repeated floor(w) or floor(w) + 1 times. Which of them is decided by going on
from trace to trace of one site: the running sum of weights, begun at a random fraction, is rounded
down, and each trace gets what the sum gained in whole numbers. Each gets w on average, and the
blocks of a whole site are right to one.

Where that would be more than TRACES_MAX traces, all weights are made smaller alike, but none less
than one trace; the bytes of a sample, its size by its weight, are shared by its traces. So sizes
stay right, of a single large block too, and counts do not.

Invariants:
- the same snapshot gives the same traces: the random fractions are seeded with what names it;
- weight 1 is one trace: where every allocation was recorded this is the list of all, in order;
- there are at most TRACES_MAX traces and one for each live sample.
"""

from __future__ import annotations

import random
import tracemalloc
from typing import Any, Dict, List, Sequence, Tuple

from ._frames import trace_tuple
from ._heap import Heap
from ._sums import sum_sites
from ._tracelist import Part
from ._weights import WeightCache

TRACES_MAX = 10_000_000


def replicate(
    heaps: Sequence[Heap], traceback_limit: int, traces_max: int = TRACES_MAX
) -> tracemalloc.Snapshot:
    """A plain snapshot with the live samples of *heaps*, repeated by weight."""
    blocks = sum(sum(sum_sites(heap).blocks) for heap in heaps)
    fewer = max(1.0, blocks / traces_max)
    traces: List[Tuple[Any, ...]] = []
    for heap in heaps:
        _add(traces, heap, fewer)
    snapshot = tracemalloc.Snapshot(traces, traceback_limit)
    #: A plain number, so that it can be loaded anywhere.
    snapshot.blocks_per_trace = fewer  # type: ignore[attr-defined]
    return snapshot


def _add(traces: List[Tuple[Any, ...]], heap: Heap, fewer: float) -> None:
    rng = random.Random("%s %s" % (heap.head.text("uid"), heap.head.text("number")))
    running = [rng.random() for _ in heap.sites.node]
    weights = [WeightCache(rate) for rate in heap.rates]
    part = Part(heap)
    shared: Dict[Tuple[Any, ...], Tuple[Any, ...]] = {}
    live = heap.live
    for row, (site, size, rate) in enumerate(zip(live.site, live.size, live.rate)):
        weight, octets, _, _ = weights[rate][size]
        times = 1
        if weight != 1.0:
            total = running[site] + weight / fewer
            times = int(total)
            running[site] = total - times
        raw = part.raw(row)
        if fewer != 1.0:
            times = max(times, 1)
            larger = int(octets / times + rng.random())
            raw = trace_tuple(raw[0], larger, raw[2], live.depth[row] or part.least_depth)
        # Equal traces are one tuple, which a pickle has once.
        traces += [shared.setdefault(raw, raw)] * times
