# SPDX-License-Identifier: MIT
"""`--diff`: what grew since an older snapshot, the largest change first.

Invariants: no line is wider than asked for; a row within the noise is marked wherever it is shown.
"""

from __future__ import annotations

import os
from typing import Iterator, List, Optional, Sequence, Tuple

from ._columns import Column, Layout, wrapped_lines
from ._diff import NOISE, Difference, DiffRow
from ._heap import Heap
from ._merge import moment
from ._report import EXACT
from ._text import printable
from ._units import bytes_and_error, count_and_error, duration_text
from ._where import BY_WORDS, PlacesReport, from_left, place_of

_WHAT = {
    "inuse_bytes": "Change of the bytes alive",
    "inuse_blocks": "Change of the blocks alive",
    "alloc_bytes": "Change of the bytes ever allocated",
    "alloc_blocks": "Change of the blocks ever allocated",
    "peak_bytes": "Change of the bytes alive at the peak",
}
_NOISE_MARK = "~"


class DiffReport(PlacesReport):
    def lines(
        self,
        difference: Difference,
        new: Sequence[Heap],
        old: Sequence[Heap],
        limit: int,
        significant: bool = False,
    ) -> Iterator[str]:
        query = difference.query
        by, of_bytes = query.by, query.ranks_bytes
        changed = [row for row in difference.rows if any(_changes(row))]
        noise = [row for row in changed if row.change.is_noise(of_bytes)]
        chosen = [row for row in changed if not (significant and row.change.is_noise(of_bytes))]
        shown = chosen[:limit] if limit else chosen
        yield from self._wrapped(
            "%s, from %s to %s, %s%s."
            % (
                _WHAT[query.value],
                _names(old),
                _names(new),
                BY_WORDS[by][0],
                ", cumulative" if query.cumulative else "",
            )
        )
        yield from self._wrapped(self._how_sure(difference, bool(noise) and not significant))
        yield from self._wrapped(self._in_all(difference, new, old))
        yield ""
        if shown:
            yield from self._table(difference, shown)
        else:
            yield from self._wrapped(_nothing(bool(changed)))
        yield from self._rest(difference, changed, chosen, len(shown))
        yield from self.where.changed()

    def _how_sure(self, difference: Difference, marks: bool) -> str:
        if difference.exact:
            return EXACT
        pm = self.glyphs.plus_minus
        text = "%s is one standard error of the change" % pm
        if difference.query.source != "inuse" or not difference.related:
            if not difference.related:
                text += ", of processes that have nothing in common"
            elif difference.query.source == "peak":
                text += ", overstated where blocks are in both peaks"
        else:
            text += ": samples that are in both snapshots cancel"
        if marks:
            text += (
                "; %s marks what is within the noise, less than %d %s (--significant hides it)"
                % (
                    _NOISE_MARK,
                    NOISE,
                    pm,
                )
            )
        return text + "."

    def _in_all(self, difference: Difference, new: Sequence[Heap], old: Sequence[Heap]) -> str:
        query = difference.query
        value = self._figure(difference.change.figures(query.ranks_bytes), query.ranks_bytes)
        text = "In all %s" % value
        error = difference.change.figures(query.ranks_bytes)[1]
        if error and difference.change.is_noise(query.ranks_bytes):
            text += ", which is within the noise"
        later, earlier = _moment(new), _moment(old)
        if _identity(new) == _identity(old):
            text += "; it is the same snapshot"
        elif later is not None and earlier is not None:
            apart = duration_text(abs(later - earlier))
            when = "later" if later >= earlier else "EARLIER: --diff expects the older one"
            text += "; taken %s %s" % (apart, when)
        return text + "."

    def _figure(self, figures: Tuple[float, float], of_bytes: bool) -> str:
        value, error = _signed(figures, of_bytes)
        unit = "" if of_bytes else " blocks"
        return "%s%s %s%s" % (value, unit, self.glyphs.plus_minus, error)

    def _table(self, difference: Difference, rows: List[DiffRow]) -> Iterator[str]:
        query = difference.query
        self.where.learn(query.by, [one.row for one in rows])
        layout = Layout(self._columns(difference, rows), self.width, self.glyphs, self.paint)
        types = self.where.types_title(query.by, [one.row for one in rows])
        yield from layout.title(BY_WORDS[query.by][1], types)
        for index, one in enumerate(rows):
            yield from layout.row(index, place_of(query.by, one.row), from_left(query.by))
            yield from self.where.below(query.by, one.row, query.ranks_bytes)
            if query.by == "traceback" and index < len(rows) - 1:
                yield ""

    def _columns(self, difference: Difference, rows: List[DiffRow]) -> List[Column]:
        query, pm = difference.query, self.glyphs.plus_minus
        of_bytes = query.ranks_bytes
        noise = [one.change.is_noise(of_bytes) for one in rows]
        first = [_signed(one.change.figures(of_bytes), of_bytes) for one in rows]
        second = [_signed(one.change.figures(not of_bytes), not of_bytes) for one in rows]
        signs = [
            "faint" if quiet else "up" if one.change.figures(of_bytes)[0] > 0 else "down"
            for one, quiet in zip(rows, noise)
        ]
        plain = bytes_and_error if of_bytes else count_and_error
        now = [plain(one.now[0 if of_bytes else 1], 0.0)[0] for one in rows]
        names = ("bytes", "blocks") if of_bytes else ("blocks", "bytes")
        columns = [
            Column("+/- " + names[0], [value for value, _ in first], "", 0, signs),
            Column(pm, [pm + error for _, error in first], "error"),
        ]
        if any(noise) and not difference.exact:
            columns.append(Column("", [_NOISE_MARK if one else " " for one in noise], "faint"))
        columns.append(Column("now", now, "", 2))
        if query.source != "peak":
            columns += [
                Column("+/- " + names[1], [value for value, _ in second], "", 1),
                Column(pm, [pm + error for _, error in second], "error", 3),
            ]
        return columns

    def _rest(
        self, difference: Difference, changed: List[DiffRow], chosen: List[DiffRow], shown: int
    ) -> Iterator[str]:
        query = difference.query
        words = BY_WORDS[query.by]
        texts = []
        hidden = len(changed) - len(chosen)
        if hidden:
            texts.append("%d %s within the noise hidden" % (hidden, words[2 if hidden > 1 else 1]))
        more = len(chosen) - shown
        if more:
            text = "%d more %s changed" % (more, words[2 if more > 1 else 1])
            if not query.cumulative:
                rest = chosen[shown:]
                value = sum(one.change.figures(query.ranks_bytes)[0] for one in rest)
                error = sum(one.change.figures(query.ranks_bytes)[1] ** 2 for one in rest) ** 0.5
                text += ": %s" % self._figure((value, error), query.ranks_bytes)
            texts.append(text + ", --limit 0 shows all")
        same = len(difference.rows) - len(changed)
        if same:
            texts.append("%d unchanged" % same)
        if texts and shown:
            yield ""
        if texts:
            yield from self._wrapped("; ".join(texts) + ".")

    def _wrapped(self, text: str) -> Iterator[str]:
        yield from wrapped_lines(text, self.width)


def _changes(row: DiffRow) -> Tuple[float, ...]:
    change = row.change
    return change.bytes, change.blocks, change.bytes_var, change.blocks_var


def _nothing(changed: bool) -> str:
    return "No change is outside the noise." if changed else "Nothing changed."


def _signed(figures: Tuple[float, float], of_bytes: bool) -> Tuple[str, str]:
    value, error = figures
    text, error_text = (bytes_and_error if of_bytes else count_and_error)(abs(value), error, error)
    sign = "+" if value > 0 else "-" if value < 0 else ""
    return sign + text, error_text


def _moment(heaps: Sequence[Heap]) -> Optional[float]:
    times = [heap.head.number("time") for heap in heaps]
    known = [time for time in times if time is not None]
    return max(known) if known else None


def _identity(heaps: Sequence[Heap]) -> List[Tuple[object, ...]]:
    """What is the same where all snapshots are."""
    return sorted((heap.head.text("uid") or heap.path, *moment(heap)) for heap in heaps)


def _names(heaps: Sequence[Heap]) -> str:
    if len(heaps) == 1:
        return printable(os.path.basename(heaps[0].path))
    return "%d processes" % len(heaps)
