# SPDX-License-Identifier: MIT
"""The head of a report: what was measured, and what was missed.

Every figure below it stands on this, so whatever was lost is said here in words, before any table.

Invariants: no line is wider than asked for; a fact that the file does not have is not shown.
"""

from __future__ import annotations

import datetime
import os
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from ._columns import Column, Layout
from ._groups import Total
from ._head import Head
from ._heap import Heap
from ._kernel import rss
from ._paint import Paint
from ._rows import add_all, is_exact
from ._sums import Sums
from ._text import Glyphs, printable, shortened, width_of, wrapped
from ._units import bytes_and_error, bytes_text, count_and_error, count_text, duration_text
from ._weights import standard_error

_LABEL = 11
#: Of the table of processes: which columns are left out where the width is too small.
_RANKS = (0, 2, 3, 0, 1, 0)

_LOST = {
    "memory": "samples were dropped: the profiler got no memory of its own",
    "reentered": "samples were not taken: the thread was inside the profiler already",
    "frees": "frees were not seen to the end: their blocks may still show as live",
    "stacks": "samples have no stack: it could not be walked",
    "small_stacks": "samples were not taken: the stack of a signal handler had too little room",
    "snapshots": "snapshots were asked for and not written",
    "hooks": "samples were forgotten: a tracer that was started earlier took the profiler's hooks "
    "away when it stopped, and frees may have been missed",
}
_NOT_SEEN = "what C code takes from malloc by itself: the library was not preloaded, or after another malloc"
_NOTES = {
    "stacks_cut": "stacks were deeper than the frame limit (MPROFILEFRAMES): "
    "their outermost frames are cut",
    "thinned": "times (those before a fork among them) the profiler's own memory reached its budget (MPROFILEMEMORY): "
    "it took a coarser rate and kept as many samples as that would have drawn, without bias; errors are larger",
    "names_cut": "names of functions, files or threads were too long to be kept whole: "
    "their ends are cut",
    "native_unmatched": "stacks have native frames above Python's only: the two could not be fitted "
    "together (a greenlet's, or code without unwind information)",
    "native_skipped": "stacks have no native frames: a fork was near, or the stack of a signal "
    "handler had too little room",
    "native_refused": "stacks have native frames only as far as memory could be read in safety: a "
    "seccomp filter forbids process_vm_readv, and pipes as well",
    "replaced": "live samples were at an address that was given out again: their free was not seen, "
    "and they were taken out then",
    "refused_513": "small blocks could not be asked for as 513 bytes, "
    "and were asked for at their true size",
}


def live_total(heap: Heap, sums: Sums) -> Total:
    total = Total(heap, 0)
    add_all(total, heap, sums)
    return total


