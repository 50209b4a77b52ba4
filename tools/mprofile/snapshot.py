# SPDX-License-Identifier: MIT
"""Snapshot: tracemalloc's, with sizes and counts that are estimates.

A script that was written for `tracemalloc.Snapshot` works with this one. Where every allocation
was recorded its numbers are tracemalloc's to the byte; where they were sampled, each sample counts
for the blocks it stands for, and each figure has its standard error beside it.

Invariants:
- traces are never expanded unless somebody asks for `traces`;
- a snapshot is not changed once made; filtering makes a new one over the same tables.
"""

from __future__ import annotations

import copy
import os
import pickle
import tracemalloc
from collections.abc import Iterable as IterableABC
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ._diff import apart
from ._format import SnapshotError
from ._cutmarks import without_cut_mark
from ._frames import Detail, Statistic, StatisticDiff, Traceback
from ._groups import Total, group
from ._head import Head
from ._heap import Heap
from ._ids import read_heap
from ._merge import merge
from ._rawtraces import heap_from_traces
from ._replicate import replicate
from ._sums import Sums, sum_sites
from ._tracelist import TraceList, keep_mask
from ._weights import standard_error

_PICKLE_VERSION = 1
_PICKLE_BEGINS = b"\x80"
_KEY_TYPES = ("traceback", "filename", "lineno")


class Snapshot(tracemalloc.Snapshot):
    """What was alive, by where it was allocated.

    `Snapshot.load(path)` reads a snapshot file, or a pickle that `dump` made. As in tracemalloc, it
    can also be made from raw traces.
    """

    def __init__(
        self,
        traces: Iterable[Sequence[Any]],
        traceback_limit: int,
        sample_rate: int = 0,
    ) -> None:
        self._set_parts([heap_from_traces(traces, sample_rate)])
        self.traceback_limit = traceback_limit
        #: Mean bytes between samples; 0 or 1: every allocation was recorded.
        self.sample_rate = sample_rate

    def _set_parts(self, parts: Sequence[Heap]) -> None:
        self._parts = list(parts)
        self._sums: Optional[List[Sums]] = None
        self._traces: Optional[TraceList] = None

    @classmethod
    def _from_heaps(cls, heaps: Sequence[Heap]) -> Snapshot:
        snapshot = cls.__new__(cls)
        snapshot._set_parts([without_cut_mark(heap) for heap in heaps])
        head = heaps[0].head
        snapshot.sample_rate = head.rate
        snapshot.traceback_limit = head.integer("frames") or 1
        return snapshot

    # Files

    @staticmethod
    def load(filename: Any, *more: Any, salvage: bool = False) -> Snapshot:
        """Read a snapshot file, or a pickle that `dump` made.

        More files are merged into one snapshot, as `mprofile-read` does. With *salvage*, what is
        whole of a damaged file is read. Raises SnapshotError (a ValueError) for a file that cannot
        be read. Unpickling can run code: load only pickles that you trust.
        """
        paths = [os.fsdecode(name) for name in (filename, *more)]
        with open(filename, "rb") as file:
            if file.read(1) == _PICKLE_BEGINS and not more:
                file.seek(0)
                return _from_pickle(paths[0], pickle.load(file))
        parts, _ = merge([read_heap(path, salvage) for path in paths])
        return Snapshot._from_heaps(parts)

    @classmethod
    def _from_descriptor(cls, descriptor: int) -> Snapshot:
        return cls._from_heaps([read_heap("<memory>", descriptor=descriptor)])

    def dump(self, filename: Any) -> None:
        """Write a pickle that keeps the weights; loading it needs mprofile."""
        with open(filename, "wb") as file:
            pickle.dump(self, file, pickle.HIGHEST_PROTOCOL)

    def __getstate__(self) -> Dict[str, Any]:
        state = dict(self.__dict__, _sums=None, _traces=None)
        state["pickle_version"] = _PICKLE_VERSION
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        version = state.pop("pickle_version", None)
        if version != _PICKLE_VERSION:
            raise ValueError("a pickle of another version of mprofile (%r)" % (version,))
        self.__dict__.update(state)

    # What was measured

    @property
    def head(self) -> Head:
        """The facts of the (oldest) process: `head.text(key)`, `head.values`."""
        return self._parts[0].head

    @property
    def heads(self) -> List[Head]:
        """The facts of each process of a merged snapshot, oldest first."""
        return [part.head for part in self._parts]

    @property
    def pid(self) -> Optional[int]:
        return self.head.integer("pid")

    @property
    def time(self) -> Optional[float]:
        """When it was taken: seconds since 1970."""
        return self.head.number("time")

    @property
    def start(self) -> Optional[float]:
        """When profiling began: seconds since 1970."""
        return self.head.number("start")

    @property
    def python(self) -> Optional[str]:
        return self.head.text("python")

    @property
    def exe(self) -> Optional[str]:
        return self.head.text("exe")

    @property
    def cmdline(self) -> Optional[List[str]]:
        return self.head.cmdline

    @property
    def cwd(self) -> Optional[str]:
        return self.head.text("cwd")

    @property
    def host(self) -> Optional[str]:
        return self.head.text("host")

    @property
    def trigger(self) -> Optional[str]:
        return self.head.text("trigger")

    @property
    def peak_bytes(self) -> Optional[float]:
        """The highest estimate of the live bytes so far."""
        return self.head.number("peak_bytes")

    @property
    def lost(self) -> Mapping[str, str]:
        """Counters of what was lost, if anything."""
        return self.head.family("lost.")

    # Statistics

    def _sums_of_parts(self) -> List[Tuple[Heap, Sums]]:
        if self._sums is None:
            self._sums = [sum_sites(part) for part in self._parts]
        return list(zip(self._parts, self._sums))

    def _group_by(self, key_type: str, cumulative: bool) -> Dict[Traceback, Statistic]:
        if key_type not in _KEY_TYPES:
            raise ValueError("unknown key_type: %r" % (key_type,))
        if cumulative and key_type == "traceback":
            raise ValueError("cumulative mode cannot by used with key type %r" % key_type)
        totals = group(self._sums_of_parts(), key_type, cumulative)
        return dict(_statistic(key_type, total) for total in totals.values())

    def compare_to(  # type: ignore[override]
        self, old_snapshot: tracemalloc.Snapshot, key_type: str, cumulative: bool = False
    ) -> List[StatisticDiff]:
        """Differences with an older snapshot, the largest change first.

        The errors are those of the change: a sample that is in both snapshots takes no part.
        """
        new: Dict[Any, Any] = self._group_by(key_type, cumulative)
        old: Dict[Any, Any] = old_snapshot._group_by(  # type: ignore[attr-defined]
            key_type, cumulative
        )
        came, went = new, old
        if isinstance(old_snapshot, Snapshot):
            only_new, only_old = apart(self._parts, old_snapshot._parts)
            came = self._of(only_new)._group_by(key_type, cumulative)
            went = old_snapshot._of(only_old)._group_by(key_type, cumulative)
        differences = [
            _difference(where, new.get(where), old.get(where), came.get(where), went.get(where))
            for where in {**new, **old}
        ]
        differences.sort(reverse=True, key=_diff_key)
        return differences

    def to_tracemalloc(self) -> tracemalloc.Snapshot:
        """A plain tracemalloc.Snapshot, which needs no mprofile where it is loaded.

        It has no place for weights, so each trace is in it as often as the blocks it stands for,
        rounded up or down at random, without bias, and alike each time for the same snapshot. Its
        own statistics are then right within the errors of this one; where every allocation was
        recorded it is this one.

        Where that would be more than 10,000,000 traces, there are so many times fewer, but at least
        one for each sample, and they are as much larger: sizes stay right, counts are too small.
        Its attribute `blocks_per_trace` is how many times; 1.0 where counts are right too.
        """
        return replicate(self._parts, self.traceback_limit)

    # Traces

    @property
    def traces(self) -> TraceList:  # type: ignore[override]
        """The live samples as a sequence of Trace, made when looked at."""
        if self._traces is None:
            self._traces = TraceList(self._parts)
        return self._traces

    def filter_traces(self, filters: Iterable[Any]) -> Snapshot:
        """A new snapshot of the traces that match the filters, as in tracemalloc."""
        if not isinstance(filters, IterableABC):
            raise TypeError("filters must be a list of filters, not %s" % type(filters).__name__)
        chosen = list(filters)
        parts = []
        for part in self._parts:
            filtered = copy.copy(part)
            if chosen:
                filtered.live = part.live.kept(keep_mask(part, chosen))
            parts.append(filtered)
        return self._of(parts)

    def _of(self, parts: Sequence[Heap]) -> Snapshot:
        """This one with other live samples."""
        result = copy.copy(self)
        result._set_parts(parts)
        return result


