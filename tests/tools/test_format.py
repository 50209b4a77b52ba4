# SPDX-License-Identifier: MIT
"""The container and the tables: what is read, and what is refused with which words."""

from __future__ import annotations

import struct
from typing import Any, List

import pytest

import snapshot_writer as sw
from helpers import LOAD, MAIN, save, small
from mprofile import SnapshotError
from mprofile._heap import Heap
from mprofile._ids import read_heap


def load(tmp_path: Any, data: bytes, salvage: bool = False) -> Heap:
    return read_heap(save(tmp_path / "x.bin", data), salvage)


def refused(tmp_path: Any, data: bytes) -> SnapshotError:
    with pytest.raises(SnapshotError) as caught:
        load(tmp_path, data)
    assert caught.value.path.endswith("x.bin")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return caught.value


def test_every_column_arrives(tmp_path: Any) -> None:
    program = small(4096)
    program.proc.append(("/proc/self/status", "VmRSS:\t 12 kB\n"))
    heap = load(tmp_path, program.bytes())
    assert heap.strings == [s.decode() for s in program.strings]
    assert list(zip(*heap.live.columns())) == [(*row, 0) for row in program.live]
    nodes = zip(heap.nodes.parent, heap.nodes.func, heap.nodes.line)
    assert list(nodes)[1:] == program.nodes
    functions = heap.functions
    assert list(zip(functions.name, functions.file, functions.firstline)) == program.functions
    assert [list(row) for row in zip(*vars(heap.sites).values())] == program.sites
    assert list(zip(*vars(heap.threads).values())) == program.threads
    assert list(heap.rates) == program.rates
    assert list(zip(*vars(heap.lineage).values())) == program.lineage
    assert heap.proc == dict(program.proc)
    assert heap.dropped == []


def test_sections_in_any_order_and_in_pieces(tmp_path: Any) -> None:
    program = small()
    whole = load(tmp_path, program.bytes())
    pieces = [sw.strings(program.strings[at : at + 2], at) for at in range(0, 30, 2)]
    pieces += [sw.table(b"FUNC", "III", program.functions[at : at + 1], at) for at in range(9)]
    pieces += [
        sw.table(b"NODE", "III", program.nodes[at : at + 2], at + 1) for at in range(0, 16, 2)
    ]
    pieces += [
        sw.table(b"SITE", "IBQdddddd", program.sites[at : at + 3], at) for at in range(0, 9, 3)
    ]
    pieces += [sw.counted(b"LIVE", "QQQIIHHH", [row]) for row in program.live[::-1]]
    pieces += program.sections()[6:]
    heap = load(tmp_path, sw.finish([program.sections()[0]] + pieces[::-1]))
    assert heap.strings == whole.strings and heap.nodes == whole.nodes
    assert heap.sites == whole.sites and heap.live == whole.live


def test_a_newer_minor_version_is_read(tmp_path: Any) -> None:
    program = small()
    head, *rest = program.sections()
    longer = sw.section(b"RATE", struct.pack("<IIQ", 1, 0, 0) + b"more to come")
    rest = [longer if section[:4] == b"RATE" else section for section in rest]
    unknown = sw.section(b"NEW!", b"unheard of")
    heap = load(tmp_path, sw.finish([head, unknown] + rest, minor=7))
    assert heap.version == (1, 7) and len(heap.live) == len(program.live)


def test_a_newer_major_version_is_refused_by_name(tmp_path: Any) -> None:
    error = refused(tmp_path, sw.finish(small().sections(), major=2, minor=3))
    assert error.offset == 8 and "version 2.3" in error.reason and "version 1" in error.reason


def test_a_section_that_must_be_known(tmp_path: Any) -> None:
    sections = small().sections()
    error = refused(tmp_path, sw.finish(sections + [sw.section(b"NEW!", b"", 1)]))
    assert "'NEW!'" in error.reason and error.offset == 16 + sum(map(len, sections))


def test_text_that_is_no_utf8(tmp_path: Any) -> None:
    program = small()
    program.strings += [b"\xed\xa0\x80", b"\xff\xfe", "\u00e9\U0001f600".encode()]
    heap = load(tmp_path, program.bytes())
    assert heap.strings[-3:] == ["\ud800", "\\xff\\xfe", "\u00e9\U0001f600"]


def test_empty_snapshots(tmp_path: Any) -> None:
    assert len(load(tmp_path, sw.finish([sw.head({})])).live) == 0
    assert len(load(tmp_path, sw.Program().bytes()).live) == 0


def replaced(tag: bytes, section: bytes) -> bytes:
    return sw.finish([section if s[:4] == tag else s for s in small().sections()])


def changed(rows: str, row: int, field: int, value: Any) -> bytes:
    program = small()
    table: List[Any] = getattr(program, rows)
    table[row] = tuple(value if i == field else old for i, old in enumerate(table[row]))
    return program.bytes()


