# SPDX-License-Identifier: MIT
"""Putting the tables together, and checking every id once all are known.

After this no other module has to doubt an index: whatever a `Heap` holds can be followed without a
bounds check, and no walk up the call tree can loop.

Invariants:
- a table's rows are complete, or the file is refused; with salvage, a hole costs the rows that
  name something in it, and is told in `Heap.dropped`;
- the usual case costs a few passes at C speed (`max`, `map`), not a Python loop over rows.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from operator import lt
from typing import TYPE_CHECKING, Callable, List, Optional, Sequence, Tuple

from ._format import Container, SnapshotError
from ._heap import DOMAIN_NAMES, Functions, Heap, Modules, Nodes, Sites, Threads
from ._tables import CODES, Chunk, Tables

if TYPE_CHECKING:
    from ._heap import Ints

_ROW_BYTES = {"STRS": 4, "FUNC": 12, "NODE": 12, "SITE": 61, "THRD": 20, "MODS": 32}
_SALVAGED_ROWS = 1 << 20
#: More than any heap can sum up to, and far enough from infinity to be added up again.
_SUM_MAX = 1e200


def read_heap(
    path: str,
    salvage: bool = False,
    descriptor: int = -1,
    progress: Optional[Callable[[int], None]] = None,
) -> Heap:
    """Read one snapshot: file *path*, or what *descriptor* has open, from its beginning.

    What *descriptor* has is this process's own, just written to memory: its checksums are checked,
    but not each live sample's ids, which would make millions of numbers, each an allocation that is
    recorded where all are. *progress* is called now and then with how many bytes were read. Raises
    SnapshotError, or OSError where it cannot be opened.
    """
    container = Container(path, salvage, descriptor)
    tables = Tables()
    tables.read(container, progress)
    return _Resolver(container, tables, check_live=descriptor < 0).heap()


class _Table:
    """One table put together: columns, which rows are there, and where each came from."""

    def __init__(self, tag: str, base: int) -> None:
        self.tag = tag
        self.columns: List[array[int]] = [array(code, [0] * base) for code in CODES[tag]]
        self.strings: List[str] = []
        #: 1 for each row that may be named.
        self.present = bytearray(b"\1" * base)
        self.starts: List[Tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.present)

    def append(self, chunk: Chunk) -> None:
        hole = chunk.first - len(self)
        if hole > 0:
            for column in self.columns:
                column.extend(array(column.typecode, bytes(hole * column.itemsize)))
            self.strings.extend([""] * (hole if self.tag == "STRS" else 0))
            self.present.extend(bytes(hole))
        self.starts.append((chunk.first, chunk.offset))
        for column, part in zip(self.columns, chunk.columns):
            column.extend(part)
        self.strings.extend(chunk.strings)
        self.present.extend(b"\1" * chunk.rows)

    def add_blank(self) -> int:
        """A row that names nothing, for rows that lost what they named."""
        for column in self.columns:
            column.append(0)
        self.present.append(0)
        return len(self) - 1

    def offset(self, row: int) -> int:
        at = bisect_right(self.starts, (row, 1 << 64)) - 1
        return self.starts[at][1] if at >= 0 else 0


class _Resolver:
    def __init__(self, container: Container, tables: Tables, check_live: bool) -> None:
        self.container = container
        self.check_live = check_live
        self.tables = tables
        self.dropped: List[str] = []

    def heap(self) -> Heap:
        heap = self.tables.heap
        strings = self._join("STRS", 0)
        if not len(strings):
            strings.append(Chunk(0, 1, [], [""], 0))
        functions = self._join("FUNC", 0)
        nodes = self._join("NODE", 1)
        sites = self._join("SITE", 0)
        threads = self._join("THRD", 0)
        modules = self._join("MODS", 0)
        self._check(functions, 0, strings, "string")
        self._check(functions, 1, strings, "string")
        self._check(threads, 2, strings, "string")
        self._check(modules, 0, strings, "string")
        self._check(modules, 1, strings, "string")
        self._check_nodes(nodes, functions)
        self._check(sites, 0, nodes, "node")
        self._check_sites(sites)
        heap.strings = strings.strings
        heap.functions = Functions(*functions.columns)
        heap.nodes = Nodes(*nodes.columns)
        heap.sites = Sites(*sites.columns)  # type: ignore[arg-type]
        heap.threads = Threads(*threads.columns)
        heap.modules = Modules(*modules.columns)
        if self.check_live:
            self._check_live(heap, sites, threads, strings)
        for table in (functions, nodes, sites, threads, modules):
            self._blank(table)
        if not len(functions):
            # What is blank names row 0 of everything, so there is one.
            heap.functions = Functions(*(array("I", [0]) for _ in range(3)))
        self._tell(heap)
        return heap

    def _refuse(self, offset: int, tag: str, reason: str) -> None:
        reason = "section %r: %s" % (tag, reason)
        self.container.fault(SnapshotError(self.container.path, offset, reason))

    def _refuse_row(self, table: _Table, row: int, reason: str) -> None:
        """Refuse the file for a row, or, salvaging, leave the row out (`_blank` counts them)."""
        if not self.container.salvage:
            self._refuse(table.offset(row), table.tag, reason)
        table.present[row] = 0

    def _join(self, tag: str, base: int) -> _Table:
        table = _Table(tag, base)
        limit = max(self.container.size // _ROW_BYTES[tag], _SALVAGED_ROWS)
        for chunk in sorted(self.tables.chunks[tag], key=lambda chunk: chunk.first):
            have = len(table)
            last = chunk.first + chunk.rows - 1
            if chunk.first < have:
                self._refuse(
                    chunk.offset,
                    tag,
                    "rows %d to %d; expected row %d or later" % (chunk.first, last, have),
                )
                continue
            if chunk.first > have and not (have == 0 and chunk.first == 1):
                self._refuse(
                    chunk.offset, tag, "rows %d to %d are missing" % (have, chunk.first - 1)
                )
            if last >= limit and chunk.first > have:
                self.dropped.append("rows %d to %d of section %r" % (chunk.first, last, tag))
                continue
            table.append(chunk)
        return table

    def _bad(self, column: "Ints", target: bytearray) -> Optional[bytearray]:
        """None where each id is a row of the target; else a mask of the good ones."""
        rows = len(target)
        if not column:
            return None
        first = target.find(1)
        whole = target.find(0, first) < 0 and max(column) < rows
        if whole and (first == 0 or min(column) >= first):
            return None
        mask = bytearray(row < rows and target[row] for row in column)
        return mask if 0 in mask else None

    def _check(self, table: _Table, column: int, target: _Table, noun: str) -> None:
        mask = self._bad(table.columns[column], target.present)
        if mask is None:
            return
        # Rows that are not there themselves name nothing.
        for row, good in enumerate(mask):
            if not good and table.present[row]:
                self._refuse_row(
                    table,
                    row,
                    "row %d names %s %d; there is no such row (%d are known)"
                    % (row, noun, table.columns[column][row], len(target)),
                )

    def _check_nodes(self, nodes: _Table, functions: _Table) -> None:
        parent, func, _ = nodes.columns
        if len(nodes) == 1:
            return
        real = func[1:]
        in_order = all(map(lt, parent[1:], range(1, len(nodes))))
        if in_order and self._bad(real, functions.present) is None and 0 not in nodes.present:
            return
        known, present = len(functions), nodes.present
        for row in range(1, len(nodes)):
            if not present[row]:
                continue
            reason = ""
            if parent[row] >= row:
                reason = "node %d has parent %d; expected a smaller id" % (row, parent[row])
            elif func[row] >= known or not functions.present[func[row]]:
                reason = "node %d names function %d; there is no such row (%d are known)" % (
                    row,
                    func[row],
                    known,
                )
            elif not present[parent[row]]:
                reason = "node %d has parent %d, which is missing" % (row, parent[row])
            if reason:
                self._refuse_row(nodes, row, reason)

    def _check_sites(self, sites: _Table) -> None:
        domain = sites.columns[1]
        sums = sites.columns[3:]
        if not domain:
            return
        if max(domain) < len(DOMAIN_NAMES) and all(
            all(map(math.isfinite, column)) and min(column) >= 0 and max(column) <= _SUM_MAX
            for column in sums
        ):
            return
        for row in range(len(sites)):
            reason = ""
            if domain[row] >= len(DOMAIN_NAMES):
                reason = "site %d has domain %d; expected 0 to 4" % (row, domain[row])
            elif not all(0 <= c[row] <= _SUM_MAX for c in sums):
                reason = "site %d has a sum that is no number from 0 to %g" % (row, _SUM_MAX)
            if reason and sites.present[row]:
                self._refuse_row(sites, row, reason)

    def _check_live(self, heap: Heap, sites: _Table, threads: _Table, strings: _Table) -> None:
        live = heap.live
        keep: Optional[bytearray] = None
        checks: List[Tuple[Ints, bytearray, str]] = [
            (live.site, sites.present, "site"),
            (live.thread, threads.present, "thread"),
            (live.type, strings.present, "type"),
            (live.rate, bytearray(b"\1" * len(heap.rates)), "rate"),
            (live.generation, bytearray(b"\1" * len(heap.lineage.uid)), "generation"),
        ]
        for column, target, noun in checks:
            mask = self._bad(column, target)
            if mask is None:
                continue
            row = mask.index(0)
            if not self.container.salvage:
                self._refuse(
                    self._live_offset(row),
                    "LIVE",
                    "live sample %d names %s %d; there is no such row (%d are known)"
                    % (row, noun, column[row], len(target)),
                )
            if noun in ("site", "thread", "type"):
                # Its size and rate are there, so it counts.
                blank = 0 if noun == "type" else (sites if noun == "site" else threads).add_blank()
                for row, good in enumerate(mask):
                    if not good:
                        column[row] = blank
                self.dropped.append(
                    "the %ss of %d of %d live samples" % (noun, mask.count(0), len(mask))
                )
                continue
            keep = mask if keep is None else bytearray(map(min, keep, mask))
        if keep is not None:
            self.dropped.append(
                "%d of %d live samples: what they name did not survive" % (keep.count(0), len(keep))
            )
            heap.live = live.kept(keep)

    def _blank(self, table: _Table) -> None:
        """Rows that are not there hold nothing that could be followed."""
        lost = 0
        for row, there in enumerate(table.present):
            if not there:
                lost += row > 0
                for column in table.columns:
                    column[row] = 0
        if lost:
            self.dropped.append(
                "%d of %d rows of section %r: what they name did not survive"
                % (lost, len(table), table.tag)
            )

    def _live_offset(self, row: int) -> int:
        at = bisect_right(self.tables.live_offsets, (row, 1 << 64)) - 1
        return self.tables.live_offsets[at][1] if at >= 0 else 0

    def _tell(self, heap: Heap) -> None:
        container = self.container
        lines = ["%s (at offset %d)" % (f.reason, f.offset) for f in container.faults]
        if container.faults_left_out:
            lines.append("and %d more faults" % container.faults_left_out)
        heap.dropped = lines + ["left out: " + line for line in self.dropped]
