# SPDX-License-Identifier: MIT
"""`--side-by-side`: the rows of several processes, a column for each.

Workers of one program should look alike; the one that does not is the question. A row's columns are
its figures in each process alone, so they add up to the row. What a child inherited is in the
column of the oldest process that has it, as everywhere.

Invariants: rows, order and sums are those of the report without the option; as many processes as
fit have a column, the heaviest first, and all others together one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Hashable, Iterator, List, Sequence, Tuple

from ._columns import Column, size_of
from ._groups import StackIds, Total
from ._heap import Heap
from ._report import EXACT, SURE, WHAT, TableReport
from ._rows import Query, Result, Row, UsageError, figures, run
from ._sums import Sums
from ._text import printable
from ._units import bytes_and_error, count_and_error
from ._weights import standard_error
from ._where import BY_WORDS

_KEYS = ("lineno", "filename", "function", "traceback", "type", "domain")
_PLACE_MIN = 24
_NONE = "-"


@dataclass
class SideBySide:
    result: Result
    #: In the order of the processes, what each has of a row, by the row's key.
    each: List[Dict[Hashable, Total]]
    #: Which processes are the heaviest, first to last.
    order: List[int]
    heaps: Sequence[Heap]


def check(query: Query) -> None:
    if query.by not in _KEYS:
        raise UsageError("--side-by-side goes with --by %s only" % ", ".join(_KEYS))


def side_by_side(parts: Sequence[Tuple[Heap, Sums]], query: Query) -> SideBySide:
    """The rows of all processes together, and those of each."""
    stacks = StackIds()
    heaps = [heap for heap, _ in parts]
    result = run(heaps, [sums for _, sums in parts], query, stacks)
    alone = [run([heap], [sums], query, stacks) for heap, sums in parts]
    weights = [figures(one.selected, query.ranks_bytes)[0] for one in alone]
    order = sorted(range(len(heaps)), key=lambda at: -weights[at])
    return SideBySide(
        result, [{row.key: row.total for row in one.rows} for one in alone], order, heaps
    )


class SideReport(TableReport):
    """The table with other columns."""

    def side_lines(self, sides: SideBySide, limit: int) -> Iterator[str]:
        self._sides = sides
        yield from self.lines(sides.result, limit)

    def _what(self, result: Result) -> Iterator[str]:
        query, count = result.query, len(self._sides.heaps)
        of = BY_WORDS[query.by]
        keyed = "cumulative: a block counts in each %s of its stack" % of[1]
        text = "%s, %s, in %s; what was inherited is with the oldest that has it." % (
            WHAT[query.value],
            keyed if query.cumulative else of[0],
            "each of %d processes, the heaviest first" % count if count > 1 else "one process",
        )
        yield from self._wrapped(text)

    def _how_sure(self, result: Result) -> Iterator[str]:
        sure = SURE.replace("one standard error", "one standard error of what all have together")
        yield from self._wrapped(EXACT if result.exact else sure % self.glyphs.plus_minus)

    def _columns(self, result: Result, rows: List[Row]) -> List[Column]:
        of_bytes, pm = result.query.ranks_bytes, self.glyphs.plus_minus
        texts = [self._figures(of_bytes, row.total) for row in rows]
        columns = [
            Column("all", [value for value, _ in texts], "figure"),
            Column(pm, [pm + error for _, error in texts], "error", 1),
        ]
        sides = [self._side(of_bytes, at, rows) for at in self._sides.order]
        # Beside places, if at least two processes fit there; else places go to lines of their own.
        for room in (self.width - _PLACE_MIN, self.width):
            shown = _fitting(columns, sides, room)
            if shown >= min(len(sides), 2):
                break
        if shown == len(sides):
            return columns + sides
        others = self._others(of_bytes, self._sides.order[shown:], rows)
        return columns + sides[:shown] + [others]

    def _figures(self, of_bytes: bool, total: Total) -> Tuple[str, str]:
        if of_bytes:
            return bytes_and_error(total.bytes, standard_error(total.bytes_var))
        return count_and_error(total.blocks, standard_error(total.blocks_var))

    def _side(self, of_bytes: bool, at: int, rows: Sequence[Row]) -> Column:
        known = self._sides.each[at]
        cells = [
            self._figures(of_bytes, known[row.key])[0] if row.key in known else _NONE
            for row in rows
        ]
        return Column("pid " + printable(self._sides.heaps[at].head.text("pid") or "?"), cells)

    def _others(self, of_bytes: bool, which: Sequence[int], rows: Sequence[Row]) -> Column:
        """All processes that have no column of their own, as one."""
        cells = []
        for row in rows:
            totals = [self._sides.each[at].get(row.key) for at in which]
            some = [figures(total, of_bytes)[0] for total in totals if total]
            plain = bytes_and_error if of_bytes else count_and_error
            cells.append(plain(sum(some), 0.0)[0] if some else _NONE)
        return Column("%d others" % len(which), cells)


def _fitting(fixed: Sequence[Column], sides: Sequence[Column], room: int) -> int:
    """How many of the *sides* have room beside the *fixed* columns, and one for the others."""
    left = room - sum(size_of(column) + 1 for column in fixed) - 1
    sizes = [size_of(column) + 1 for column in sides]
    if sum(sizes) <= left:
        return len(sides)
    # The others' figures are as wide as the widest column, or a digit more.
    left -= max(sizes) + 1
    shown = 0
    while shown < len(sides) and sum(sizes[: shown + 1]) <= left:
        shown += 1
    return shown
