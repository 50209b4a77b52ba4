# SPDX-License-Identifier: MIT
"""The rows of a report: what `--by`, `--value`, `--include` and `--exclude` ask for.

Text and JSON are printed from the same rows, so they cannot differ.

Invariants: `everything` is the total before any filter, which shares are shares of; `selected` is
the total of what the filters left; rows are sorted by the value asked for, heaviest first, equal
ones by their key, so that the same file gives the same report.
"""

from __future__ import annotations

import copy
import fnmatch
import math
import os
from array import array
from dataclasses import dataclass, field
from typing import Any, Dict, Hashable, List, NamedTuple, Optional, Sequence, Tuple

from ._groups import StackIds, Total, group
from ._heap import Frame, Heap
from ._sums import Sums, sum_allocated, sum_live, sum_peak
from ._weights import standard_error

BY = (
    "lineno",
    "filename",
    "function",
    "traceback",
    "type",
    "thread",
    "domain",
    "generation",
    "process",
)
VALUES = ("inuse_bytes", "inuse_blocks", "alloc_bytes", "alloc_blocks", "peak_bytes")
CUMULATIVE = ("lineno", "filename", "function")

_GROUP_KIND = {
    "lineno": "place",
    "filename": "filename",
    "function": "function",
    "traceback": "traceback",
}


class UsageError(Exception):
    """A combination of options that has no meaning; the text says why."""


@dataclass
class Query:
    by: str = "lineno"
    value: str = "inuse_bytes"
    cumulative: bool = False
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    @property
    def source(self) -> str:
        return self.value.split("_")[0]

    @property
    def ranks_bytes(self) -> bool:
        return self.value.endswith("bytes")

    def check(self) -> None:
        if self.by in ("type", "thread", "generation") and self.source != "inuse":
            raise UsageError(
                "--by %s goes with --value inuse_bytes or inuse_blocks only: what was allocated "
                "in all, or at the peak, is recorded by stack" % self.by
            )
        if self.cumulative and self.by not in CUMULATIVE:
            raise UsageError("--cumulative goes with --by lineno, filename or function only")

    def check_heaps(self, heaps: Sequence[Heap]) -> None:
        for heap in heaps:
            if self.by == "type" and len(heap.live) and not heap.has_types:
                raise UsageError("--by type: %s records no types" % os.path.basename(heap.path))


class LineTypes(NamedTuple):
    """Of all that is alive at a line (bytes and blocks), what is of which type, heaviest first."""

    totals: List[Tuple[str, Total]]
    bytes: float
    blocks: float


@dataclass
class Row:
    """One group: its figures, and where it is."""

    total: Total
    #: The nearest frame first; more than one for tracebacks, none for threads and the like.
    frames: List[Frame] = field(default_factory=list)
    #: What else names the group: thread, domain, generation.
    labels: Dict[str, Any] = field(default_factory=dict)
    #: Equal for the same group in another result of the same query and the same StackIds.
    key: Hashable = None
    #: What stands beside a line, where it was asked for (`_linetypes.py`).
    types: Optional[LineTypes] = None

    @property
    def heap(self) -> Heap:
        return self.total.heap

    @property
    def native(self) -> Optional[int]:
        """The native frame that made the heaviest blocks, where the row is a Python frame's."""
        total = self.total
        return total.nearest if total.nearest != total.node else None


@dataclass
class Result:
    query: Query
    everything: Total
    selected: Total
    rows: List[Row]
    #: Every allocation was recorded, at all times.
    exact: bool
    processes: int


def figures(total: Total, ranks_bytes: bool) -> Tuple[float, float]:
    """The value asked for and its standard error."""
    if ranks_bytes:
        return total.bytes, standard_error(total.bytes_var)
    return total.blocks, standard_error(total.blocks_var)


