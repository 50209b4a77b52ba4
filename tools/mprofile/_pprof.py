# SPDX-License-Identifier: MIT
"""`--pprof`: the profile format of `go tool pprof`, gzipped.

In-use and allocated, space and objects, as Go's own heap profiles name them, so that `-top`,
`-list`, `-peek`, `-web` and `-diff_base` mean what they mean there. Written by `_protobuf.py` from
the published `profile.proto`, because the reader has no dependencies.

A location is a line of a function; what native code is has its module as mapping, with build id,
and its address in the profiled process. A stack's domain is a label (`-tagfocus domain=malloc`),
and with several processes its pid.

Invariants: string 0 is empty; ids begin at 1; the values of all samples add up to the report's,
rounded; the same snapshots give the same bytes.
"""

from __future__ import annotations

import gzip
import io
from typing import Dict, List, Sequence, Tuple

from ._heap import NATIVE, UNKNOWN_FILE, Frame, Heap
from ._protobuf import message, number, packed
from ._rows import Query
from ._stacks import plain_name, rounded, value_sums
from ._sums import Sums
from ._text import printable

Parts = Sequence[Tuple[Heap, Sums]]

#: Name, unit, and the query's value, in the order of Go's heap profiles.
_TYPES = (
    ("alloc_objects", "count", "alloc_blocks"),
    ("alloc_space", "bytes", "alloc_bytes"),
    ("inuse_objects", "count", "inuse_blocks"),
    ("inuse_space", "bytes", "inuse_bytes"),
)
_DEFAULT = "inuse_space"


class _Profile:
    """The tables of one profile while they fill."""

    def __init__(self, program: str) -> None:
        self._strings: Dict[str, int] = {"": 0}
        self._functions: Dict[Frame, int] = {}
        self._locations: Dict[Tuple[object, ...], int] = {}
        self._mappings: Dict[Tuple[str, str], int] = {}
        self.body: List[bytes] = []
        # The program itself: pprof names a profile by its first mapping.
        self.program = self._mapping(program, "", 0, 0)

    def string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _mapping(self, path: str, build_id: str, start: int, end: int) -> int:
        key = (path, build_id)
        known = self._mappings.get(key)
        if known is None:
            known = self._mappings[key] = len(self._mappings) + 1
            fields = [number(1, known), number(2, start), number(3, end)]
            fields += [number(5, self.string(printable(path))), number(6, self.string(build_id))]
            # Functions, files and lines are known, so pprof looks for no symbols.
            fields += [number(field, 1) for field in (7, 8, 9)]
            self.body.append(message(3, b"".join(fields)))
        return known

    def location(self, heap: Heap, node: int, modules: Dict[str, Tuple[str, int, int, int]]) -> int:
        frame = heap.frame(node)
        file, line, _, first = frame
        mapping, address = self.program, 0
        if first == NATIVE and file in modules:
            build_id, start, end, bias = modules[file]
            mapping, address = self._mapping(file, build_id, start, end), line + bias
        key = (mapping, address, frame)
        known = self._locations.get(key)
        if known is None:
            known = self._locations[key] = len(self._locations) + 1
            at = number(1, self._function(frame))
            at += number(2, 0 if first == NATIVE or file == UNKNOWN_FILE else line)
            fields = [number(1, known), number(2, mapping), number(3, address), message(4, at)]
            self.body.append(message(4, b"".join(fields)))
        return known

    def _function(self, frame: Frame) -> int:
        file, _, name, first = frame
        key = (file, 0, name, first)
        if first == NATIVE and not name:
            key = frame
        known = self._functions.get(key)
        if known is None:
            known = self._functions[key] = len(self._functions) + 1
            text = printable(plain_name(frame))
            path = "" if file == UNKNOWN_FILE else printable(file)
            # pprof takes a name that is the system's name for one of C++, and cuts what looks like
            # templates and parameters out of it: "<module>" would be nothing.
            system = "%s:%s" % (path or UNKNOWN_FILE, printable(name))
            fields = [number(1, known), number(2, self.string(text))]
            fields.append(number(3, self.string(system)))
            fields.append(number(4, self.string(path)))
            fields.append(number(5, 0 if first == NATIVE else first))
            self.body.append(message(5, b"".join(fields)))
        return known

    def value_type(self, name: str, unit: str) -> bytes:
        return number(1, self.string(name)) + number(2, self.string(unit))

    def label(self, key: str, text: str) -> bytes:
        return message(3, number(1, self.string(key)) + number(2, self.string(text)))

    def strings(self) -> bytes:
        return b"".join(message(6, text.encode("utf-8", "replace")) for text in self._strings)


def _modules(heap: Heap) -> Dict[str, Tuple[str, int, int, int]]:
    """Build id, start, end and bias of each module, where it was first."""
    found: Dict[str, Tuple[str, int, int, int]] = {}
    table = heap.modules
    for path, build_id, *place in zip(
        table.path, table.build_id, table.start, table.end, table.bias
    ):
        start, end, bias = place
        found.setdefault(heap.strings[path], (heap.strings[build_id], start, end, bias))
    return found


def _samples(profile: _Profile, parts: Parts, query: Query) -> None:
    for heap, live in parts:
        columns = []
        for _, _, value in _TYPES:
            one = Query(query.by, value, False, query.include, query.exclude)
            sums = value_sums(heap, live, one)
            columns.append(list(rounded(sums.bytes if one.ranks_bytes else sums.blocks)))
        modules = _modules(heap)
        stacks: Dict[int, bytes] = {}
        pid = heap.head.text("pid") if len(parts) > 1 else None
        more = profile.label("pid", pid) if pid else b""
        labels = [profile.label("domain", name) + more for name in heap.domain_names]
        for node, domain, *values in zip(heap.sites.node, heap.sites.domain, *columns):
            if not any(values):
                continue
            stack = stacks.get(node)
            if stack is None:
                ids = [profile.location(heap, one, modules) for one in heap.stack(node)]
                stack = stacks[node] = packed(1, ids)
            profile.body.append(message(2, stack + packed(2, values) + labels[domain]))


def pprof(parts: Parts, query: Query, comments: Sequence[str]) -> bytes:
    """The profile of merged snapshots; *comments* are shown by `go tool pprof -comments`."""
    heads = [heap.head for heap, _ in parts]
    profile = _Profile(heads[0].text("exe") or "python")
    types = [message(1, profile.value_type(name, unit)) for name, unit, _ in _TYPES]
    _samples(profile, parts, query)
    taken = max((head.number("time") or 0.0 for head in heads), default=0.0)
    start = min((head.number("start") or taken for head in heads), default=taken)
    tail = [
        number(9, int(taken * 1e9)),
        number(10, max(int((taken - start) * 1e9), 0)),
        message(11, profile.value_type("space", "bytes")),
        number(12, max(heads[0].rate, 1)),
        packed(13, [profile.string(printable(text)) for text in comments]),
        number(14, profile.string(_DEFAULT)),
    ]
    body = b"".join(types + profile.body + tail) + profile.strings()
    out = io.BytesIO()
    # The file's own time would make equal profiles different files.
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as file:
        file.write(body)
    return out.getvalue()
