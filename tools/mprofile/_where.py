# SPDX-License-Identifier: MIT
"""Where a row is: its place, and what stands below it: function, source line, native frames, stack.

The source line is shown where the file is on this machine. Every report that has rows shows them
through this, so that a line looks the same in all.

Invariants: no line is wider than asked for; all text from the snapshot passes through `printable`.
"""

from __future__ import annotations

import os
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ._columns import wrapped_lines
from ._heap import NATIVE, UNKNOWN_FILE, Frame, Heap, frame_place, function_place
from ._linetypes import types_words
from ._native import NativeLines
from ._paint import Paint
from ._rows import Row
from ._source import SourceLines
from ._text import Glyphs, fitted, printable, shortened, width_of

_STACK_FRAMES_SHOWN = 30
_PLACE_MIN = 24
#: Narrower than this, lines have no types beside them.
_TYPES_FROM_WIDTH = 60
_TYPES_TITLE = "types"
_FRAME_KEYS = ("lineno", "filename", "function", "traceback")

#: For each key: what rows are by, one of them, and several.
BY_WORDS = {
    "lineno": ("by line of the nearest Python frame", "line", "lines"),
    "filename": ("by file of the nearest Python frame", "file", "files"),
    "function": ("by function of the nearest Python frame", "function", "functions"),
    "traceback": ("by whole stack, nearest frame first", "stack", "stacks"),
    "type": ("by the type of the object", "type", "types"),
    "thread": ("by the thread that allocated them", "thread", "threads"),
    "domain": ("by who asked for them", "domain", "domains"),
    "generation": ("by the process that allocated them", "process", "processes"),
    "process": (
        "by process; what was inherited is with the oldest that has it",
        "process",
        "processes",
    ),
}
_DOMAINS = {
    "obj": "obj     Python objects",
    "mem": "mem     PyMem_Malloc: Python's buffers",
    "raw": "raw     PyMem_RawMalloc: no GIL needed",
    "malloc": "malloc  native code, malloc family",
    "mmap": "mmap    native code, mapped memory",
}


#: Gives rows their `types`.
LearnTypes = Callable[[Sequence[Row]], None]