def run(
    heaps: Sequence[Heap],
    live_sums: Sequence[Sums],
    query: Query,
    stacks: Optional[StackIds] = None,
) -> Result:
    """The rows of *heaps*; *live_sums* are their live samples by site, which the head needs too.

    Results that are to be compared row by row, by `Row.key`, share *stacks*.
    """
    everything = Total(heaps[0], 0)
    selected = Total(heaps[0], 0)
    parts: List[Tuple[Heap, Sums]] = []
    for heap, sums in zip(heaps, live_sums):
        if query.source == "alloc":
            sums = sum_allocated(heap)
        elif query.source == "peak":
            sums = sum_peak(heap)
        add_all(everything, heap, sums)
        heap, sums = filtered(heap, sums, query)
        add_all(selected, heap, sums)
        parts.append((heap, sums))
    if query.by in _GROUP_KIND:
        rows = _frame_rows(parts, query, stacks)
    elif query.by == "domain":
        rows = _domain_rows(parts)
    elif query.by == "thread":
        rows = _thread_rows(parts)
    elif query.by == "type":
        rows = _type_rows(parts)
    elif query.by == "process":
        rows = _process_rows(parts)
    else:
        rows = _generation_rows(parts)
    rows.sort(key=lambda row: (-figures(row.total, query.ranks_bytes)[0], _order(row)))
    return Result(query, everything, selected, rows, is_exact(heaps), len(heaps))


def is_exact(heaps: Sequence[Heap]) -> bool:
    """Every allocation was recorded, at all times."""
    return all(rate <= 1 for heap in heaps for rate in (heap.head.rate, *heap.rates))


def _order(row: Row) -> Tuple[str, str]:
    return repr(row.frames[:1]), repr(sorted(row.labels.items()))


def add_all(total: Total, heap: Heap, sums: Sums) -> None:
    total.samples += int(sum(sums.samples))
    # fsum, for sum() of floats depends on the version of Python in its last digits.
    total.blocks += math.fsum(sums.blocks)
    total.bytes += math.fsum(sums.bytes)
    total.blocks_var += math.fsum(sums.blocks_var)
    total.bytes_var += math.fsum(sums.bytes_var)


def _normal(name: str) -> str:
    name = os.path.normcase(name)
    return name[:-1] if name.endswith(".pyc") else name


def wanted_sites(heap: Heap, query: Query) -> Optional[bytearray]:
    """Which sites' nearest frame's file is wanted; None: all are."""
    if not query.include and not query.exclude:
        return None
    include = [_normal(pattern) for pattern in query.include]
    exclude = [_normal(pattern) for pattern in query.exclude]
    verdicts: Dict[str, bool] = {}

    def wanted(name: str) -> bool:
        verdict = verdicts.get(name)
        if verdict is None:
            plain = _normal(name)
            verdict = not include or any(fnmatch.fnmatch(plain, p) for p in include)
            verdict = verdict and not any(fnmatch.fnmatch(plain, p) for p in exclude)
            verdicts[name] = verdict
        return verdict

    keys = heap.key_nodes()
    nodes = heap.sites.node if keys is None else [keys[node] for node in heap.sites.node]
    return bytearray(wanted(heap.frame(node)[0]) for node in nodes)


def filtered(heap: Heap, sums: Sums, query: Query) -> Tuple[Heap, Sums]:
    """The heap and its sums without the sites whose nearest frame's file is not wanted."""
    mask = wanted_sites(heap, query)
    if mask is None:
        return heap, sums
    less = Sums(0)
    for name in Sums.__slots__:
        values = [value if keep else 0 for value, keep in zip(getattr(sums, name), mask)]
        setattr(less, name, values)
    rest = copy.copy(heap)
    if query.by in ("type", "thread", "generation"):
        rest.live = heap.live.kept([mask[site] for site in heap.live.site])
    return rest, less