def _from_pickle(path: str, loaded: Any) -> Snapshot:
    if isinstance(loaded, Snapshot):
        return loaded
    if isinstance(loaded, tracemalloc.Snapshot):
        traces: Any = loaded.traces
        return Snapshot(traces._traces, loaded.traceback_limit)
    raise SnapshotError(path, 0, "a pickle, but of %s and no snapshot" % type(loaded).__name__)


def _statistic(key_type: str, total: Total) -> Tuple[Traceback, Statistic]:
    heap, node = total.heap, total.node
    nodes = heap.stack(node) if key_type == "traceback" else [node]
    frames = [heap.frame(node) for node in nodes]
    if key_type == "filename":
        where = Traceback([(frames[0][0], 0)])
    else:
        details: List[Detail] = [(name or None, first or None) for _, _, name, first in frames]
        where = Traceback([frame[:2] for frame in frames], None, details)
    return where, Statistic(
        where,
        int(round(total.bytes)),
        int(round(total.blocks)),
        standard_error(total.bytes_var),
        standard_error(total.blocks_var),
    )


def _error_of(difference: str, *statistics: Optional[tracemalloc.Statistic]) -> float:
    return standard_error(sum(getattr(s, difference, 0.0) ** 2 for s in statistics))


def _difference(
    where: Traceback,
    now: Optional[Any],
    then: Optional[Any],
    came: Optional[Any],
    went: Optional[Any],
) -> StatisticDiff:
    size, count = (now.size, now.count) if now else (0, 0)
    old_size, old_count = (then.size, then.count) if then else (0, 0)
    return StatisticDiff(
        where,
        size,
        size - old_size,
        count,
        count - old_count,
        _error_of("size_error", came, went),
        _error_of("count_error", came, went),
    )


def _diff_key(diff: StatisticDiff) -> Tuple[Any, ...]:
    return (abs(diff.size_diff), diff.size, abs(diff.count_diff), diff.count, diff.traceback)
