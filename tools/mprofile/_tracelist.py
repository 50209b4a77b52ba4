# SPDX-License-Identifier: MIT
"""Live samples as tracemalloc's traces, made one by one when somebody looks at them.

Invariants: order is that of the files, oldest process first; a stack's tuple of frames is made once
and shared by all its traces.
"""

from __future__ import annotations

import tracemalloc
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ._frames import Detail, Trace, trace_tuple
from ._heap import Heap
from ._weights import block_weight

_Base: Any = tracemalloc._Traces  # type: ignore[attr-defined]

Frames = Tuple[Tuple[str, int], ...]


class _Stacks:
    """Frames by site of one heap, in tracemalloc's form."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._cache: Dict[int, Tuple[Frames, Tuple[Detail, ...]]] = {}

    def __getitem__(self, node: int) -> Tuple[Frames, Tuple[Detail, ...]]:
        known = self._cache.get(node)
        if known is None:
            full = [self._heap.frame(n) for n in self._heap.stack(node)]
            frames = tuple((file, line) for file, line, _, _ in full)
            details = tuple((name or None, first or None) for _, _, name, first in full)
            known = self._cache[node] = (frames, details)
        return known


class Part:
    """One heap's live samples by row."""

    def __init__(self, heap: Heap) -> None:
        self.heap = heap
        self.stacks = _Stacks(heap)
        self.clock = heap.head.integer("clock_ms")
        # A stack that is not known has one frame, which says so. Raw traces say it themselves.
        self.least_depth = 1 if heap.head.values else None

    def __len__(self) -> int:
        return len(self.heap.live)

    def raw(self, row: int) -> Tuple[Any, ...]:
        heap = self.heap
        live = heap.live
        site = live.site[row]
        frames, _ = self.stacks[heap.sites.node[site]]
        domain = heap.domain_numbers[heap.sites.domain[site]]
        return trace_tuple(domain, live.size[row], frames, live.depth[row] or self.least_depth)

    def trace(self, row: int) -> Trace:
        heap = self.heap
        live = heap.live
        site = live.site[row]
        _, details = self.stacks[heap.sites.node[site]]
        trace = Trace(self.raw(row), details, live.depth[row] or self.least_depth)
        trace.weight = block_weight(live.size[row], heap.rates[live.rate[row]])
        trace.domain_name = heap.domain_names[heap.sites.domain[site]]
        trace.type_name = heap.strings[live.type[row]] or None
        if self.clock is not None:
            trace.age = max(self.clock - live.time[row], 0) / 1000
        if heap.threads.tid:
            trace.thread_id = heap.threads.tid[live.thread[row]] or None
            trace.thread_name = heap.thread_name(live.thread[row]) or None
        return trace


class TraceList(_Base):  # type: ignore[misc]
    """A sequence of Trace over the live samples of one or more heaps."""

    def __init__(self, heaps: Sequence[Heap]) -> None:
        self._lists = [Part(heap) for heap in heaps]
        self._raw: Optional[List[Tuple[Any, ...]]] = None

    @property
    def _traces(self) -> List[Tuple[Any, ...]]:
        """All raw traces: what tracemalloc's own methods compare and search."""
        if self._raw is None:
            self._raw = [part.raw(row) for part in self._lists for row in range(len(part))]
        return self._raw

    def __len__(self) -> int:
        return sum(map(len, self._lists))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self._at(i) for i in range(*index.indices(len(self))))
        length = len(self)
        at = index + length if index < 0 else index
        if not 0 <= at < length:
            raise IndexError("no trace %d: there are %d" % (index, length))
        return self._at(at)

    def __iter__(self) -> Iterator[Trace]:
        for part in self._lists:
            for row in range(len(part)):
                yield part.trace(row)

    def _at(self, index: int) -> Trace:
        for part in self._lists:
            if index < len(part):
                return part.trace(index)
            index -= len(part)
        raise IndexError(index)


#: Filters that look at nothing but the domain and the stack: one look a site is enough.
_BY_SITE = (
    tracemalloc.Filter._match,  # type: ignore[attr-defined]
    tracemalloc.DomainFilter._match,  # type: ignore[attr-defined]
)


def keep_mask(heap: Heap, filters: Sequence[Any]) -> Sequence[int]:
    """For each live sample, whether it matches any inclusive and no exclusive filter."""
    inclusive = [f for f in filters if f.inclusive]
    exclusive = [f for f in filters if not f.inclusive]

    def keeps(raw: Tuple[Any, ...]) -> bool:
        if inclusive and not any(f._match(raw) for f in inclusive):
            return False
        # An exclusive filter's match says "keep", as in tracemalloc.
        return all(f._match(raw) for f in exclusive)

    if not all(getattr(type(f), "_match", None) in _BY_SITE for f in filters):
        part = Part(heap)
        return bytearray(keeps(part.raw(row)) for row in range(len(part)))
    stacks = _Stacks(heap)
    keys = heap.key_nodes()

    def frames(node: int) -> Frames:
        found = stacks[node][0]
        # A filter of the nearest frame looks at the first: the one that statistics are by.
        return found if keys is None else (heap.frame(keys[node])[:2], *found)

    by_site = bytearray(
        keeps(trace_tuple(heap.domain_numbers[domain], 0, frames(node), None))
        for node, domain in zip(heap.sites.node, heap.sites.domain)
    )
    return [by_site[site] for site in heap.live.site]