def _frame_rows(
    parts: Sequence[Tuple[Heap, Sums]], query: Query, stacks: Optional[StackIds]
) -> List[Row]:
    totals = group(parts, _GROUP_KIND[query.by], query.cumulative, stacks)
    return [Row(one, [one.heap.frame(one.node)], {}, key) for key, one in totals.items()]


def full_stack(row: Row) -> List[Frame]:
    """All frames of a traceback row, nearest first: only made for rows that are shown."""
    heap = row.heap
    return [heap.frame(node) for node in heap.stack(row.total.node)]


def _domain_rows(parts: Sequence[Tuple[Heap, Sums]]) -> List[Row]:
    rows: Dict[Hashable, Row] = {}
    for heap, sums in parts:
        for site, domain in enumerate(heap.sites.domain):
            if sums.blocks[site] or sums.bytes[site]:
                name = heap.domain_names[domain]
                row = rows.setdefault(name, Row(Total(heap, 0), [], {"domain": name}, name))
                row.total.add(heap, sums, site, heap.sites.node[site])
    return list(rows.values())


def _thread_rows(parts: Sequence[Tuple[Heap, Sums]]) -> List[Row]:
    rows: List[Row] = []
    for heap, _ in parts:
        threads = heap.threads
        sums = sum_live(heap, heap.live.thread, len(threads.tid))
        for thread in range(len(sums)):
            if sums.samples[thread]:
                total = Total(heap, 0)
                total.add(heap, sums, thread, 0)
                labels = {
                    "pid": heap.head.integer("pid"),
                    "tid": threads.tid[thread],
                    "ident": threads.ident[thread],
                    "name": heap.thread_name(thread),
                }
                rows.append(Row(total, [], labels, tuple(labels.values())))
    return rows


def _type_rows(parts: Sequence[Tuple[Heap, Sums]]) -> List[Row]:
    """By the name of the type; what is no object, or of no known type, by its domain."""
    rows: Dict[Hashable, Row] = {}
    for heap, _ in parts:
        strings, domains = heap.strings, heap.sites.domain
        known = len(strings)
        live = heap.live
        pairs = zip(live.type, live.site)
        keys = array("I", (kind or known + domains[site] for kind, site in pairs))
        sums = sum_live(heap, keys, known + len(heap.domain_names))
        for kind in range(len(sums)):
            if sums.samples[kind]:
                labels = {
                    "type": strings[kind] if kind < known else None,
                    "domain": "obj" if kind < known else heap.domain_names[kind - known],
                }
                key = tuple(labels.values())
                row = rows.setdefault(key, Row(Total(heap, 0), [], labels, key))
                row.total.add(heap, sums, kind, 0)
    return list(rows.values())


def _generation_rows(parts: Sequence[Tuple[Heap, Sums]]) -> List[Row]:
    rows: Dict[Hashable, Row] = {}
    for heap, _ in parts:
        lineage = heap.lineage
        sums = sum_live(heap, heap.live.generation, len(lineage.uid))
        last = len(lineage.uid) - 1
        for generation in range(len(sums)):
            if sums.samples[generation]:
                labels = {
                    "pid": heap.head.integer("pid"),
                    "allocated_in_pid": lineage.pid[generation],
                    "inherited": generation != last,
                }
                row = Row(Total(heap, 0), [], labels, tuple(labels.values()))
                row = rows.setdefault((heap.path, generation), row)
                row.total.add(heap, sums, generation, 0)
    return list(rows.values())


def _process_rows(parts: Sequence[Tuple[Heap, Sums]]) -> List[Row]:
    """Processes side by side; what a child inherited is with the oldest process that has it."""
    rows: List[Row] = []
    for heap, sums in parts:
        total = Total(heap, 0)
        add_all(total, heap, sums)
        labels = {"pid": heap.head.integer("pid"), "process_file": os.path.basename(heap.path)}
        if total.blocks or total.bytes:
            rows.append(Row(total, [], labels, heap.head.text("uid") or heap.path))
    return rows
