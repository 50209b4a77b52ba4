# SPDX-License-Identifier: MIT
"""From sections to columns: the payloads of a snapshot file, decoded.

Columns are copied straight from the payload into arrays, so the cost of a row is a few bytes and no
Python object. Tables may be cut into sections in any order; they are put together, and their ids
checked (`_ids.py`), when all sections are in.

Invariants: no count is believed before the payload is known to be long enough for it, so memory is
bounded by the file's own size.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from ._format import Container, Section, SnapshotError, tag_text
from ._head import Head, decode_text
from ._heap import Heap

_PAIR = struct.Struct("<II")

#: Tables cut into sections: the type codes of their columns.
CODES = {
    "STRS": "",
    "FUNC": "III",
    "NODE": "III",
    "SITE": "IBQdddddd",
    "THRD": "QQI",
    "MODS": "IIQQQ",
}
_LIVE_CODES = "QQQIIHHH"
_LIVE_TYPE = "I"  # from format 1.1, where types are known


def _live_places(rows: int) -> List[Tuple[int, int]]:
    """Where the columns of a LIVE payload are: (begin, end) of each, with types."""
    places, at = [], _PAIR.size
    for code in _LIVE_CODES + _LIVE_TYPE:
        end = at + rows * array(code).itemsize
        places.append((at, end))
        at = (end + 7) & ~7
    return places


class Chunk(NamedTuple):
    """The rows of one section of a table."""

    first: int
    rows: int
    columns: "List[array[int]]"
    strings: List[str]
    offset: int


class Payload:
    """One payload, taken apart from the front; faults name the file, the offset, the section."""

    def __init__(self, container: Container, section: Section) -> None:
        self._container = container
        self._section = section
        self._at = 0

    def error(self, reason: str) -> SnapshotError:
        section = self._section
        return self._container.error(
            section.offset, "section %s: %s" % (tag_text(section.tag), reason)
        )

    def take(self, length: int, what: str) -> memoryview:
        end = self._at + length
        data = self._section.payload
        if end > len(data):
            raise self.error(
                "%s should end at byte %d of the payload, which has %d" % (what, end, len(data))
            )
        view = memoryview(data)[self._at : end]
        self._at = end
        return view

    def skip_padding(self) -> None:
        self._at = min((self._at + 7) & ~7, len(self._section.payload))

    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._section.payload)

    def pair(self) -> Tuple[int, int]:
        first, second = _PAIR.unpack(self.take(8, "the row count"))
        return first, second

    def column(self, code: str, rows: int) -> "array[int]":
        """The next column, copied."""
        part: array[int] = array(code)
        view = self.take(rows * part.itemsize, "a column of %d rows" % rows)
        self.skip_padding()
        part.frombytes(view)
        if sys.byteorder == "big":
            part.byteswap()
        return part


class Tables:
    """Everything the sections of one file held, before ids are resolved."""

    def __init__(self) -> None:
        self.heap = Heap()
        self.chunks: Dict[str, List[Chunk]] = {tag: [] for tag in CODES}
        #: (first row, offset) of each LIVE section, to tell where a bad row stands.
        self.live_offsets: List[Tuple[int, int]] = []
        self._seen: Dict[str, int] = {}
        self._live_places: Dict[int, List[Tuple[int, int]]] = {}

    def read(
        self, container: Container, progress: Optional[Callable[[int], None]] = None
    ) -> None:
        """Read all sections; *progress* is called with the offset of each."""
        handlers: Dict[str, Callable[[Payload, Section], None]] = {
            "HEAD": self._head,
            "LIVE": self._live,
            "RATE": self._rate,
            "LINE": self._line,
            "PROC": self._proc,
        }
        first = True
        for section in container.sections():
            tag = section.tag.decode("latin-1")
            if first and tag != "HEAD" and not container.salvage:
                raise container.error(
                    section.offset, "expected section 'HEAD' first, found %r" % tag
                )
            first = False
            if progress is not None:
                progress(section.offset)
            payload = Payload(container, section)
            try:
                if tag in CODES:
                    self._chunk(payload, section, tag)
                elif tag in handlers:
                    handlers[tag](payload, section)
                elif section.must_know:
                    raise payload.error(
                        "this reader does not know it, and the file says that it must"
                    )
            except SnapshotError as error:
                container.fault(error)
        self.heap.path = container.path
        self.heap.version = container.version

    def _once(self, payload: Payload, section: Section) -> None:
        tag = section.tag.decode("latin-1")
        if tag in self._seen:
            raise payload.error("it is here twice, first at offset %d" % self._seen[tag])
        self._seen[tag] = section.offset

    def _head(self, payload: Payload, section: Section) -> None:
        self._once(payload, section)
        self.heap.head = Head.parse(section.payload)

    def _chunk(self, payload: Payload, section: Section, tag: str) -> None:
        first, rows = payload.pair()
        strings: List[str] = []
        columns: List[array[int]] = []
        if tag == "STRS":
            lengths = payload.column("I", rows)
            for length in lengths:
                strings.append(decode_text(bytes(payload.take(length, "a string"))))
        else:
            columns = [payload.column(code, rows) for code in CODES[tag]]
        if rows:
            self.chunks[tag].append(Chunk(first, rows, columns, strings, section.offset))

    def _live(self, payload: Payload, section: Section) -> None:
        rows, _ = payload.pair()
        if self._live_at_once(rows, section):
            return
        parts = [payload.column(code, rows) for code in _LIVE_CODES]
        if payload.more():
            self.heap.has_types = True
            parts.append(payload.column(_LIVE_TYPE, rows))
        else:
            parts.append(array(_LIVE_TYPE, bytes(rows * 4)))
        live = self.heap.live
        if rows:
            self.live_offsets.append((len(live), section.offset))
        for column, part in zip(live.columns(), parts):
            column.extend(part)

    def _live_at_once(self, rows: int, section: Section) -> bool:
        """The usual case of a table of millions of rows, in sections of a few hundred: all columns
        are there, one after another, and no byte is turned round."""
        places = self._live_places.get(rows)
        if places is None:
            places = self._live_places[rows] = _live_places(rows)
        live, data = self.heap.live, memoryview(section.payload)
        if not rows or sys.byteorder == "big" or len(data) < places[-1][1]:
            return False
        self.heap.has_types = True
        self.live_offsets.append((len(live), section.offset))
        for column, (begin, end) in zip(live.columns(), places):
            column.frombytes(data[begin:end])
        return True

    def _rate(self, payload: Payload, section: Section) -> None:
        self._once(payload, section)
        rows, _ = payload.pair()
        self.heap.rates = payload.column("Q", rows)

    def _line(self, payload: Payload, section: Section) -> None:
        self._once(payload, section)
        rows, _ = payload.pair()
        columns = [payload.column("Q", rows) for _ in range(3)]
        lineage = self.heap.lineage
        lineage.uid, lineage.pid, lineage.clock_ms = columns

    def _proc(self, payload: Payload, section: Section) -> None:
        name_length, text_length = payload.pair()
        name = bytes(payload.take(name_length, "the name"))
        payload.skip_padding()
        text = bytes(payload.take(text_length, "the text"))
        self.heap.proc.setdefault(decode_text(name), decode_text(text))
