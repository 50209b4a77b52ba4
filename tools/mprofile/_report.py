# SPDX-License-Identifier: MIT
"""The table: one row a group, the figures first, the place last, its source below.

Invariants: no line is wider than asked for; all text from the snapshot passes through `printable`.
"""

from __future__ import annotations

from typing import Iterator, List

from ._columns import Column, Layout, wrapped_lines
from ._paint import bar
from ._rows import Result, Row, figures
from ._units import bytes_and_error, count_and_error, share_text
from ._weights import standard_error
from ._where import BY_WORDS, PlacesReport, from_left, place_of

_SAMPLES_FROM_WIDTH = 100
#: Relative error of about 16 samples of small blocks.
_ROUGH = 0.25
_BAR_CELLS = 8

WHAT = {
    "inuse_bytes": "Bytes alive when the snapshot was taken",
    "inuse_blocks": "Blocks alive when the snapshot was taken",
    "alloc_bytes": "Bytes ever allocated by the process, freed or not",
    "alloc_blocks": "Blocks ever allocated by the process, freed or not",
    "peak_bytes": "Bytes alive when the process's estimate was highest",
}
_CUMULATIVE = "a block counts in each %s of its stack"
#: How often the truth is within the error, for every report that has one.
SURE = (
    "%s is one standard error: the truth is within it 2 times in 3, within twice of it 19 times "
    "in 20."
)
EXACT = "Every allocation was recorded: the figures are exact."


class TableReport(PlacesReport):
    def lines(self, result: Result, limit: int) -> Iterator[str]:
        rows = result.rows[:limit] if limit else result.rows
        by = result.query.by
        yield from self._what(result)
        if not rows:
            yield ""
            none = figures(result.everything, result.query.ranks_bytes)[0] == 0
            yield from self._wrapped(
                "Nothing to show: %s." % ("the snapshot has none" if none else "no sample matches")
            )
            return
        yield from self._how_sure(result)
        yield ""
        self.where.learn(by, rows)
        layout = Layout(self._columns(result, rows), self.width, self.glyphs, self.paint)
        yield from layout.title(BY_WORDS[by][1], self.where.types_title(by, rows))
        for index, row in enumerate(rows):
            yield from layout.row(index, place_of(by, row), from_left(by))
            yield from self.where.below(by, row, result.query.ranks_bytes)
            if by == "traceback" and index < len(rows) - 1:
                yield ""
        yield from self._rest(result, len(rows))
        yield from self.where.changed()

    def _what(self, result: Result) -> Iterator[str]:
        """One sentence on what is counted."""
        query = result.query
        text = "%s, %s." % (WHAT[query.value], BY_WORDS[query.by][0])
        if query.cumulative:
            more = _CUMULATIVE % BY_WORDS[query.by][1]
            text = "%s, cumulative: %s." % (WHAT[query.value], more)
        yield from self._wrapped(text)

    def _how_sure(self, result: Result) -> Iterator[str]:
        query = result.query
        yield from self._wrapped(EXACT if result.exact else SURE % self.glyphs.plus_minus)
        if query.source == "peak":
            yield from self._peak_words(result)
        if query.cumulative and any(
            figures(row.total, query.ranks_bytes)[0]
            > 1.0001 * figures(result.everything, query.ranks_bytes)[0]
            for row in result.rows
        ):
            yield from self._wrapped(
                "Shares over 100% are recursion: a block counts once per frame, as in tracemalloc."
            )

    def _peak_words(self, result: Result) -> Iterator[str]:
        words = []
        if not result.exact:
            words.append("The peak is the maximum of many estimates, and so leans upwards.")
        if result.processes > 1:
            words.append("Each process is shown at its own peak, with what it inherited.")
        if words:
            yield from self._wrapped(" ".join(words))

    def _wrapped(self, text: str) -> Iterator[str]:
        yield from wrapped_lines(text, self.width)

    def _columns(self, result: Result, rows: List[Row]) -> List[Column]:
        query, pm = result.query, self.glyphs.plus_minus
        totals = [row.total for row in rows]
        size = [bytes_and_error(t.bytes, standard_error(t.bytes_var)) for t in totals]
        count = [count_and_error(t.blocks, standard_error(t.blocks_var)) for t in totals]
        whole = figures(result.everything, query.ranks_bytes)[0]
        values = [figures(total, query.ranks_bytes)[0] for total in totals]
        first, second = (size, count) if query.ranks_bytes else (count, size)
        names = ("bytes", "blocks") if query.ranks_bytes else ("blocks", "bytes")
        columns = [
            Column(names[0], [value for value, _ in first], "figure"),
            Column(pm, [pm + error for _, error in first], "error"),
            Column("%", [share_text(value, whole) for value in values], "", 2),
        ]
        if self.paint.on:
            bars = [
                bar(value / whole if whole else 0.0, _BAR_CELLS, self.glyphs) for value in values
            ]
            columns.append(Column("", bars, "bar", 3, left=True))
        if query.source == "peak":
            return columns
        columns += [
            Column(names[1], [value for value, _ in second], "", 1),
            Column(pm, [pm + error for _, error in second], "error", 1),
        ]
        if self.width >= _SAMPLES_FROM_WIDTH:
            columns.append(Column("samples", ["%d" % total.samples for total in totals], "", 4))
        return columns

    def _rest(self, result: Result, shown: int) -> Iterator[str]:
        query = result.query
        rest = result.rows[shown:]
        whole = figures(result.everything, query.ranks_bytes)[0]
        if rest:
            values = [figures(row.total, query.ranks_bytes) for row in rest]
            text = "%d more %s" % (len(rest), BY_WORDS[query.by][2 if len(rest) > 1 else 1])
            if not query.cumulative:
                value = sum(v for v, _ in values)
                error = sum(e * e for _, e in values) ** 0.5
                text += ": %s (%s)" % (self._figure(result, value, error), share_text(value, whole))
            yield ""
            yield from self._wrapped(text + ". --limit 0 shows all.")
        if query.include or query.exclude:
            value, error = figures(result.selected, query.ranks_bytes)
            yield ""
            yield from self._wrapped(
                "--include and --exclude leave %s of %s (%s); %% is of all."
                % (
                    self._figure(result, value, error),
                    self._figure(result, *figures(result.everything, query.ranks_bytes)),
                    share_text(value, whole),
                )
            )
        if any(self._is_rough(result, row) for row in result.rows[:shown]):
            yield ""
            yield from self._wrapped(
                "Where %s is more than a quarter of the figure there are few samples, and %s is "
                "rough itself." % (self.glyphs.plus_minus, self.glyphs.plus_minus)
            )

    def _is_rough(self, result: Result, row: Row) -> bool:
        value, error = figures(row.total, result.query.ranks_bytes)
        return error > _ROUGH * value

    def _figure(self, result: Result, value: float, error: float) -> str:
        if result.query.ranks_bytes:
            text, error_text = bytes_and_error(value, error)
        else:
            text, error_text = count_and_error(value, error)
            text += " blocks"
        return "%s %s%s" % (text, self.glyphs.plus_minus, error_text)