LIVE = ("address", "size", "time", "site", "thread", "rate", "generation")
CRAFTED = {
    "live names no site": (changed("live", 3, 3, 999), "site 999"),
    "live names no thread": (changed("live", 3, 4, 2), "thread 2"),
    "live names no rate": (changed("live", 0, 5, 1), "rate 1"),
    "live names no process": (changed("live", 0, 6, 65535), "generation 65535"),
    "a node is its own parent": (changed("nodes", 2, 0, 3), "node 3 has parent 3"),
    "a parent comes later": (changed("nodes", 0, 0, 2), "node 1 has parent 2"),
    "a node names no function": (changed("nodes", 2, 1, 77), "function 77"),
    "a function names no string": (changed("functions", 1, 1, 2**32 - 1), "string 4294967295"),
    "a site names no node": (changed("sites", 0, 0, 50), "node 50"),
    "a site of no domain": (changed("sites", 0, 1, 5), "domain 5"),
    "a sum that is no number": (changed("sites", 1, 4, float("nan")), "site 1"),
    "a sum without end": (changed("sites", 1, 8, float("inf")), "site 1"),
    "a negative sum": (changed("sites", 1, 3, -1.0), "site 1"),
    "a thread names no string": (changed("threads", 0, 2, 99), "string 99"),
    "rows claimed that are not there": (
        replaced(b"LIVE", sw.section(b"LIVE", struct.pack("<IIQ", 2**32 - 1, 0, 0))),
        "4294967295 rows",
    ),
    "strings longer than the section": (
        replaced(b"STRS", sw.section(b"STRS", struct.pack("<IIII", 0, 1, 2**32 - 1, 0))),
        "a string",
    ),
    "a first row far away": (
        replaced(b"FUNC", sw.table(b"FUNC", "III", small().functions, 2**32 - 9)),
        "rows 0 to 4294967286 are missing",
    ),
    "a payload cut below its row count": (replaced(b"NODE", sw.section(b"NODE", b"1234")), "NODE"),
    "text longer than the section": (
        sw.finish(small().sections() + [sw.section(b"PROC", struct.pack("<IIQ", 4, 2**31, 0))]),
        "the text",
    ),
    "rows given twice": (
        sw.finish(small().sections() + [sw.table(b"THRD", "QQI", [(1, 1, 0)], 1)]),
        "expected row 2",
    ),
    "rates given twice": (
        sw.finish(small().sections() + [sw.counted(b"RATE", "Q", [(1,)])]),
        "twice",
    ),
    "no head": (sw.finish(small().sections()[1:]), "'HEAD'"),
    "bytes behind the end": (small().bytes() + bytes(8), "bytes; its end says"),
    "a wrong number of sections": (
        small().bytes()[:-40] + sw.section(b"END ", struct.pack("<QQ", 3, len(small().bytes()))),
        "its end says 3",
    ),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted(tmp_path: Any, name: str) -> None:
    data, words = CRAFTED[name]
    assert words in refused(tmp_path, data).reason
    load(tmp_path, data, salvage=True)


def test_a_payload_too_long_is_refused_before_it_is_read(tmp_path: Any) -> None:
    front = struct.pack("<4sIQI", b"LIVE", 0, 2**63, 0)
    claim = front + struct.pack("<I", sw.zlib.crc32(front))
    sections = small().sections()
    error = refused(tmp_path, sw.header() + sections[0] + claim)
    assert str(2**63) in error.reason and "1048576" in error.reason
    exact = sw.section(b"NEW!", bytes(1 << 20))
    assert len(load(tmp_path, sw.finish(sections + [exact])).live)
    refused(tmp_path, sw.finish(sections + [sw.section(b"NEW!", bytes((1 << 20) + 1))]))


def test_salvage_keeps_what_is_whole(tmp_path: Any) -> None:
    program = small()
    sections = program.sections()
    sections[5:6] = [sw.counted(b"LIVE", "QQQIIHHH", [row]) for row in program.live]
    data = bytearray(sw.finish(sections))
    at = 16 + sum(map(len, sections[:7])) + 30  # inside the third LIVE section's payload
    data[at] ^= 0xFF
    heap = load(tmp_path, bytes(data), salvage=True)
    assert len(heap.live) == len(program.live) - 1
    assert "LIVE" in heap.dropped[0] and "offset" in heap.dropped[0]
    data[at] ^= 0xFF
    data[at - 30 + 9] ^= 0xFF  # its length: the next section must be looked for
    heap = load(tmp_path, bytes(data), salvage=True)
    assert len(heap.live) == len(program.live) - 1


def test_salvage_keeps_samples_whose_site_is_gone(tmp_path: Any) -> None:
    program = small()
    sections = program.sections()
    # The second half of the sites is lost.
    half = len(program.sites) // 2
    sections[4] = sw.table(b"SITE", "IBQdddddd", program.sites[:half])
    heap = load(tmp_path, sw.finish(sections), salvage=True)
    assert len(heap.live) == len(program.live)
    lost = sum(row[3] >= half for row in program.live)
    assert list(heap.live.site).count(half) == lost > 0
    assert heap.sites.node[half] == 0
    assert any("live samples" in line for line in heap.dropped)
    # The first half of the strings is lost, so that there is a hole in the table.
    sections = program.sections()
    sections[1] = sw.strings(program.strings[4:], 4)
    heap = load(tmp_path, sw.finish(sections), salvage=True)
    assert len(heap.live) == len(program.live)
    assert any("the sites of" in line for line in heap.dropped)


def test_live_weights_in_merges_of_rates(tmp_path: Any) -> None:
    program = sw.Program(1000)
    program.block(100, [LOAD, MAIN])
    program.block(100, [LOAD, MAIN], rate=1)
    heap = load(tmp_path, program.bytes())
    assert list(heap.rates) == [1000, 1] and list(heap.live.rate) == [0, 1]