class Where:
    def __init__(
        self,
        width: int,
        glyphs: Glyphs,
        native: Optional[NativeLines] = None,
        paint: Optional[Paint] = None,
        learn_types: Optional[LearnTypes] = None,
    ) -> None:
        self.width = width
        self.glyphs = glyphs
        self.source = SourceLines()
        self.native = native or NativeLines()
        self.paint = paint or Paint()
        self._learn_types = learn_types

    def types_title(self, by: str, rows: Sequence[Row]) -> str:
        """The title of the types at the right end of the lines below rows, if any are there."""
        wanted = by == "lineno" and self.width >= _TYPES_FROM_WIDTH
        return _TYPES_TITLE if wanted and any(r.types and r.types.totals for r in rows) else ""

    def learn(self, by: str, rows: Sequence[Row]) -> None:
        """Look up what the rows need that will be shown, at once: types, native frames."""
        if self._learn_types and self.width >= _TYPES_FROM_WIDTH:
            self._learn_types(rows)
        if not any(row.heap.has_native for row in rows):
            return
        shown: Dict[int, List[int]] = {}
        heaps = {id(row.heap): row.heap for row in rows}
        for row in rows:
            nodes = shown.setdefault(id(row.heap), [])
            if by == "traceback":
                nodes += row.heap.stack(row.total.node)[:_STACK_FRAMES_SHOWN]
            elif by == "lineno":
                nodes += (row.total.node, row.total.nearest)
        for key, nodes in shown.items():
            self.native.learn(heaps[key], nodes)

    def below(self, by: str, row: Row, of_bytes: bool = True) -> Iterator[str]:
        """What stands below a row: its function and source line, or its whole stack.

        At the right end the types of a line's objects; *of_bytes*: by their bytes, else blocks.
        """
        if by == "lineno":
            types = self._types(row, of_bytes)
            room = self.width - 4 - (width_of(types) + 2 if types else 0)
            lines = [(4, text) for text in self._texts(row.heap, row.total.node, room)]
            if types:
                first = lines[0][1] if lines else ""
                gap = " " * (self.width - 4 - width_of(first) - width_of(types))
                yield "    " + self._faint(first) + gap + self.paint(types, "kind")
                lines = lines[1:]
            yield from self._indented(lines)
            if row.native is not None:
                place = fitted(printable(row.heap.place(row.native)), self.width - 7, self.glyphs)
                yield "    " + self._faint("in " + place)
                yield from self._details(row.heap, row.native, 6)
        elif by == "traceback":
            yield from self._stack(row)

    def changed(self) -> Iterator[str]:
        """What to say of sources, and of names and lines of native code, that are not shown."""
        if self.source.changed:
            yield ""
            yield shortened(
                "No source is shown from files that changed after the snapshot (%d)."
                % len(self.source.changed),
                self.width,
                self.glyphs,
            )
        if self.native.files.other_builds:
            names = sorted({os.path.basename(one) for one in self.native.files.other_builds})
            yield ""
            yield from wrapped_lines(
                "No names or lines are looked up for modules of which another build is there now, "
                "or two were loaded: %s." % printable(", ".join(names)),
                self.width,
            )

    def _types(self, row: Row, of_bytes: bool) -> str:
        if row.types is None or self.width < _TYPES_FROM_WIDTH:
            return ""
        return types_words(row.types, of_bytes, self.glyphs)

    def _faint(self, text: str) -> str:
        return self.paint(text, "faint")

    def _details(self, heap: Heap, node: int, indent: int) -> Iterator[str]:
        texts = self._texts(heap, node, self.width - indent)
        yield from self._indented([(indent, text) for text in texts])

    def _indented(self, lines: Sequence[Tuple[int, str]]) -> Iterator[str]:
        for indent, text in lines:
            yield " " * indent + self._faint(text)

    def _texts(self, heap: Heap, node: int, room: int) -> List[str]:
        """A frame's function and source line; of a native frame also what was inlined into it."""
        frame = heap.frame(node)
        texts = [self.named_source(heap, frame)]
        if frame[3] == NATIVE:
            texts = [
                self._native_text(heap, frame, one, room) for one in self.native.of(heap, node)
            ]
        return [shortened(text, room, self.glyphs) for text in texts if text]

    def _native_text(self, heap: Heap, frame: Frame, found: Tuple[str, str, int], room: int) -> str:
        """A source line of a native frame, or of what was inlined into it; its path gives way."""
        name, file, line = found
        own = name == "??" or name == frame[2] or frame[2].startswith((name + "(", name + "+0x"))
        start = "" if own else fitted(printable(name), room // 2, self.glyphs) + ", "
        source = self._source(heap, file, line)
        end = ": " + source if source else ""
        place = "%s:%d" % (printable(file), line)
        left = max(room - width_of(start) - width_of(end), _PLACE_MIN)
        return start + shortened(place, left, self.glyphs, left=True) + end

    def _source(self, heap: Heap, file: str, line: int) -> str:
        head = heap.head
        return printable(self.source.line(file, line, head.text("cwd"), head.number("time")))

    def named_source(self, heap: Heap, frame: Frame) -> str:
        """`function: its line of source`, as far as they are known."""
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
                yield "  " + fitted(place, self.width - 2, self.glyphs)
            yield from self._details(row.heap, node, 6)
        more = len(nodes) - _STACK_FRAMES_SHOWN
        if more > 0:
            yield "  and %d more frames" % more


def from_left(by: str) -> bool:
    """Whether the end of a place says more than its start, so that it is cut at the left."""
    return by in _FRAME_KEYS


def place_of(by: str, row: Row) -> str:
    """Where a row is, as people write it."""
    labels = row.labels
    if by == "thread":
        tid = labels["tid"] or "unknown"
        return printable("pid %s tid %s %s" % (labels["pid"], tid, labels["name"])).rstrip()
    if by == "domain":
        return _DOMAINS.get(labels["domain"], printable(labels["domain"]))
    if by == "type":
        return _type_place(labels)
    if by == "generation":
        return _generation_place(labels)
    if by == "process":
        return printable("pid %s, %s" % (labels["pid"], labels["process_file"]))
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


class PlacesReport:
    """A report whose rows are places: as wide, and painted, as what shows them."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.width = where.width
        self.glyphs = where.glyphs
        self.paint = where.paint
