# SPDX-License-Identifier: MIT
"""`--leaks` as text: what grows, what is old and stays, with the ages drawn.

Invariants: no line is wider than asked for; each row says in words why it stands where it stands.
"""

from __future__ import annotations

from typing import Iterator, List, Sequence, Tuple

from ._ages import WINDOWS
from ._columns import Column, Layout, wrapped_lines
from ._leaks import GROWS, LATE, OLD, STOPPED, TURNS_OVER, YOUNG, LeakRow, Leaks
from ._paint import levels
from ._report import EXACT
from ._trend import Trend, TrendRow
from ._units import bytes_and_error, bytes_text, count_and_error, duration_text
from ._weights import standard_error
from ._where import BY_WORDS, PlacesReport, from_left, place_of

_STEPS_SHOWN = 4
#: A leak keeps so much of what it allocates, or more than a leak goes through the line.
_NEARLY_ALL = 0.9
_STYLES = {GROWS: "alarm", LATE: "alarm"}


def _span(shortest: float, longest: float) -> str:
    """'7.2 s', or '0.6 s to 7.2 s' of processes of different ages."""
    first, last = duration_text(shortest), duration_text(longest)
    return last if first == last else "%s to %s" % (first, last)


class LeakReport(PlacesReport):
    # From the ages in one snapshot.

    def lines(self, leaks: Leaks, limit: int) -> Iterator[str]:
        query = leaks.query
        tenth = _span(leaks.shortest / WINDOWS, leaks.seconds / WINDOWS)
        kept = [row for row in leaks.rows if row.kind != YOUNG]
        shown = kept[:limit] if limit else kept
        yield from self._wrapped(
            "%s alive and older than a tenth of %s (%s), %s; what grows is first. Growth an "
            "hour is of what stayed between the first tenth and the last; ages are drawn from the "
            "start of the run to now."
            % (
                "Bytes" if query.ranks_bytes else "Blocks",
                "the run" if tenth == duration_text(leaks.seconds / WINDOWS) else "its process's run",
                tenth,
                BY_WORDS[query.by][0],
            )
        )
        yield from self._sure(leaks.exact, _span(leaks.shortest, leaks.seconds))
        yield ""
        if not shown:
            yield "Nothing is older than %s." % tenth
        else:
            places = [row.aged.row for row in shown]
            self.where.learn(query.by, places)
            layout = Layout(self._columns(leaks, shown), self.width, self.glyphs, self.paint)
            types = self.where.types_title(query.by, places)
            yield from layout.title(BY_WORDS[query.by][1], types)
            for index, row in enumerate(shown):
                yield from layout.row(index, place_of(query.by, row.aged.row), from_left(query.by))
                for text in wrapped_lines(self._words(leaks, row), self.width - 4):
                    yield "    " + self.paint(text, _STYLES.get(row.kind, ""))
                yield from self.where.below(query.by, row.aged.row, query.ranks_bytes)
        yield from self._rest(leaks, kept, len(shown))
        yield from self.where.changed()

    def _sure(self, exact: bool, seconds: str) -> Iterator[str]:
        words = EXACT
        if not exact:
            words = "%s is one standard error, of the sampling." % self.glyphs.plus_minus
        guess = " That it goes on as in these %s is a guess." % seconds
        yield from self._wrapped(words + guess)

    def _figure(self, of_bytes: bool, value: float, error: float) -> Tuple[str, str]:
        text, error_text = (bytes_and_error if of_bytes else count_and_error)(abs(value), error)
        return ("-" if value < 0 else "") + text, self.glyphs.plus_minus + error_text

    def _columns(self, leaks: Leaks, rows: List[LeakRow]) -> List[Column]:
        of_bytes, pm = leaks.query.ranks_bytes, self.glyphs.plus_minus
        old = [self._figure(of_bytes, row.old, row.old_error) for row in rows]
        growth = [
            (
                ("-", "")
                if row.growth is None
                else self._figure(of_bytes, row.growth, row.growth_error)
            )
            for row in rows
        ]
        styles = ["faint" if row.growth is None else "up" for row in rows]
        return [
            Column("growth/h", [("+" if g != "-" else "") + g for g, _ in growth], "", 0, styles),
            Column(pm, [error for _, error in growth], "error", 2),
            Column("old", [value for value, _ in old], "figure", 1),
            Column(pm, [error for _, error in old], "error", 3),
            Column("ages", [levels(row.aged.windows, self.glyphs) for row in rows], "bar", 1),
        ]

    def _words(self, leaks: Leaks, row: LeakRow) -> str:
        """Why the row stands where it stands, and how old what is."""
        parts = [self._kind(leaks, row)]
        unit = bytes_text if leaks.query.ranks_bytes else (lambda v: count_and_error(v, 0.0)[0])
        for name, older in zip(("a minute", "an hour"), row.aged.older):
            if older:
                value = unit(float(round(older)))
                parts.append("%s older than %s" % (value, name))
        return ", ".join(parts)

    def _kind(self, leaks: Leaks, row: LeakRow) -> str:
        tenth = leaks.seconds / WINDOWS
        since = duration_text(tenth * (WINDOWS - row.since))
        if row.kind == GROWS:
            text = "grows: some of it stays in all parts of the run"
            if row.kept is None or row.kept >= _NEARLY_ALL:
                return text
            return (
                text + " (%.0f%% of what it allocated is alive: what replaces old by new looks so, too)"
                % (100 * row.kept)
            )
        if row.kind == LATE:
            text = "grows since about %s ago" % since
            return text + (", or keeps nothing longer" if row.kept is None else "")
        if row.kind == TURNS_OVER:
            return (
                "turns over: nothing stays longer than about %s (%.0f%% of what it allocated "
                "is alive)"
                % (
                    since,
                    100 * (row.kept or 0.0),
                )
            )
        if row.kind == STOPPED:
            return "grew, and stopped: the last %s added little or nothing that stayed" % (
                duration_text(3 * tenth)
            )
        if row.kind == OLD:
            return "old: nearly all of it is from the start"
        return "too few samples to say whether it grows"

    def _rest(self, leaks: Leaks, kept: List[LeakRow], shown: int) -> Iterator[str]:
        by, of_bytes = leaks.query.by, leaks.query.ranks_bytes
        texts = []
        more = len(kept) - shown
        if more:
            value = sum(row.old for row in kept[shown:])
            error = sum(row.old_error**2 for row in kept[shown:]) ** 0.5
            texts.append(
                "%d more %s: %s %s old, --limit 0 shows all"
                % (more, BY_WORDS[by][2 if more > 1 else 1], *self._figure(of_bytes, value, error))
            )
        young = sum(row.aged.windows[-1] for row in leaks.rows)
        variance = sum(row.aged.variances[-1] for row in leaks.rows)
        if young and not leaks.query.cumulative:
            left_out = self._figure(of_bytes, young, standard_error(variance))
            texts.append(
                "left out: %s %s younger than a tenth of the run, which may go or stay" % left_out
            )
        if texts:
            yield ""
            yield from self._wrapped("; ".join(texts) + ".")

    # From several snapshots of the same processes.

    def trend(self, trend: Trend, limit: int) -> Iterator[str]:
        query = trend.query
        growing = [row for row in trend.rows if row.grows]
        shown = growing[:limit] if limit else growing
        times = len(trend.sets)
        yield from self._wrapped(
            "%s that grew from each of %d snapshots to the next%s, %s; growth an hour is from the "
            "first to the last."
            % (
                "Bytes alive" if query.ranks_bytes else "Blocks alive",
                times,
                "" if trend.seconds is None else " (%s)" % duration_text(trend.seconds),
                BY_WORDS[query.by][0],
            )
        )
        yield from self._sure_of_trend(trend)
        yield ""
        if not shown:
            yield from self._wrapped("Nothing grew in each of them beyond the noise.")
        else:
            places = [row.diff.row for row in shown]
            self.where.learn(query.by, places)
            layout = Layout(self._trend_columns(trend, shown), self.width, self.glyphs, self.paint)
            types = self.where.types_title(query.by, places)
            yield from layout.title(BY_WORDS[query.by][1], types)
            for index, row in enumerate(shown):
                yield from layout.row(index, place_of(query.by, row.diff.row), from_left(query.by))
                yield from self.where.below(query.by, row.diff.row, query.ranks_bytes)
        others = sum(1 for row in trend.rows if not row.grows and any(row.steps))
        texts = []
        if len(growing) > len(shown):
            texts.append("%d more grew, --limit 0 shows all" % (len(growing) - len(shown)))
        if others:
            texts.append("%d changed, but not upwards each time beyond the noise" % others)
        if texts:
            yield ""
            yield from self._wrapped("; ".join(texts) + ".")
        yield from self.where.changed()

    def _sure_of_trend(self, trend: Trend) -> Iterator[str]:
        pm = self.glyphs.plus_minus
        words = "%s is one standard error of the change: samples that stayed alive cancel." % pm
        yield from self._wrapped(EXACT if trend.exact else words)

    def _trend_columns(self, trend: Trend, rows: Sequence[TrendRow]) -> List[Column]:
        of_bytes, pm = trend.query.ranks_bytes, self.glyphs.plus_minus
        change = [self._figure(of_bytes, *row.diff.change.figures(of_bytes)) for row in rows]
        columns: List[Column] = []
        if trend.seconds:
            rates = [trend.growth(row) for row in rows]
            texts = [self._figure(of_bytes, *rate.figures(of_bytes)) for rate in rates if rate]
            columns += [
                Column("growth/h", ["+" + value for value, _ in texts], "up"),
                Column(pm, [error for _, error in texts], "error", 2),
            ]
        columns.append(Column("change", ["+" + value for value, _ in change], "figure", 1))
        columns.append(Column(pm, [error for _, error in change], "error", 3))
        steps = [row.steps[-_STEPS_SHOWN:] for row in rows]
        for index in range(len(steps[0]) if len(trend.sets) > 2 else 0):
            cells = ["+" + self._figure(of_bytes, one[index], 0.0)[0] for one in steps]
            columns.append(Column("step", cells, "", 4))
        return columns

    def _wrapped(self, text: str) -> Iterator[str]:
        yield from wrapped_lines(text, self.width)
