# SPDX-License-Identifier: MIT
"""The table: one row a group, the figures first, the place last, its source below.

Figures stand in columns as narrow as they can be, so that at 80 columns a path still fits. The
source line is shown where the file is on this machine.

Invariants: no line is wider than asked for; all text from the snapshot passes through `printable`.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Tuple

from ._heap import NATIVE, UNKNOWN_FILE, Frame, Heap, frame_place, function_place
from ._native import NativeLines
from ._rows import Result, Row, figures
from ._source import SourceLines
from ._text import Glyphs, printable, shortened, width_of
from ._units import bytes_and_error, count_and_error, share_text
from ._weights import standard_error

_SAMPLES_FROM_WIDTH = 100
#: Relative error of about 16 samples of small blocks.
_ROUGH = 0.25
_STACK_FRAMES_SHOWN = 30
_PLACE_MIN = 24

_WHAT = {
    "inuse_bytes": "Bytes alive when the snapshot was taken",
    "inuse_blocks": "Blocks alive when the snapshot was taken",
    "alloc_bytes": "Bytes ever allocated by the process, freed or not",
    "alloc_blocks": "Blocks ever allocated by the process, freed or not",
    "peak_bytes": "Bytes alive when the process's estimate was highest",
}
_BY = {
    "lineno": ("by line of the nearest Python frame", "line", "lines"),
    "filename": ("by file of the nearest Python frame", "file", "files"),
    "function": ("by function of the nearest Python frame", "function", "functions"),
    "traceback": ("by whole stack, nearest frame first", "stack", "stacks"),
    "type": ("by the type of the object", "type", "types"),
    "thread": ("by the thread that allocated them", "thread", "threads"),
    "domain": ("by who asked for them", "domain", "domains"),
    "generation": ("by the process that allocated them", "process", "processes"),
}
_FRAME_KEYS = ("lineno", "filename", "function", "traceback")
_CUMULATIVE = "a block counts in each %s of its stack"
_DOMAINS = {
    "obj": "obj     Python objects",
    "mem": "mem     PyMem_Malloc: Python's buffers",
    "raw": "raw     PyMem_RawMalloc: no GIL needed",
    "malloc": "malloc  native code, malloc family",
    "mmap": "mmap    native code, mapped memory",
}


class TableReport:
    def __init__(self, width: int, glyphs: Glyphs, native: Optional[NativeLines] = None) -> None:
        self.width = width
        self.glyphs = glyphs
        self.source = SourceLines()
        self.native = native or NativeLines()

    def lines(self, result: Result, limit: int) -> Iterator[str]:
        rows = result.rows[:limit] if limit else result.rows
        yield from self._what(result)
        if not rows:
            yield ""
            none = figures(result.everything, result.query.ranks_bytes)[0] == 0
            yield "Nothing to show: %s." % (
                "the snapshot has none" if none else "no sample matches"
            )
            return
        yield from self._how_sure(result)
        yield ""
        self._learn(result, rows)
        cells = [self._title(result)] + [self._cells(result, row) for row in rows]
        widths = [max(width_of(row[i]) for row in cells) for i in range(len(cells[0]))]
        places = [_BY[result.query.by][1]] + [_place(result.query.by, row) for row in rows]
        from_left = result.query.by in _FRAME_KEYS
        for index, (figure_cells, place) in enumerate(zip(cells, places)):
            line = " ".join(" " * (w - width_of(c)) + c for w, c in zip(widths, figure_cells))
            room = self.width - width_of(line) - 2
            yield line + "  " + shortened(place, room, self.glyphs, left=from_left and index > 0)
            if index:
                yield from self._below(result, rows[index - 1])
                if result.query.by == "traceback" and index < len(rows):
                    yield ""
        yield from self._rest(result, len(rows))
        if self.source.changed:
            yield ""
            yield "No source is shown from files that changed after the snapshot (%d)." % len(
                self.source.changed
            )

    def _what(self, result: Result) -> Iterator[str]:
        """One sentence on what is counted."""
        query = result.query
        text = "%s, %s." % (_WHAT[query.value], _BY[query.by][0])
        if query.cumulative:
            text = "%s, cumulative: %s." % (_WHAT[query.value], _CUMULATIVE % _BY[query.by][1])
        yield from self._wrapped(text)

    def _how_sure(self, result: Result) -> Iterator[str]:
        query = result.query
        if result.exact:
            yield "Every allocation was recorded: the figures are exact."
        else:
            yield from self._wrapped(
                "%s is one standard error: the truth is within it 2 times in 3, within twice of "
                "it 19 times in 20." % self.glyphs.plus_minus
            )
        if query.source == "peak":
            yield from self._wrapped(
                "The peak is the maximum of many estimates, and so leans upwards."
                + (
                    " Each process is shown at its own peak, with what it inherited."
                    if result.processes > 1
                    else ""
                )
            )
        if query.cumulative and any(
            figures(row.total, query.ranks_bytes)[0]
            > 1.0001 * figures(result.everything, query.ranks_bytes)[0]
            for row in result.rows
        ):
            yield from self._wrapped(
                "Shares over 100% are recursion: a block counts once per frame, as in tracemalloc."
            )

    def _wrapped(self, text: str) -> Iterator[str]:
        line = ""
        for word in text.split(" "):
            if line and width_of(line) + 1 + width_of(word) > self.width:
                yield line
                line = word
            else:
                line = line + " " + word if line else word
        yield line

    def _title(self, result: Result) -> List[str]:
        pm = self.glyphs.plus_minus
        query = result.query
        size, count = ["bytes", pm], ["blocks", pm]
        if query.source == "peak":
            return size + ["%"]
        columns = size + ["%"] + count if query.ranks_bytes else count + ["%"] + size
        return columns + (["samples"] if self._samples_fit() else [])

    def _cells(self, result: Result, row: Row) -> List[str]:
        query, total = result.query, row.total
        pm = self.glyphs.plus_minus
        size, size_error = bytes_and_error(total.bytes, standard_error(total.bytes_var))
        count, count_error = count_and_error(total.blocks, standard_error(total.blocks_var))
        value = figures(total, query.ranks_bytes)[0]
        share = [share_text(value, figures(result.everything, query.ranks_bytes)[0])]
        sizes, counts = [size, pm + size_error], [count, pm + count_error]
        if query.source == "peak":
            return sizes + share
        cells = sizes + share + counts if query.ranks_bytes else counts + share + sizes
        return cells + (["%d" % total.samples] if self._samples_fit() else [])

    def _samples_fit(self) -> bool:
        return self.width >= _SAMPLES_FROM_WIDTH

    def _learn(self, result: Result, rows: List[Row]) -> None:
        """Look up all native frames that will be shown, at once."""
        if not any(row.heap.has_native for row in rows):
            return
        shown: Dict[int, List[int]] = {}
        heaps = {id(row.heap): row.heap for row in rows}
        for row in rows:
            nodes = shown.setdefault(id(row.heap), [])
            if result.query.by == "traceback":
                nodes += row.heap.stack(row.total.node)[:_STACK_FRAMES_SHOWN]
            elif result.query.by == "lineno":
                nodes += (row.total.node, row.total.nearest)
        for key, nodes in shown.items():
            self.native.learn(heaps[key], nodes)

    def _below(self, result: Result, row: Row) -> Iterator[str]:
        """What stands below a row: its function and source line, or its whole stack."""
        by = result.query.by
        if by == "lineno":
            yield from self._details(row.heap, row.total.node, 4)
            if row.native is not None:
                place = printable("in " + row.heap.place(row.native))
                yield "    " + shortened(place, self.width - 4, self.glyphs)
                yield from self._details(row.heap, row.native, 6)
        elif by == "traceback":
            yield from self._stack(row)

    def _details(self, heap: Heap, node: int, indent: int) -> Iterator[str]:
        """A frame's function and source line; of a native frame also what was inlined into it."""
        frame = heap.frame(node)
        room = self.width - indent
        texts = [self._named_source(heap, frame)]
        if frame[3] == NATIVE:
            texts = [
                self._native_text(heap, frame, one, room) for one in self.native.of(heap, node)
            ]
        for text in texts:
            if text:
                yield " " * indent + shortened(text, room, self.glyphs)

    def _native_text(self, heap: Heap, frame: Frame, found: Tuple[str, str, int], room: int) -> str:
        """A source line of a native frame, or of what was inlined into it; its path gives way."""
        name, file, line = found
        own = name == "??" or name == frame[2] or frame[2].startswith((name + "(", name + "+0x"))
        start = "" if own else printable(name) + ", "
        source = self._source(heap, file, line)
        end = ": " + source if source else ""
        place = "%s:%d" % (printable(file), line)
        left = max(room - width_of(start) - width_of(end), _PLACE_MIN)
        return start + shortened(place, left, self.glyphs, left=True) + end

    def _source(self, heap: Heap, file: str, line: int) -> str:
        head = heap.head
        return printable(self.source.line(file, line, head.text("cwd"), head.number("time")))

    def _named_source(self, heap: Heap, frame: Frame) -> str:
        file, line, name, _ = frame
        if file == UNKNOWN_FILE:
            return ""
        parts = [printable(name), self._source(heap, file, line)]
        return ": ".join(part for part in parts if part)

    def _stack(self, row: Row) -> Iterator[str]:
        nodes = row.heap.stack(row.total.node)
        for index, node in enumerate(nodes[:_STACK_FRAMES_SHOWN]):
            if index:
                place = printable(row.heap.place(node))
                yield "  " + shortened(place, self.width - 2, self.glyphs, left=True)
            yield from self._details(row.heap, node, 6)
        more = len(nodes) - _STACK_FRAMES_SHOWN
        if more > 0:
            yield "  and %d more frames" % more

    def _rest(self, result: Result, shown: int) -> Iterator[str]:
        query = result.query
        rest = result.rows[shown:]
        whole = figures(result.everything, query.ranks_bytes)[0]
        if rest:
            values = [figures(row.total, query.ranks_bytes) for row in rest]
            text = "%d more %s" % (len(rest), _BY[query.by][2 if len(rest) > 1 else 1])
            if not query.cumulative:
                value = sum(v for v, _ in values)
                error = sum(e * e for _, e in values) ** 0.5
                text += ": %s (%s)" % (self._figure(result, value, error), share_text(value, whole))
            yield ""
            yield text + ". --limit 0 shows all."
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


def _place(by: str, row: Row) -> str:
    if by == "thread":
        labels = row.labels
        tid = labels["tid"] or "unknown"
        return printable("pid %s tid %s %s" % (labels["pid"], tid, labels["name"])).rstrip()
    if by == "domain":
        name = row.labels["domain"]
        return _DOMAINS.get(name, printable(name))
    if by == "type":
        return _type_place(row.labels)
    if by == "generation":
        return _generation_place(row.labels)
    frame = row.frames[0]
    if by == "filename":
        return printable(frame[0])
    return printable(function_place(frame) if by == "function" else frame_place(frame))


def _type_place(labels: Dict[str, object]) -> str:
    if labels["type"] is not None:
        return printable(str(labels["type"]))
    if labels["domain"] == "obj":
        return "[no object, or of unknown type]"
    return "[no object: %s]" % labels["domain"]


def _generation_place(labels: Dict[str, object]) -> str:
    own = labels["pid"]
    if labels["inherited"]:
        return "pid %s: inherited from pid %s" % (own, labels["allocated_in_pid"])
    return "pid %s: its own" % own
