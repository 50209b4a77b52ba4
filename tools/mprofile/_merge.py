# SPDX-License-Identifier: MIT
"""Several snapshots of one program as one: its workers side by side, what they share counted once.

A forked child keeps what it inherited, so the same block stands in the parent's snapshot and in
each child's. It is counted in the oldest process that has it. Two live samples are the same block
if the process in which it was allocated, its address, its time and its size are equal.

Of several snapshots of one process only the newest counts, for they are different moments of the
same memory.

Invariants: files are never joined row by row, only rows left out, so a merge needs the memory of
its files and of the set of blocks that may stand in more than one of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Sequence, Set, Tuple

from ._heap import Heap


def merge(heaps: Sequence[Heap]) -> Tuple[List[Heap], List[str]]:
    """The heaps to add up, oldest process first, and what there is to say about the rest."""
    newest, notes = _newest(heaps)
    ordered = sorted(newest, key=_age_key)
    generations = Counter(uid for heap in ordered for uid in set(heap.lineage.uid))
    shared: Dict[int, Set[int]] = {uid: set() for uid, n in generations.items() if n > 1}
    if shared:
        for heap in ordered:
            _leave_out_known(heap, shared)
    return ordered, notes


def _newest(heaps: Sequence[Heap]) -> Tuple[List[Heap], List[str]]:
    kept: Dict[object, Heap] = {}
    notes: List[str] = []
    for index, heap in enumerate(heaps):
        uid = heap.head.text("uid")
        key: object = index if uid is None else uid
        other = kept.get(key)
        if other is None:
            kept[key] = heap
            continue
        old, new = (other, heap) if moment(other) <= moment(heap) else (heap, other)
        kept[key] = new
        same = moment(old) == moment(new)
        text = (
            "it is the same snapshot as %s"
            if same
            else "%s is a later snapshot of the same process"
        )
        notes.append(("%s is left out: " + text) % (old.path, new.path))
    return list(kept.values()), notes


def moment(heap: Heap) -> Tuple[float, int]:
    """When a snapshot was taken, to put those of one process in order."""
    return heap.head.number("time") or 0.0, heap.head.integer("number") or 0


def _age_key(heap: Heap) -> Tuple[float, int, str]:
    """When the process began; an ancestor began before its descendants."""
    begun = heap.lineage.clock_ms[-1] / 1000 if heap.lineage.clock_ms else 0.0
    return (heap.head.number("start") or 0.0) + begun, len(heap.lineage.uid), heap.path


def _leave_out_known(heap: Heap, shared: Dict[int, Set[int]]) -> None:
    """Drop the rows that an older process has; remember the others."""
    live = heap.live
    sets = [shared.get(uid) for uid in heap.lineage.uid]
    keep = bytearray(b"\1") * len(live)
    rows = zip(live.generation, live.address, live.time, live.size)
    for row, (generation, address, time, size) in enumerate(rows):
        known = sets[generation]
        if known is None:
            continue
        # One exact integer a block: half the memory of a tuple.
        block = address << 128 | time << 64 | size
        if block in known:
            keep[row] = 0
        else:
            known.add(block)
    heap.counted_elsewhere = keep.count(0)
    if heap.counted_elsewhere:
        heap.live = live.kept(keep)
