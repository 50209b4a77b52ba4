# SPDX-License-Identifier: MIT
"""An independent reader of pprof's profile.proto, for tests: bytes to plain lists.

Written from the published definition of the format; it shares no code with the writer.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Tuple


def fields(data: bytes) -> Iterator[Tuple[int, Any]]:
    """Field numbers and values of one message: numbers, or bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2, "wire type %d" % (key & 7)
            length = varint()
            assert at + length <= len(data)
            yield key >> 3, data[at : at + length]
            at += length


def numbers(data: Any) -> List[int]:
    """A packed field."""
    if isinstance(data, int):
        return [data]
    return [value for _, value in fields(b"".join(b"\x08" + one for one in _varints(data)))]


def _varints(data: bytes) -> Iterator[bytes]:
    start = 0
    for at, byte in enumerate(data):
        if byte < 0x80:
            yield data[start : at + 1]
            start = at + 1


@dataclass
class Decoded:
    strings: List[str] = field(default_factory=list)
    types: List[Tuple[str, str]] = field(default_factory=list)
    #: Values, stack as (mapping's file, address, function, file, first line, line), labels.
    samples: List[Tuple[List[int], List[Tuple[Any, ...]], Dict[str, str]]] = field(
        default_factory=list
    )
    mappings: Dict[int, Dict[int, Any]] = field(default_factory=dict)
    plain: Dict[int, int] = field(default_factory=dict)
    comments: List[str] = field(default_factory=list)

    def totals(self) -> Dict[str, int]:
        columns = zip(*(values for values, _, _ in self.samples))
        return {name: sum(column) for (name, _), column in zip(self.types, columns)}


def decode(data: bytes) -> Decoded:
    raw: Dict[int, List[Any]] = {}
    for number, value in fields(gzip.decompress(data)):
        raw.setdefault(number, []).append(value)
    found = Decoded()
    found.strings = [one.decode() for one in raw[6]]
    text = found.strings.__getitem__
    functions = {f[1]: f for f in (dict(fields(one)) for one in raw.get(5, []))}
    found.mappings = {m[1]: m for m in (dict(fields(one)) for one in raw.get(3, []))}
    locations = {}
    for one in raw.get(4, []):
        location = dict(fields(one))
        line = dict(fields(location[4]))
        function = functions[line[1]]
        locations[location[1]] = (
            text(found.mappings[location[2]].get(5, 0)),
            location.get(3, 0),
            text(function[2]),
            text(function.get(4, 0)),
            function.get(5, 0),
            line.get(2, 0),
        )
    pairs = [dict(fields(one)) for one in raw[1]]
    found.types = [(text(one[1]), text(one[2])) for one in pairs]
    for one in raw.get(2, []):
        sample: Dict[int, List[Any]] = {}
        for number, value in fields(one):
            sample.setdefault(number, []).append(value)
        labels = [dict(fields(label)) for label in sample.get(3, [])]
        found.samples.append(
            (
                numbers(sample[2][0]),
                [locations[key] for key in numbers(sample[1][0])],
                {text(label[1]): text(label[2]) for label in labels},
            )
        )
    found.comments = [text(index) for one in raw.get(13, []) for index in numbers(one)]
    found.plain = {key: raw[key][0] for key in (9, 10, 12, 14) if key in raw}
    return found