class HeadReport:
    def __init__(self, width: int, glyphs: Glyphs, paint: Optional[Paint] = None) -> None:
        self.width = width
        self.glyphs = glyphs
        self.paint = paint or Paint()

    def lines(
        self, heaps: Sequence[Heap], sums: Sequence[Sums], account: Sequence[str] = ()
    ) -> Iterator[str]:
        """*account* is the account of the size and the verdict, a line each, where there is one."""
        if len(heaps) == 1:
            yield from self._process(heaps[0], sums[0], account)
        else:
            yield from self._processes(heaps, sums, account)
        for heap in heaps:
            yield from self._losses(heap, len(heaps) > 1)

    def _entry(self, label: str, text: str, lines: int = 2) -> List[str]:
        """A label and its text, continued below the text where it is long."""
        label = shortened(label, self.width // 2, self.glyphs)
        room = self.width - max(_LABEL, width_of(label) + 1)
        parts = wrapped(printable(text), room, lines, self.glyphs)
        style = "alarm" if label.isupper() and label != "RSS" else "faint"
        return [
            (self.paint("%-*s" % (_LABEL - 1, label if i == 0 else ""), style) + " " + part).rstrip()
            for i, part in enumerate(parts)
        ]

    def _account(self, account: Sequence[str]) -> Iterator[str]:
        for label, text in zip(("account", "verdict"), account):
            yield from self._entry(label, text, 3)

    def _process(self, heap: Heap, sums: Sums, account: Sequence[str]) -> Iterator[str]:
        head = heap.head
        yield from self._entry("snapshot", os.path.basename(heap.path))
        yield from self._entry("process", _process_text(head))
        command = _command(head)
        if command:
            yield from self._entry("command", command, 4)
        yield from self._entry("taken", _taken_text(head))
        yield from self._entry("python", _python_text(head))
        yield from self._entry("sampling", _sampling_text(heap), 3)
        if head.text("malloc.counted") == "0":
            yield from self._entry("not seen", _NOT_SEEN, 3)
        total = live_total(heap, sums)
        yield from self._entry("live", self._live_text(total))
        if head.number("peak_bytes") is not None:
            yield from self._entry("peak", self._peak_text(heap))
        now, highest = rss(heap)
        if now is not None:
            yield from self._entry("RSS", _rss_text(now, highest, total.bytes))
        yield from self._account(account)
        own = head.integer("own_bytes")
        if own is not None:
            yield from self._entry("profiler", "%s of its own, in RSS too" % bytes_text(own))
        native = head.text("native")
        if native not in (None, "0"):
            words = "recorded" if native == "1" else "not recorded: %s" % native
            yield from self._entry("native", "frames of native code are " + words, 3)
        for key, value in head.unknown().items():
            yield from self._entry(printable(key), value)

    def _live_text(self, total: Total) -> str:
        return "%s in %s blocks" % (
            self._figure(*bytes_and_error(total.bytes, standard_error(total.bytes_var))),
            self._figure(*count_and_error(total.blocks, standard_error(total.blocks_var))),
        )

    def _figure(self, value: str, error: str) -> str:
        return "%s %s%s" % (value, self.glyphs.plus_minus, error)

    def _peak_text(self, heap: Heap) -> str:
        head = heap.head
        peak = head.number("peak_bytes") or 0.0
        text = self._figure(*bytes_and_error(peak, standard_error(head.number("peak_var") or 0.0)))
        clock, peak_clock = head.integer("clock_ms"), head.integer("peak_clock_ms")
        if clock is not None and peak_clock is not None and clock >= peak_clock:
            text += ", %s earlier" % duration_text((clock - peak_clock) / 1000)
        return text if is_exact([heap]) else text + " (as a maximum, leans upwards)"

    def _processes(
        self, heaps: Sequence[Heap], sums: Sequence[Sums], account: Sequence[str]
    ) -> Iterator[str]:
        programs = _programs(heaps)
        what = "of one program" if programs == 1 else "of %d programs" % programs
        yield from self._entry("snapshots", "%d processes %s" % (len(heaps), what))
        command = _each(_command(heap.head) for heap in heaps)
        if command:
            yield from self._entry("command", command, 4)
        yield from self._entry("python", _each(_python_text(heap.head) for heap in heaps))
        yield from self._entry("sampling", _each(sampling_words(heap) for heap in heaps), 3)
        everything = Total(heaps[0], 0)
        rows: List[List[str]] = [["pid", "taken (UTC)", "samples", "live", "RSS", "file"]]
        for heap, one in zip(heaps, sums):
            total = live_total(heap, one)
            add_all(everything, heap, one)
            now = rss(heap)[0]
            error = standard_error(total.bytes_var)
            rows.append(
                [
                    printable(heap.head.text("pid") or "?"),
                    (_time_text(heap.head.number("time")) or "?")[:19],
                    count_text(total.samples),
                    self._figure(*bytes_and_error(total.bytes, error)),
                    "-" if now is None else bytes_text(now),
                    printable(os.path.basename(heap.path)),
                ]
            )
        yield from self._entry("live", self._live_text(everything) + ", all processes together")
        elsewhere = sum(heap.counted_elsewhere for heap in heaps)
        if elsewhere:
            yield from self._entry(
                "inherited",
                "%s samples are left out of younger processes: a block is counted once, in the "
                "oldest process that has it" % count_text(elsewhere),
                3,
            )
        yield from self._account(account)
        yield ""
        yield from self._columns(rows)

    def _columns(self, rows: List[List[str]]) -> Iterator[str]:
        columns = [
            Column(title, cells, "", rank)
            for title, rank, *cells in zip(rows[0], _RANKS, *rows[1:])
        ]
        layout = Layout(columns[:-1], self.width, self.glyphs, self.paint)
        yield from layout.title(rows[0][-1])
        for index, row in enumerate(rows[1:]):
            yield from layout.row(index, row[-1], True)

    def _losses(self, heap: Heap, several: bool) -> Iterator[str]:
        head = heap.head
        prefix = "pid %s: " % (head.text("pid") or "?") if several else ""
        stacks = head.text("python.stacks")
        if stacks not in (None, "1"):
            yield from self._entry("NO STACKS", prefix + "%s" % stacks, 3)
        for key, value in head.family("lost.").items():
            words = _LOST.get(key)
            text = "%s %s" % (value, words) if words else "lost.%s=%s" % (key, value)
            yield from self._entry("LOST", prefix + text, 3)
        for key, value in head.family("note.").items():
            words = _NOTES.get(key)
            text = "%s %s" % (value, words) if words else "note.%s=%s" % (key, value)
            yield from self._entry("note", prefix + text, 3)
        for line in heap.dropped:
            yield from self._entry("DAMAGED", prefix + line, 3)


def _process_text(head: Head) -> str:
    text = "pid %s" % (head.text("pid") or "unknown")
    if head.text("exe"):
        text += ", %s" % head.text("exe")
    if head.text("host"):
        text += ", on %s" % head.text("host")
    return text


def _programs(heaps: Sequence[Heap]) -> int:
    """How many programs these processes are.

    Python runs many, so its script or module counts too. Forks of one process are one program,
    whatever they call themselves.
    """
    families: Dict[int, Tuple[object, ...]] = {}
    found = set()
    for index, heap in enumerate(heaps):
        words = (heap.head.cmdline or [])[1:]
        end = next((n for n, word in enumerate(words, 1) if not word.startswith("-")), 0)
        own = (heap.head.text("exe"), *words[:end])
        uids = heap.lineage.uid
        found.add(families.setdefault(uids[0] if uids and uids[0] else -1 - index, own))
    return len(found)


def _command(head: Head) -> str:
    return " ".join(head.cmdline or [])


def _time_text(seconds: Optional[float]) -> str:
    if seconds is None:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _taken_text(head: Head) -> str:
    taken, start = head.number("time"), head.number("start")
    text = _time_text(taken) or "unknown"
    if taken is not None and start is not None and taken >= start:
        text += ", %s after start" % duration_text(taken - start)
    if head.text("trigger"):
        text += ", by %s" % head.text("trigger")
    return text


def _each(texts: Iterable[str]) -> str:
    """What the snapshots say, once where they agree; of many different things the first three."""
    different = list(dict.fromkeys(text for text in texts if text))
    more = "; and %d more" % (len(different) - 3) if len(different) > 3 else ""
    return "; ".join(different[:3]) + more


def _python_text(head: Head) -> str:
    version = head.text("python")
    if version is None and not head.values:
        return "unknown"
    if version is None:
        return "none profiled: native memory only"
    text = version + (" free-threaded" if head.text("python.abi") == "t" else "")
    if head.text("python.alloc"):
        text += ", objects from %s" % head.text("python.alloc")
    return text


def _every(rates: Iterable[int]) -> str:
    return ", ".join("1" if rate <= 1 else bytes_text(rate) for rate in sorted(rates))


def sampling_words(heap: Heap) -> str:
    """The rate in force, and those that live samples were drawn at."""
    now = heap.head.text("rate")
    rates = {heap.rates[row] for row in set(heap.live.rate)}
    if now == "off":
        known = ", every %s before" % _every(rates) if rates else ""
        return "off when the snapshot was taken" + known
    if now is not None:
        rates.add(heap.head.rate)
    if not rates:
        return "unknown"
    if rates <= {0, 1}:
        return "every allocation, so the figures are exact"
    if len(rates) > 1:
        known = _every(rates)
        return "one every so many bytes on average, changed while running: %s" % known
    return "one every %s on average" % _every(rates)


def _sampling_text(heap: Heap) -> str:
    many = "" if len(heap.live) == 1 else "s"
    text = "%s, %s live sample%s" % (sampling_words(heap), count_text(len(heap.live)), many)
    frames = heap.head.text("frames")
    return text + (", up to %s frames" % frames if frames else "")


def _rss_text(now: int, highest: Optional[int], live: float) -> str:
    text = bytes_text(now)
    if highest is not None:
        text += ", highest %s" % bytes_text(highest)
    if now > 0:
        text += "; the live blocks are %.0f%% of it" % (100.0 * live / now)
    return text
