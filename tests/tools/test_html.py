# SPDX-License-Identifier: MIT
"""What a page is made of, without a browser: bins of age, rows, sources, the page's policy."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import struct
import zlib
from array import array
from typing import Any, Dict, Tuple

import pytest

from helpers import LOAD, MAIN, read, save
from mprofile._agebins import age_bins, age_limits
from mprofile._html import MODULES
from mprofile._ids import read_heap
from snapshot_writer import NATIVE, Program

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "tools", "mprofile", "page")


def unpacked(page: str) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    found = re.search(r'id="data">([A-Za-z0-9+/=]*)</script>', page)
    assert found
    raw = zlib.decompress(base64.b64decode(found.group(1)))
    (length,) = struct.unpack_from("<I", raw)
    assert (length + 4) % 8 == 0
    facts = json.loads(raw[4 : 4 + length])
    columns = {}
    for name, code, at, count in facts["columns"]:
        column: Any = array(code)
        column.frombytes(raw[4 + length + at :][: count * column.itemsize])
        columns[name] = column
    return facts, columns


def page_of(program: Program, tmp_path: Any, *options: str) -> str:
    status, out, err = read("--html", "-", *options, save(tmp_path / "a.bin", program.bytes()))
    assert (status, err) == (0, "")
    return out


def test_limits_are_round_and_bounded() -> None:
    assert age_limits(0) == [0]
    assert age_limits(60) == [0, 1, 2, 5, 10, 20, 50]
    year = age_limits(366 * 86400 * 1000)
    assert year[0] == 0 and year == sorted(set(year)) and 20 < len(year) < 64
    assert 3600000 in year and 86400000 in year


def test_an_age_is_in_the_bin_whose_limit_it_reaches(tmp_path: Any) -> None:
    program = Program(0)
    ages = [0, 1, 999, 1000, 1001, 1999, 2000, 59999, 60000]
    for age in ages:
        program.block(8, [MAIN], time=60000 - age)
    program.block(8, [MAIN], time=60500)
    heap = read_heap(save(tmp_path / "a.bin", program.bytes()))
    limits = [0, 1000, 2000, 60000]
    assert list(age_bins(heap, limits)) == [0, 0, 0, 1, 1, 1, 2, 2, 3, 0]
    del heap.head.values["clock_ms"]
    assert set(age_bins(heap, limits)) == {0}


def test_rows_are_by_stack_type_and_age(tmp_path: Any) -> None:
    program = Program(0)
    for _ in range(3):
        program.block(100, [LOAD, MAIN], time=59000, type_name="dict")
    program.block(50, [LOAD, MAIN], time=10, type_name="dict")
    program.block(7, [LOAD, MAIN], time=10)
    facts, col = unpacked(page_of(program, tmp_path))
    strings = facts["strings"]
    rows = zip(col["row_type"], col["row_now"], col["row_bytes"], col["row_blocks"])
    limit = facts["limits"].index(1000)
    assert sorted((strings[kind], now == limit, size, count) for kind, now, size, count in rows) == [
        ("", False, 7.0, 1.0),
        ("dict", False, 50.0, 1.0),
        ("dict", True, 300.0, 3.0),
    ]
    assert set(col["row_then"]) == {255} and len(col["stack_node"]) == 1


def test_a_block_in_both_snapshots_is_one_row(tmp_path: Any) -> None:
    """With its age then and now; what went has no age now, what came none then, and strangers share nothing."""
    def program(*blocks: int, **head: Any) -> Program:
        one = Program(4096, **head)
        for number in blocks:
            one.block(1000 + number, [LOAD, MAIN], address=0x1000 + 16 * number, time=1000 * number)
        return one

    old = save(tmp_path / "old.bin", program(1, 2, 3, clock_ms=10000).bytes())
    later = program(2, 3, 4, clock_ms=60000)
    facts, col = unpacked(page_of(later, tmp_path, "--diff", old))
    limits = facts["limits"]

    def bin_of(age: int) -> int:
        return max(number for number, limit in enumerate(limits) if limit <= age)

    rows = {(now, then): blocks for now, then, blocks in zip(col["row_now"], col["row_then"], col["row_blocks"])}
    both, went, came = (bin_of(57000), bin_of(7000)), (255, bin_of(9000)), (bin_of(56000), 255)
    assert set(rows) == {both, went, came}
    one, two, three = (1 / -math.expm1(-size / 4096) for size in (1001, 1002, 1003))
    assert rows[went] == pytest.approx(one) and rows[both] == pytest.approx(two + three)
    strangers = save(tmp_path / "other.bin", program(1, 2, 3, clock_ms=10000, uid="00000000000000ff").bytes())
    _, col = unpacked(page_of(later, tmp_path, "--diff", strangers))
    assert all(255 in pair for pair in zip(col["row_now"], col["row_then"]))


def test_only_python_files_are_shown(tmp_path: Any) -> None:
    secret = tmp_path / "secret.txt"
    source = tmp_path / "code.py"
    for file in (secret, source):
        file.write_text("the only line of %s\n" % file.name)
        os.utime(str(file), (1, 1))
    program = Program(0)
    program.block(9, [(str(secret), 1, "f", 1)])
    program.block(9, [(str(source), 1, "g", 1)])
    program.block(9, [(str(source), 1, "native", NATIVE)])
    facts, col = unpacked(page_of(program, tmp_path))
    assert sorted(facts["strings"][i] for i in col["frame_source"]) == ["", "", "", "the only line of code.py"]


def test_the_policy_allows_what_is_written_and_nothing_else(tmp_path: Any) -> None:
    page = page_of(Program(0), tmp_path)
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)
    script = re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy and script and style
    for text, kind in ((script.group(1), "script-src"), (style.group(1), "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert "%s 'sha256-%s'" % (kind, digest) in policy.group(1)
    assert "default-src 'none'" in policy.group(1) and "unsafe" not in policy.group(1)
    assert not re.search(r"\b(import|export)\b [^(]*from", script.group(1))
    # The markup names no address but the empty icon.
    markup = page.replace(script.group(1), "").replace(style.group(1), "")
    assert re.findall(r'(?:src|href)="([^"]*)"', markup) == ["data:,"]


def test_every_module_is_in_the_page() -> None:
    there = [name for name in os.listdir(PAGE) if name.endswith(".js")]
    assert sorted(there) == sorted(MODULES)
    seen = set()
    for name in MODULES:
        with open(os.path.join(PAGE, name), encoding="utf-8") as file:
            text = file.read()
        assert text.isascii() or "\u202e" not in text
        needed = set(re.findall(r'^import .* from "\./(.*)";$', text, re.MULTILINE))
        assert needed <= seen, name
        seen.add(name)


@pytest.mark.parametrize("by", ["lineno", "type"])
def test_the_page_opens_with_what_was_asked(by: str, tmp_path: Any) -> None:
    program = Program(0)
    program.block(1, [MAIN], type_name="int")
    facts, _ = unpacked(page_of(program, tmp_path, "--by", by, "--value", "inuse_blocks"))
    assert (facts["group"], facts["value"]) == (by, "inuse_blocks")


@pytest.mark.parametrize(
    "options, words",
    [
        (["--cumulative"], "--cumulative goes with a table"),
        (["--by", "thread"], "--html has no table by thread; it has lineno, function, filename, type, domain"),
    ],
)
def test_what_a_page_has_not_is_refused_and_nothing_written(options: Any, words: str, tmp_path: Any) -> None:
    program = Program(0)
    program.block(8, [MAIN])
    page = tmp_path / "page.html"
    status, out, err = read("--html", str(page), *options, save(tmp_path / "a.bin", program.bytes()))
    assert (status, out) == (1, "") and words in err and err.count("\n") == 1
    assert not page.exists()
