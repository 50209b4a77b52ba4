# SPDX-License-Identifier: MIT
"""An independent writer of the snapshot format, for tests: from plain lists to bytes.

Written from core/FORMAT.md and nothing else; it shares no code with the reader, so that a mistake
in one is not repeated in the other.

A `Program` says things the way a test thinks of them: stacks as lists of frames, blocks as sizes.
`Writer` is the level below: sections from columns, as right or as wrong as a test wants them.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any, Dict, List, Optional, Sequence, Tuple

DOMAINS = {"raw": 0, "mem": 1, "obj": 2, "malloc": 3, "mmap": 4}

#: (file, line, function, first line); of native code (module, offset, symbol, NATIVE)
Frame = Tuple[str, int, str, int]
NATIVE = 0xFFFFFFFF


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def column(code: str, values: Sequence[Any]) -> bytes:
    return pad(struct.pack("<%d%s" % (len(values), code), *values))


def section(tag: bytes, payload: bytes, flags: int = 0) -> bytes:
    front = struct.pack("<4sIQI", tag, flags, len(payload), zlib.crc32(payload))
    return pad(front + struct.pack("<I", zlib.crc32(front)) + payload)


def header(major: int = 1, minor: int = 0, magic: bytes = b"\x89MPROF\r\n") -> bytes:
    front = magic + struct.pack("<HH", major, minor)
    return front + struct.pack("<I", zlib.crc32(front))


def finish(sections: Sequence[bytes], **kwargs: Any) -> bytes:
    """A whole file of the sections given, END added."""
    body = header(**kwargs) + b"".join(sections)
    return body + section(b"END ", struct.pack("<QQ", len(sections), len(body) + 40))


def head(values: Dict[str, Any]) -> bytes:
    lines = []
    for key, value in values.items():
        raw = str(value).encode("utf-8", "surrogatepass")
        plain = b"".join(
            b"%%%02X" % b if b < 0x20 or b in (0x25, 0x7F) else bytes([b]) for b in raw
        )
        lines.append(key.encode() + b"=" + plain + b"\n")
    return section(b"HEAD", b"".join(lines))


def strings(values: Sequence[bytes], first: int = 0) -> bytes:
    payload = struct.pack("<II", first, len(values)) + column("I", [len(v) for v in values])
    return section(b"STRS", pad(payload) + b"".join(values))


def table(tag: bytes, codes: str, rows: Sequence[Sequence[Any]], first: int = 0) -> bytes:
    columns = list(zip(*rows)) or [()] * len(codes)
    payload = struct.pack("<II", first, len(rows))
    return section(tag, payload + b"".join(column(c, v) for c, v in zip(codes, columns)))


def counted(tag: bytes, codes: str, rows: Sequence[Sequence[Any]]) -> bytes:
    columns = list(zip(*rows)) or [()] * len(codes)
    payload = struct.pack("<II", len(rows), 0)
    return section(tag, payload + b"".join(column(c, v) for c, v in zip(codes, columns)))


def proc(name: str, text: str) -> bytes:
    raw, body = name.encode(), text.encode()
    return section(b"PROC", struct.pack("<II", len(raw), len(body)) + pad(raw) + pad(body))


class Program:
    """A profiled process, told in a test's words."""

    def __init__(self, rate: int = 0, **head_values: Any) -> None:
        self.rate = rate
        self.head: Dict[str, Any] = {
            "mprofile": "1.0.0",
            "uid": "00000000000000a1",
            "pid": 4711,
            "number": 1,
            "trigger": "signal",
            "time": "1700000060.000000000",
            "clock_ms": 60000,
            "start": "1700000000.000000000",
            "python": "3.11.7",
            "rate": rate,
            "frames": 128,
        }
        self.head.update(head_values)
        self.strings: List[bytes] = [b""]
        self.functions: List[Tuple[int, int, int]] = []
        self.nodes: List[Tuple[int, int, int]] = []
        self.sites: List[List[Any]] = []
        self.live: List[Tuple[int, ...]] = []
        self.types: List[int] = []
        self.threads: List[Tuple[int, int, int]] = []
        self.rates: List[int] = []
        self.lineage: List[Tuple[int, int, int]] = [
            (int(self.head["uid"], 16), int(self.head["pid"]), 0)
        ]
        self.proc: List[Tuple[str, str]] = []
        self.modules: List[Tuple[int, int, int, int, int]] = []
        #: (address, own, copied, shared) of large blocks.
        self.resident: List[Tuple[int, int, int, int]] = []
        self._keys: Dict[Any, int] = {}

    def _row(self, rows: List[Any], key: Any, row: Any, base: int = 0) -> int:
        if key not in self._keys:
            self._keys[key] = len(rows) + base
            rows.append(row)
        return self._keys[key]

    def string(self, text: Any) -> int:
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return self._row(self.strings, ("s", raw), raw) if raw else 0

    def node(self, stack: Sequence[Frame]) -> int:
        """The node of a stack, nearest frame first."""
        node = 0
        for file, line, name, first in reversed(stack):
            entry = (self.string(name), self.string(file), first)
            func = self._row(self.functions, ("f", entry), entry)
            node = self._row(self.nodes, ("n", node, func, line), (node, func, line), 1)
        return node

    def site(self, stack: Sequence[Frame], domain: str = "obj") -> int:
        node = self.node(stack)
        row = [node, DOMAINS[domain], 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        return self._row(self.sites, ("t", node, domain), row)

    def thread(self, tid: int = 4711, ident: int = 0x7F00, name: str = "python") -> int:
        return self._row(self.threads, ("h", tid), (tid, ident, self.string(name)))

    def module(self, path: str, build_id: str, start: int, end: int, bias: int) -> None:
        self.modules.append((self.string(path), self.string(build_id), start, end, bias))

    def fork(self, uid: int, pid: int, clock_ms: int) -> None:
        """Go on as a child: what is allocated from now on is the child's own."""
        self.lineage.append((uid, pid, clock_ms))
        self.head.update(uid="%016x" % uid, pid=pid)

    def block(
        self,
        size: int,
        stack: Sequence[Frame],
        domain: str = "obj",
        address: Optional[int] = None,
        time: int = 1000,
        rate: Optional[int] = None,
        tid: int = 4711,
        name: str = "python",
        depth: Optional[int] = None,
        live: bool = True,
        type_name: str = "",
    ) -> None:
        """One sampled block, that adds to its site's sums, and is live or not."""
        drawn = self.rate if rate is None else rate
        site = self.site(stack, domain)
        sums = self.sites[site]
        w = 1.0 if drawn <= 1 else -1 / math.expm1(-max(size, 1) / drawn)
        more = [1, w, w * size, w * (w - 1), w * (w - 1) * size * size]
        if live:
            more += [w * size, w * (w - 1) * size * size]
        for index, value in enumerate(more):
            sums[2 + index] += value
        if not live:
            return
        place = 0x7F0000000000 + 16 * len(self.live) if address is None else address
        rate_row = self._row(self.rates, ("r", drawn), drawn)
        self.types.append(self.string(type_name))
        self.live.append(
            (
                place,
                size,
                time,
                site,
                self.thread(tid, tid + 0x7F00, name),
                rate_row,
                len(self.lineage) - 1,
                max(len(stack), 1) if depth is None else depth,
            )
        )

    def _live_section(self) -> bytes:
        if not any(self.types):
            return counted(b"LIVE", "QQQIIHHH", self.live)
        rows = [(*row, kind) for row, kind in zip(self.live, self.types)]
        return counted(b"LIVE", "QQQIIHHHI", rows)

    def sections(self) -> List[bytes]:
        values = dict(self.head, samples=len(self.live))
        return [
            head(values),
            strings(self.strings),
            table(b"FUNC", "III", self.functions),
            table(b"NODE", "III", self.nodes, 1),
            table(b"SITE", "IBQdddddd", self.sites),
            self._live_section(),
            table(b"THRD", "QQI", self.threads),
            counted(b"RATE", "Q", [(rate,) for rate in self.rates]),
            counted(b"LINE", "QQQ", self.lineage),
            *([table(b"MODS", "IIQQQ", self.modules)] if self.modules else []),
            *([counted(b"RESI", "QQQQ", self.resident)] if self.resident else []),
        ] + [proc(name, text) for name, text in self.proc]

    def bytes(self) -> bytes:
        return finish(self.sections())
