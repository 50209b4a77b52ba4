# SPDX-License-Identifier: MIT
"""A file cut at each byte, changed at each byte, and at random: one clear line, and never more.

The fuzz is deterministic: its seeds are the test's parameters, so a failure can be run again.
"""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from typing import Any, Optional

import pytest

import snapshot_writer as sw
from helpers import mixed, small
from mprofile import SnapshotError
from mprofile._format import Container
from mprofile._books import Books, rss_lines
from mprofile._headreport import HeadReport
from mprofile._heap import Heap
from mprofile._ids import read_heap
from mprofile._report import TableReport
from mprofile._rows import Query, run
from mprofile._sums import sum_sites
from mprofile._text import Glyphs
from mprofile._where import Where

QUERIES = [
    Query("lineno"),
    Query("function", "alloc_blocks", True),
    Query("traceback", "peak_bytes"),
    Query("thread"),
    Query("domain", "alloc_bytes"),
    Query("generation", "inuse_blocks", include=["*a*"]),
    Query("filename", cumulative=True, exclude=["*b*"]),
]


def report(heap: Heap) -> None:
    """Make every kind of report; check that no line could drive a terminal."""
    sums = [sum_sites(heap)]
    books = Books([heap])
    books.close([heap], Glyphs())
    lines = list(HeadReport(80, Glyphs()).lines([heap], sums, books.short()))
    lines += rss_lines(books, 80, Glyphs())
    for query in QUERIES:
        lines += TableReport(Where(80, Glyphs())).lines(run([heap], sums, query), 0)
    assert all(line.isprintable() for line in lines)


def attempt(path: str, data: bytes, salvage: bool = False) -> Optional[SnapshotError]:
    with open(path, "wb") as file:
        file.write(data)
    try:
        heap = read_heap(path, salvage)
    except SnapshotError as error:
        assert str(error).startswith(path + ": at offset ") and "\n" not in str(error)
        assert 0 <= error.offset <= len(data)
        return error
    report(heap)
    return None


def sized() -> sw.Program:
    """Native frames, their modules, and all that an account is made of."""
    program = mixed(4096, samples=9, arena_bytes=1 << 20, own_bytes=5000, peak_bytes=60000)
    program.head.update({"malloc.clock_ms": 100, "malloc.used": 200000, "malloc.free": 1000})
    program.proc.append(("/proc/self/status", "VmRSS:\t 60000 kB\nRssFile:\t 5000 kB\n"))
    return program


PROGRAMS = {"small": lambda: small(4096), "sized": sized}
programs = pytest.mark.parametrize("program", PROGRAMS)


@programs
def test_cut_at_each_byte(tmp_path: Any, program: str) -> None:
    data, path = PROGRAMS[program]().bytes(), str(tmp_path / "x.bin")
    assert attempt(path, data) is None
    for length in range(len(data)):
        error = attempt(path, data[:length])
        assert error is not None
        assert length < 16 or "cut short" in error.reason
        salvaged = attempt(path, data[:length], salvage=True)
        assert (salvaged is None) == (length >= 16)


@programs
def test_each_byte_changed(tmp_path: Any, program: str) -> None:
    data, path = PROGRAMS[program]().bytes(), str(tmp_path / "x.bin")
    for at in range(len(data)):
        for flip in (0xFF, 0x01):
            bad = bytearray(data)
            bad[at] ^= flip
            assert attempt(path, bytes(bad)) is not None, at
            assert attempt(path, bytes(bad), salvage=True) is None, at


def resealed(data: bytearray) -> bytes:
    """Put the checksums right again, so that what is wrong is met behind them."""
    at = 16
    while at + 24 <= len(data):
        tag, flags, length = struct.unpack_from("<4sIQ", data, at)
        if length > len(data):
            break
        crc = zlib.crc32(bytes(data[at + 24 : at + 24 + length]))
        struct.pack_into("<I", data, at + 16, crc)
        struct.pack_into("<I", data, at + 20, zlib.crc32(bytes(data[at : at + 20])))
        at += 24 + (length + 7 & ~7)
    return bytes(data)


