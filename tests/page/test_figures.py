# SPDX-License-Identifier: MIT
"""The figures on the page are the reader's: of every value, key, age, and growth."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any, Dict, List

import pytest

from browser import Opener
from helpers import mixed, read, save, small
from mprofile import Snapshot
from mprofile._books import Books
from mprofile._html import page_text
from mprofile._ids import read_heap
from mprofile._merge import merge
from mprofile._rows import Query
from mprofile._sums import sum_sites
from mprofile._text import Glyphs
from mprofile._units import bytes_and_error, count_and_error, share_text
from programs import CACHE, LOAD, MAIN, VIEW, hostile, service
from snapshot_writer import Program

VALUES = ("inuse_bytes", "inuse_blocks", "alloc_bytes", "alloc_blocks", "peak_bytes")
KEYS = ("lineno", "function", "filename", "domain", "type")


def totals(path: str, value: str, by: str) -> List[List[float]]:
    """Of every row of the report the figures, sorted as numbers."""
    status, out, err = read("--json", "-", "--value", value, "--by", by, path)
    assert status == 0, err
    names = ("bytes", "bytes_error", "blocks", "blocks_error")
    return sorted([row.get(name, 0.0) for name in names] for row in json.loads(out)["rows"])


def of_page(page: Any, value: str, by: str) -> List[List[float]]:
    kind, unit = value.split("_")
    page.run("mprofile.change({value: '%s', unit: '%s'})" % (kind, unit))
    page.run("mprofile.change({group: '%s'})" % by)
    rows: List[List[float]] = page.run(
        "mprofile.table.chosen.map(r => [r.bytes, Math.sqrt(r.bytesVar), r.blocks, Math.sqrt(r.blocksVar)])"
    )
    return sorted(rows)


@pytest.mark.parametrize("program", [service(), mixed(4096), small(4096), service(0), small(0)])
def test_rows_of_every_value_and_key(program: Program, open_page: Opener, tmp_path: Path) -> None:
    path = save(tmp_path / "a.bin", program.bytes())
    page = open_page(program)
    for value in VALUES:
        for by in KEYS:
            if by == "type" and (not value.startswith("inuse") or not any(program.types)):
                continue
            found, expected = of_page(page, value, by), totals(path, value, by)
            assert len(found) == len(expected), (value, by)
            for one, other in zip(found, expected):
                assert one == pytest.approx(other, rel=1e-9), (value, by)


def test_the_table_is_printed_as_the_reader_prints_it(open_page: Opener, tmp_path: Path) -> None:
    program = service()
    path = save(tmp_path / "a.bin", program.bytes())
    document = json.loads(read("--json", "-", path)[1])
    rows = open_page(program).rows()
    assert len(rows) == len(document["rows"])
    for cells, row in zip(rows, document["rows"]):
        size, error = bytes_and_error(row["bytes"], row["bytes_error"])
        count, count_error = count_and_error(row["blocks"], row["blocks_error"])
        share = share_text(row["bytes"], document["total"]["bytes"])
        assert cells[:5] == [size, "±" + error, share, count, "±" + count_error]
        assert cells[5] == "%s:%d" % (row["file"], row["line"])


def test_types_beside_a_line_are_those_of_the_reader(open_page: Opener, tmp_path: Path) -> None:
    program = service()
    document = json.loads(read("--json", "-", save(tmp_path / "a.bin", program.bytes()))[1])
    page = open_page(program)
    for unit in ("bytes", "blocks"):
        page.run("mprofile.change({unit: '%s'})" % unit)
        said = page.run(
            "Object.fromEntries([...document.querySelectorAll('#rows tr')].map(r => "
            "[r.querySelector('button').textContent, (r.querySelector('.types') || {textContent: null}).textContent]))"
        )
        assert len(said) == len(document["rows"])
        for row in document["rows"]:
            shares = [(100 * one[unit] / row[unit], one["type"]) for one in row["types"]]
            shares = sorted(shares, reverse=True)[:2]
            words = [n if round(s) >= 95 else "%s %.0f%%" % (n, s) for s, n in shares if s >= 10]
            assert said["%(file)s:%(line)d" % row] == (", ".join(words) or None)
    page.run("mprofile.change({value: 'alloc'})")
    assert page.run("document.querySelectorAll('.types').length") == 0


def test_units_are_the_readers(open_page: Opener) -> None:
    page = open_page(small())
    rng = random.Random(3)
    values = [0, 1, 999, 1000, 1023, 1024, 1152, 1179648, 10234.5, 9999, 9999.5, 102349, 2.5 * 2**20]
    values += [1024**k * n / 8 for k in range(5) for n in range(1, 40)]
    values += [10 ** rng.uniform(0, 16) for _ in range(300)]
    pairs = [[value, value * rng.choice((0, 1e-6, 0.0625, 0.3))] for value in values]
    pairs += [[0, error] for error in (0.3, 12.4, 1500, 409076, 2.5e9)]
    script = "JSON.parse(%r).map(([v, e]) => [...mprofile.figure(v, e * e, 'bytes'), ...mprofile.figure(v, e * e, 'blocks')])"
    found = page.run(script % json.dumps(pairs))
    for (value, error), one in zip(pairs, found):
        rooted = math.sqrt(error * error)
        assert one == [*bytes_and_error(value, rooted), *count_and_error(value, rooted)], value


def test_ages(open_page: Opener, tmp_path: Path) -> None:
    program = service()
    traces = Snapshot.load(save(tmp_path / "a.bin", program.bytes())).traces
    page = open_page(program)
    limits = page.run("mprofile.data.limits")
    assert limits[0] == 0 and limits == sorted(limits) and 600000 in limits
    for older, younger in ((0, 4), (3, len(limits)), (5, 9)):
        page.run("mprofile.change({from: %d, to: %d})" % (older, younger))
        upper = limits[younger] if younger < len(limits) else float("inf")
        expected = sum(
            trace.weight * trace.size for trace in traces if limits[older] <= round(trace.age * 1000) < upper
        )
        assert page.run("mprofile.state.everything.bytes") == pytest.approx(expected, rel=1e-9)
        assert page.run("mprofile.state.tree.root.value") == pytest.approx(expected, rel=1e-9)


def test_boxes_add_up(open_page: Opener) -> None:
    """Down, inverted, with frames hidden: children never exceed their parent, and miss only self."""
    page = open_page(service())
    script = """(() => {
        const tree = mprofile.state.tree; const bad = []; let boxes = 0; let leaves = 0;
        const visit = (one) => {
            boxes += 1;
            const sum = tree.kids(one).reduce((total, kid) => total + kid.value, 0);
            if (sum > one.value * (1 + 1e-9)) bad.push(one.frame);
            leaves += one.value - sum;
            tree.kids(one).forEach(visit);
        };
        visit(tree.root);
        return [bad, boxes, leaves / tree.root.value];
    })()"""
    for changes in ("{}", "{inverted: true}", "{hide: true}", "{inverted: false}"):
        page.run("mprofile.change(%s)" % changes)
        bad, boxes, leaves = page.run(script)
        assert bad == [] and boxes > 5 and leaves == pytest.approx(1)


def test_filters(open_page: Opener, tmp_path: Path) -> None:
    program = service()
    path = save(tmp_path / "a.bin", program.bytes())
    document = json.loads(read("--json", "-", "--exclude", "*/views.py", path)[1])
    page = open_page(program, "--exclude", "*/views.py")
    assert page.run("mprofile.state.everything.bytes") == pytest.approx(document["selected"]["bytes"])
    assert "Only files: not */views.py" in page.text("#explain")


def test_merged_workers(open_page: Opener, tmp_path: Path) -> None:
    parent = service()
    child = service()
    child.fork(0xC1, 4800, 3600000)
    child.block(123456, [VIEW, MAIN], time=3600000)
    paths = [save(tmp_path / name, one.bytes()) for name, one in (("a.bin", parent), ("b.bin", child))]
    document = json.loads(read("--json", "-", *paths)[1])
    page = open_page(paths[0], paths[1])
    assert page.run("mprofile.state.everything.bytes") == pytest.approx(document["total"]["bytes"])
    assert [row[5] for row in page.rows()][:3] == ["%(file)s:%(line)d" % row for row in document["rows"]][:3]


def compared(old: List[str], new: List[str]) -> str:
    heaps = [read_heap(path) for path in new]
    books = Books(heaps)
    parts, notes = merge(heaps)
    sums = [sum_sites(heap) for heap in parts]
    books.close(parts, Glyphs())
    before, _ = merge([read_heap(path) for path in old])
    return page_text(parts, sums, books, notes, Query(), "1.0.0", before)


def grown(**more: Any) -> Program:
    program = Program(4096, **more)
    for number in range(30):
        program.block(5000, [LOAD, MAIN], address=0x1000 + 0x1000 * number, time=1000)
    for number in range(10):
        program.block(3000, [VIEW, MAIN], address=0x900000 + 0x1000 * number, time=2000)
    return program


def test_growth(open_page: Opener, tmp_path: Path) -> None:
    """What is in both snapshots adds no error; what came or went does."""
    old = grown()
    new = grown(time="1700000090.0", clock_ms=90000, number=2)
    new.live = [row for row in new.live if row[0] != 0x900000]
    new.types.pop()
    for number in range(20):
        new.block(4000, [CACHE, MAIN], address=0x2000000 + 0x1000 * number, time=70000)
    paths = [save(tmp_path / name, one.bytes()) for name, one in (("o.bin", old), ("n.bin", new))]
    page = open_page(compared(paths[:1], paths[1:]))
    rows: Dict[str, List[str]] = {row[-1]: row for row in page.rows()}
    both = rows["/srv/app/models.py:12"]
    assert both[3:5] == ["0 B", "±0"] and both[1] != "±0"
    w, v = _weights(4000)
    size, error = bytes_and_error(20 * w * 4000, (20 * v) ** 0.5 * 4000)
    assert rows["/srv/app/cache.py:5"][3:5] == ["+" + size, "±" + error]
    w, v = _weights(3000)
    size, error = bytes_and_error(-w * 3000, v**0.5 * 3000)
    assert rows["/srv/app/views.py:33"][3:5] == [size, "±" + error]
    assert page.rows()[0][-1] == "/srv/app/cache.py:5"
    assert page.run("mprofile.state.colour") == "growth" and "grew" in page.text("#colours")


@pytest.mark.parametrize("width", [360, 1200])
def test_what_shrank_most_is_first_and_fits_a_phone(width: int, open_page: Opener, tmp_path: Path) -> None:
    """As the reader ranks: by how much, whichever way."""
    old, new = grown(), grown(uid="00000000000000b7")
    old.block(50_000_000, [CACHE, MAIN], address=0x5000000, time=70)
    new.block(9_000_000, [LOAD, MAIN], address=0x6000000, time=70)
    paths = [save(tmp_path / name, one.bytes()) for name, one in (("o.bin", old), ("n.bin", new))]
    page = open_page(compared(paths[:1], paths[1:]), width=width, height=900, phone=width < 500)
    assert page.rows()[0][-1] == "/srv/app/cache.py:5" and page.rows()[0][3].startswith("-47.7 MiB")
    assert page.run("document.documentElement.scrollWidth") <= width
    place = page.run("document.querySelector('td.place').getBoundingClientRect().width")
    assert place > 100  # pixels: a name without a break in each syllable


def test_growth_between_processes(open_page: Opener, tmp_path: Path) -> None:
    """Other processes are other samples: their errors add."""
    old, new = grown(), grown(uid="00000000000000b7")
    paths = [save(tmp_path / name, one.bytes()) for name, one in (("o.bin", old), ("n.bin", new))]
    page = open_page(compared(paths[:1], paths[1:]))
    w, v = _weights(5000)
    size, error = bytes_and_error(0.0, (2 * 30 * v) ** 0.5 * 5000)
    row = next(row for row in page.rows() if row[-1] == "/srv/app/models.py:12")
    assert size == "0 KiB"
    assert row[3:5] == [size, "±" + error]


@pytest.mark.parametrize("uid", ["00000000000000a1", "00000000000000b7"])
@pytest.mark.parametrize("value", VALUES)
def test_growth_is_the_readers(uid: str, value: str, open_page: Opener, tmp_path: Path) -> None:
    old = grown()
    new = grown(uid=uid, number=2, time="1700000090.0", clock_ms=90000)
    for number in range(40):
        new.block(4000 + number, [CACHE, MAIN], address=0x2000000 + 0x1000 * number, time=70000)
    before, after = save(tmp_path / "o.bin", old.bytes()), save(tmp_path / "n.bin", new.bytes())
    options = ["--value", value, "--diff", before]
    document = json.loads(read("--json", "-", *options, after)[1])
    page = open_page(after, *options)
    unit = value.split("_")[1]
    rows = page.run(
        "mprofile.table.chosen.map(r => [mprofile.frames.place(r.frame), r.bytes - r.thenBytes,"
        " Math.sqrt(r.growthBytesVar), r.blocks - r.thenBlocks, Math.sqrt(r.growthBlocksVar)])"
    )
    found = {row[0]: row[1:3] if unit == "bytes" else row[3:] for row in rows}
    assert document["rows"]
    for row in document["rows"]:
        expected = [row["change"][unit], row["change"][unit + "_error"]]
        assert found["%s:%d" % (row["file"], row["line"])] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def _weights(size: int) -> "tuple[float, float]":
    w = -1 / math.expm1(-size / 4096)
    return w, w * (w - 1)


def test_an_empty_snapshot_has_a_page(open_page: Opener) -> None:
    page = open_page(Program(4096))
    assert page.rows() == [] and "0 B" in page.text("#sum")


def test_nothing_in_a_name_gets_out(open_page: Opener, tmp_path: Path) -> None:
    page = open_page(hostile())
    rows = page.rows()
    assert len(rows) == 5
    text = page.run("document.body.innerText")
    assert "<img src=x onerror=alert(1)>" in text and "\\u202egpj.exe\\x1b[31m" in text
    assert page.run("document.querySelectorAll('img, script').length") == 2
    source = (tmp_path / "0.html").read_text("utf-8")
    body = source.split("</title>")[1]
    assert "onerror" not in body and "\u202e" not in source and "\0" not in source


def test_the_same_snapshot_gives_the_same_page(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bin", service().bytes())
    assert read("--html", "-", path) == read("--html", "-", path)


@pytest.mark.parametrize("options", [["--cumulative"], ["--by", "thread"], ["--json", "-"]])
def test_what_has_no_meaning_is_refused(options: List[str], tmp_path: Path) -> None:
    path = save(tmp_path / "a.bin", service().bytes())
    status, out, err = read("--html", "-", *options, path)
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert read("--html", path, path)[0] == 1
