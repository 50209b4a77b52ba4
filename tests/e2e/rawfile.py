# SPDX-License-Identifier: MIT
"""A second, independent reading of the snapshot format: only what the tests ask, straight from core/FORMAT.md.

It shares nothing with the reader in tools/, so that a mistake in either shows as a difference. It
checks every checksum and every id, and refuses whatever the document does not allow.
"""
from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple, Union

MAGIC = b"\x89MPROF\r\n"
LARGEST_PAYLOAD = 1 << 20
WIDTHS = {"B": 1, "H": 2, "I": 4, "Q": 8, "d": 8}


class Frame(NamedTuple):
    name: str
    file: str
    firstline: int
    line: int


class Live(NamedTuple):
    address: int
    size: int
    time: int
    stack: Tuple[Frame, ...]  # nearest first
    domain: int
    tid: int
    rate: int
    generation: int
    depth: int

    @property
    def weight(self) -> float:
        """How many blocks of its kind the sample stands for."""
        if self.rate <= 1:
            return 1.0
        return 1.0 / -math.expm1(-max(self.size, 1) / self.rate)


class Site(NamedTuple):
    stack: Tuple[Frame, ...]
    domain: int
    alloc_samples: int
    alloc_blocks: float
    alloc_bytes: float


class RawFile:
    """head, live, sites, threads, lineage, proc: the file's tables with their ids resolved."""

    def __init__(self, path: Union[str, Path]) -> None:
        self.data = Path(path).read_bytes()
        self.head: Dict[str, str] = {}
        self.proc: Dict[str, str] = {}
        self._by_size: Dict[int, List[Live]] = {}
        self.lineage: List[Tuple[int, int, int]] = []
        self.threads: List[Tuple[int, int, str]] = []
        strings: Dict[int, str] = {}
        functions: Dict[int, Tuple[int, ...]] = {}
        nodes: Dict[int, Tuple[int, ...]] = {}
        sites: Dict[int, Tuple[Any, ...]] = {}
        rates: List[int] = []
        rows: List[Tuple[int, ...]] = []
        threads: Dict[int, Tuple[int, ...]] = {}
        for index, (tag, payload) in enumerate(self._sections()):
            assert (index == 0) == (tag == b"HEAD"), "HEAD comes first, and once"
            if tag == b"HEAD":
                self.head = dict(self._head_lines(payload))
            elif tag == b"STRS":
                first, count = struct.unpack_from("<II", payload)
                lengths = struct.unpack_from("<%dI" % count, payload, 8)
                at = (8 + 4 * count + 7) // 8 * 8
                for offset, length in enumerate(lengths):
                    strings[first + offset] = text(payload[at:at + length])
                    at += length
                assert at <= len(payload)
            elif tag == b"FUNC":
                functions.update(self._numbered(payload, "III"))
            elif tag == b"NODE":
                nodes.update(self._numbered(payload, "III"))
            elif tag == b"SITE":
                sites.update(self._numbered(payload, "IBQdddddd"))
            elif tag == b"LIVE":
                rows += columns(payload, "QQQIIHHH")[1]
            elif tag == b"THRD":
                threads.update(self._numbered(payload, "QQI"))
            elif tag == b"RATE":
                rates = [row[0] for row in columns(payload, "Q")[1]]
            elif tag == b"LINE":
                self.lineage = [tuple(row) for row in columns(payload, "QQQ")[1]]  # type: ignore[misc]
            elif tag == b"PROC":
                name, length = struct.unpack_from("<II", payload)
                body = 8 + (name + 7) // 8 * 8
                self.proc[text(payload[8:8 + name])] = text(payload[body:body + length])
        assert strings[0] == ""
        for number, (parent, _, _) in nodes.items():
            assert parent < number
        resolved: Dict[int, Tuple[Frame, ...]] = {0: ()}
        for number in sorted(nodes):
            parent, function, line = nodes[number]
            name, file, firstline = functions[function]
            resolved[number] = (Frame(strings[name], strings[file], firstline, line),) + resolved[parent]
        self.threads = [(tid, ident, strings[name]) for tid, ident, name in threads.values()]
        self.sites = [Site(resolved[row[0]], *row[1:5]) for row in sites.values()]
        self.live = [Live(address, size, time, resolved[sites[site][0]], sites[site][1], threads[thread][0],
                          rates[rate], generation, depth)
                     for address, size, time, site, thread, rate, generation, depth in rows]
        for sample in self.live:
            assert sample.generation < len(self.lineage)

    def _sections(self) -> List[Tuple[bytes, bytes]]:
        data = self.data
        assert data[:8] == MAGIC, "not a snapshot"
        major, _minor, checksum = struct.unpack_from("<HHI", data, 8)
        assert major == 1 and checksum == zlib.crc32(data[:12])
        found: List[Tuple[bytes, bytes]] = []
        at = 16
        while True:
            assert at + 24 <= len(data), "cut short at %d" % at
            tag, flags, length, payload_sum, header_sum = struct.unpack_from("<4sIQII", data, at)
            assert header_sum == zlib.crc32(data[at:at + 20]), "header at %d" % at
            assert length <= LARGEST_PAYLOAD and flags & ~1 == 0
            payload = data[at + 24:at + 24 + length]
            assert len(payload) == length and payload_sum == zlib.crc32(payload), "payload at %d" % at
            at += 24 + (length + 7) // 8 * 8
            if tag == b"END ":
                assert struct.unpack_from("<QQ", payload) == (len(found), len(data)) and at == len(data)
                return found
            found.append((tag, payload))

    @staticmethod
    def _head_lines(payload: bytes) -> List[Tuple[str, str]]:
        pairs = []
        for line in payload.split(b"\n")[:-1]:
            key, _, value = line.partition(b"=")
            pieces = value.split(b"%")
            plain = pieces[0] + b"".join(bytes([int(piece[:2], 16)]) + piece[2:] for piece in pieces[1:])
            pairs.append((key.decode(), text(plain)))
        assert len(dict(pairs)) == len(pairs), "a key appears once"
        return pairs

    @staticmethod
    def _numbered(payload: bytes, form: str) -> Dict[int, Tuple[Any, ...]]:
        first, rows = columns(payload, form, first=True)
        return {first + offset: row for offset, row in enumerate(rows)}

    def samples(self, size: int) -> List[Live]:
        """Live samples of exactly that many bytes asked for."""
        if not self._by_size:
            for sample in self.live:
                self._by_size.setdefault(sample.size, []).append(sample)
        return self._by_size.get(size, [])

    def inherited(self) -> List[Live]:
        return [sample for sample in self.live if sample.generation < len(self.lineage) - 1]


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def columns(payload: bytes, form: str, first: bool = False) -> Tuple[int, List[Tuple[Any, ...]]]:
    """The rows of a table that is stored column by column, and its first id."""
    number, count = struct.unpack_from("<II", payload)
    if not first:
        number, count = 0, number
    at, found = 8, []
    for code in form:
        found.append(struct.unpack_from("<%d%s" % (count, code), payload, at))
        at = (at + count * WIDTHS[code] + 7) // 8 * 8
    return number, list(zip(*found))
