# SPDX-License-Identifier: MIT
"""What grew between two snapshots, or two sets of them, with the error of the difference.

Two snapshots of one process share most of their live samples: a sample that is in both has the same
weight in both, and so takes no part in the difference, nor in its error. What is left are blocks
that came and blocks that went, sampled independently, whose variances add up. Between snapshots of
different processes nothing is shared, and the errors are those of independent figures. Rates play
no part: each sample is weighed with the rate that it was drawn at.

What was ever allocated is a sum that only grows, so of one process the variance of the difference
is the difference of the variances. The peak of a process at two moments is the same peak, if it was
at the same time; else the two are taken for independent, which overstates the error.

Invariants:
- a sample is known by the process in which it was allocated, its address, time, size and rate;
- a row that did not change has a change and an error of exactly zero;
- the order is that of tracemalloc: the largest change first, whether up or down.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Dict, Hashable, Iterator, List, Optional, Sequence, Set, Tuple

from ._groups import StackIds, Total
from ._heap import Heap
from ._rows import Query, Result, Row, is_exact, run
from ._sums import Sums, sum_sites
from ._weights import standard_error

#: A change of less than so many standard errors is within the noise.
NOISE = 2.0
#: Sums of the same numbers in another order differ by less than this part of them.
_SAME = 1e-9
#: A line that had so many times more than it has is shown as it was.
_MOSTLY = 2.0


@dataclass
class Change:
    """Figures of a change, new less old, and the variances of that."""

    bytes: float = 0.0
    blocks: float = 0.0
    bytes_var: float = 0.0
    blocks_var: float = 0.0

    def figures(self, of_bytes: bool) -> Tuple[float, float]:
        """The change of bytes or blocks, and its standard error."""
        if of_bytes:
            return self.bytes, standard_error(self.bytes_var)
        return self.blocks, standard_error(self.blocks_var)

    def is_noise(self, of_bytes: bool) -> bool:
        value, error = self.figures(of_bytes)
        return abs(value) < NOISE * error or value == 0


@dataclass
class DiffRow:
    #: Where it is: the row of the new snapshot, or of the old one if it is gone.
    row: Row
    #: Bytes and blocks in each of the two.
    now: Tuple[float, float]
    before: Tuple[float, float]
    change: Change
    key: Hashable = None


@dataclass
class Difference:
    query: Query
    new: Result
    old: Result
    rows: List[DiffRow]
    change: Change
    exact: bool
    #: Whether a process is in both.
    related: bool
    notes: List[str] = field(default_factory=list)


def uids(heaps: Sequence[Heap]) -> Set[str]:
    """The processes of these snapshots, as far as they are known."""
    return {uid for uid in (heap.head.text("uid") for heap in heaps) if uid}


def apart(
    new: Sequence[Heap], old: Sequence[Heap], types: bool = False
) -> Tuple[List[Heap], List[Heap]]:
    """Both without the live samples that are in both.

    With *types*, a sample whose type is told differently is not the same.
    """
    shared = {u for heap in new for u in heap.lineage.uid} & {
        u for heap in old for u in heap.lineage.uid
    }
    shared.discard(0)
    if not shared:
        return list(new), list(old)
    known: Set[Hashable] = set()
    for heap in old:
        known.update(block for block in _blocks(heap, shared, types) if block is not None)
    # Afterwards `known` has the blocks that only the old snapshots have.
    only_new = [_without(heap, _new_mask(heap, shared, types, known)) for heap in new]
    only_old = [
        _without(heap, bytearray(b is None or b in known for b in _blocks(heap, shared, types)))
        for heap in old
    ]
    return only_new, only_old


def _blocks(heap: Heap, shared: Set[int], types: bool) -> Iterator[Optional[Hashable]]:
    """What each live sample is known by; None: it cannot be in the other set."""
    live, rates, strings = heap.live, heap.rates, heap.strings
    names = [uid << 256 if uid in shared else None for uid in heap.lineage.uid]
    rows = zip(live.generation, live.address, live.time, live.size, live.rate, live.type)
    for generation, address, time, size, rate, kind in rows:
        name = names[generation]
        if name is None or not address:
            yield None
            continue
        # One exact integer a block: half the memory of a tuple.
        block = name | rates[rate] << 192 | address << 128 | time << 64 | size
        yield (block, strings[kind]) if types else block


def _new_mask(heap: Heap, shared: Set[int], types: bool, known: Set[Hashable]) -> bytearray:
    keep = bytearray(b"\1") * len(heap.live)
    for row, block in enumerate(_blocks(heap, shared, types)):
        if block is not None and block in known:
            keep[row] = 0
            known.discard(block)
    return keep


def _without(heap: Heap, keep: bytearray) -> Heap:
    rest = copy.copy(heap)
    rest.live = heap.live.kept(keep)
    return rest


def difference(
    new: Sequence[Heap],
    old: Sequence[Heap],
    query: Query,
    new_sums: Optional[Sequence[Sums]] = None,
    old_sums: Optional[Sequence[Sums]] = None,
    stacks: Optional[StackIds] = None,
) -> Difference:
    """The change of each row from *old* to *new*, each a set as `merge` gives it."""
    stacks = StackIds() if stacks is None else stacks
    related = bool(uids(new) & uids(old))
    now = run(new, new_sums or _sums(new), query, stacks)
    then = run(old, old_sums or _sums(old), query, stacks)
    finder = _Changes(query, related)
    finder.add(now, then)
    if query.source == "inuse":
        only_new, only_old = apart(new, old, query.by == "type")
        came, went = _run(only_new, query, stacks), _run(only_old, query, stacks)
        finder.replace(came, went)
    else:
        finder.subtract(*_paired(new, old, query, stacks))
    return Difference(
        query,
        now,
        then,
        finder.rows(),
        finder.total,
        is_exact([*new, *old]),
        related,
    )


def _sums(heaps: Sequence[Heap]) -> List[Sums]:
    return [sum_sites(heap) for heap in heaps]


def _run(heaps: Sequence[Heap], query: Query, stacks: StackIds) -> Optional[Result]:
    return run(heaps, _sums(heaps), query, stacks) if heaps else None


def _paired(
    new: Sequence[Heap], old: Sequence[Heap], query: Query, stacks: StackIds
) -> Tuple[Optional[Result], Optional[Result]]:
    """The results of those processes whose sums in *old* are part of those in *new*."""
    by_uid = {heap.head.text("uid"): heap for heap in old if heap.head.text("uid")}
    pairs = []
    for heap in new:
        other = by_uid.get(heap.head.text("uid"))
        if other is None:
            continue
        peaks = [one.head.text("peak_clock_ms") for one in (heap, other)]
        if query.source == "alloc" or peaks[0] == peaks[1]:
            pairs.append((heap, other))
    mine, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return _run(mine, query, stacks), _run(others, query, stacks)


class _Changes:
    """Collects what is known of each row's change."""

    def __init__(self, query: Query, related: bool) -> None:
        self._query = query
        self._related = related
        self._rows: Dict[Hashable, DiffRow] = {}
        self.total = Change()

    def add(self, now: Result, then: Result) -> None:
        """Both as if they were independent."""
        for result, sign in ((now, 1), (then, -1)):
            for row in result.rows:
                key = self._key(row)
                known = self._rows.get(key)
                if known is None:
                    known = self._rows[key] = DiffRow(row, (0.0, 0.0), (0.0, 0.0), Change(), key)
                figures = (row.total.bytes, row.total.blocks)
                if sign > 0:
                    known.now = (known.now[0] + figures[0], known.now[1] + figures[1])
                else:
                    known.before = (known.before[0] + figures[0], known.before[1] + figures[1])
                    if figures[0] > _MOSTLY * known.now[0]:
                        known.row = row  # what is left does not say what went
                _add(known.change, row.total, sign, 1)
            _add(self.total, result.selected, sign, 1)

    def replace(self, came: Optional[Result], went: Optional[Result]) -> None:
        """The changes are those of the samples that are in one of the two only."""
        for known in self._rows.values():
            known.change = Change()
        self.total = Change()
        for result, sign in ((came, 1), (went, -1)):
            if result is None:
                continue
            for row in result.rows:
                _add(self._rows[self._key(row)].change, row.total, sign, 1)
            _add(self.total, result.selected, sign, 1)

    def subtract(self, new: Optional[Result], old: Optional[Result]) -> None:
        """Of processes in both, the old sum is part of the new one, and so is its variance."""
        if new is None or old is None:
            return
        parts: Dict[Hashable, List[Total]] = {}
        earlier: Dict[Hashable, List[Total]] = {}
        for result, where in ((new, parts), (old, earlier)):
            for row in result.rows:
                where.setdefault(self._key(row), []).append(row.total)
        for key in {**parts, **earlier}:
            _nested(self._rows[key].change, parts.get(key, []), earlier.get(key, []))
        _nested(self.total, [new.selected], [old.selected])
        for known in self._rows.values():
            _settle(known)

    def _key(self, row: Row) -> Hashable:
        """Threads and processes of different runs have nothing in common but names."""
        if self._related or self._query.by not in ("thread", "generation"):
            return row.key
        name: Hashable = row.labels["name" if self._query.by == "thread" else "inherited"]
        return name

    def rows(self) -> List[DiffRow]:
        at = 0 if self._query.ranks_bytes else 1
        query = self._query
        return sorted(
            self._rows.values(),
            key=lambda one: (
                -abs(one.change.figures(query.ranks_bytes)[0]),
                -one.now[at],
                repr(one.row.frames[:1]),
                repr(sorted(one.row.labels.items())),
            ),
        )


def _add(change: Change, total: Total, sign: int, var_sign: int) -> None:
    change.bytes += sign * total.bytes
    change.blocks += sign * total.blocks
    change.bytes_var += var_sign * total.bytes_var
    change.blocks_var += var_sign * total.blocks_var


def _nested(change: Change, new: Sequence[Total], old: Sequence[Total]) -> None:
    """Put |new - old| in the place of new + old among the variances."""
    for name in ("bytes_var", "blocks_var"):
        a = sum(getattr(total, name) for total in new)
        b = sum(getattr(total, name) for total in old)
        # What was independent beside them stays.
        rest = max(getattr(change, name) - a - b, 0.0)
        rest = 0.0 if rest <= _SAME * (a + b) else rest
        apart_var = 0.0 if abs(a - b) <= _SAME * (a + b) else abs(a - b)
        setattr(change, name, rest + apart_var)


def _settle(row: DiffRow) -> None:
    """A change that is but the rounding of sums is none."""
    if abs(row.change.bytes) <= _SAME * (row.now[0] + row.before[0]):
        row.change.bytes = 0.0
    if abs(row.change.blocks) <= _SAME * (row.now[1] + row.before[1]):
        row.change.blocks = 0.0