@programs
@pytest.mark.parametrize("seed", range(6))
def test_fuzz_behind_the_checksums(tmp_path: Any, seed: int, program: str) -> None:
    rng = random.Random(seed)
    good, path = PROGRAMS[program]().bytes(), str(tmp_path / "x.bin")
    read = 0
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(16, len(bad) - 4)
            width = rng.choice((1, 2, 4))
            value = rng.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0xFFFFFFFF, rng.getrandbits(32)))
            bad[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        read += attempt(path, resealed(bad)) is None
        attempt(path, resealed(bad), salvage=True)
    assert read > 0


@pytest.mark.parametrize("seed", range(4))
def test_fuzz_of_sections(tmp_path: Any, seed: int) -> None:
    """Sections left out, doubled, shuffled, cut: all with right checksums."""
    rng = random.Random(100 + seed)
    path = str(tmp_path / "x.bin")
    for _ in range(150):
        make = rng.choice((small, mixed))
        head, *sections = make(rng.choice((0, 512, 2**63))).sections()
        rng.shuffle(sections)
        for _ in range(rng.randrange(3)):
            victim = rng.randrange(len(sections))
            kind = rng.randrange(3)
            if kind == 0:
                del sections[victim]
            elif kind == 1:
                sections.append(sections[victim])
            else:
                whole = sections[victim]
                payload = whole[24 : rng.randrange(24, len(whole))]
                sections[victim] = sw.section(whole[:4], payload)
        data = sw.finish([head] + sections)
        attempt(path, data)
        attempt(path, data, salvage=True)


def test_noise(tmp_path: Any) -> None:
    rng = random.Random(9)
    path = str(tmp_path / "x.bin")
    for _ in range(50):
        noise = bytes(rng.getrandbits(8) for _ in range(rng.randrange(400)))
        assert attempt(path, noise) is not None
        assert attempt(path, sw.header() + noise) is not None
        attempt(path, sw.header() + noise, salvage=True)


def test_memory_is_bounded_by_the_file(tmp_path: Any) -> None:
    """Claims of billions of rows cost nothing, salvaging or not."""
    path = str(tmp_path / "x.bin")
    far = [sw.table(b"SITE", "IBQdddddd", small().sites, 2**31)]
    far += [sw.table(b"NODE", "III", small().nodes, 2**32 - 99)]
    far += [sw.section(b"LIVE", struct.pack("<II", 2**32 - 1, 0))]
    data = sw.finish(small().sections()[:4] + far)
    tracemalloc.start()
    try:
        for salvage in (False, True):
            attempt(path, data, salvage)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_chain_of_nodes_costs_its_length_only(tmp_path: Any) -> None:
    """Each node a site, each deeper than the one before: nothing may walk them all."""
    program = sw.Program(0)
    n = 20_000
    program.strings.append(b"f")
    program.functions.append((1, 1, 1))
    program.nodes = [(i, 0, i % 50) for i in range(n)]
    program.sites = [[i + 1, 2, 1, 1.0, 8.0, 0.0, 0.0, 8.0, 0.0] for i in range(n)]
    program.live = [(i, 8, 0, i, 0, 0, 0, 65535) for i in range(n)]
    program.threads, program.rates = [(1, 1, 0)], [0]
    sections = [s for s in program.sections() if s[:4] not in (b"SITE", b"LIVE", b"NODE")]
    step = 5000
    for at in range(0, n, step):
        sections.append(sw.table(b"NODE", "III", program.nodes[at : at + step], at + 1))
        sections.append(sw.table(b"SITE", "IBQdddddd", program.sites[at : at + step], at))
        sections.append(sw.counted(b"LIVE", "QQQIIHHH", program.live[at : at + step]))
    path = str(tmp_path / "x.bin")
    with open(path, "wb") as file:
        file.write(sw.finish(sections))
    heap = read_heap(path)
    for query in QUERIES:
        list(TableReport(Where(80, Glyphs())).lines(run([heap], [sum_sites(heap)], query), 20))


def test_faults_are_kept_in_a_bounded_number(tmp_path: Any) -> None:
    path = str(tmp_path / "x.bin")
    wrong = bytearray(sw.section(b"NEW!", b"12345678"))
    wrong[-1] ^= 1
    with open(path, "wb") as file:
        file.write(sw.header() + sw.head({}) + bytes(wrong) * 3000)
    container = Container(path, salvage=True)
    assert len(list(container.sections())) == 1
    assert len(container.faults) == 20 and container.faults_left_out == 3000 - 19
