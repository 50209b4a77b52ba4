# SPDX-License-Identifier: MIT
"""Several processes side by side: a column each, that add up to the row."""

from __future__ import annotations

import json
from typing import Any, List

import pytest

from helpers import LOAD, MAIN, VIEW, read, save
from snapshot_writer import Program


def workers(count: int, folder: Any, rate: int = 4096) -> List[str]:
    """A parent, and children that inherited its blocks; the later, the more of its own each has."""
    paths = []
    parent = Program(rate, python="3.11.7")
    for _ in range(20):
        parent.block(3000, [LOAD, MAIN], type_name="dict")
    paths.append(save(folder / "w0.bin", parent.bytes()))
    for child in range(1, count):
        one = Program(rate, python="3.11.7")
        for _ in range(20):
            one.block(3000, [LOAD, MAIN], type_name="dict")
        one.fork(0xB0 + child, 5000 + child, 2000)
        for number in range(30 * child):
            one.block(3000, [VIEW, MAIN], address=0x100000 + 64 * number, time=3000)
        paths.append(save(folder / ("w%d.bin" % child), one.bytes()))
    return paths


def table(out: str) -> List[str]:
    """The title, and the rows that have their place on their line."""
    lines = out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.lstrip().startswith("all "))
    return [lines[at]] + [line for line in lines[at:] if line.endswith((":12", ":33"))]


def test_a_column_a_process(tmp_path: Any) -> None:
    paths = workers(3, tmp_path, rate=0)
    status, out, err = read("--side-by-side", *paths)
    assert (status, err) == (0, "")
    rows = table(out)
    # Their own 90,000 and 180,000 bytes; what was inherited is with the parent alone.
    assert rows[0].split()[:7] == "all ± pid 5002 pid 5001 pid".split()
    assert rows[1].split() == "264 KiB ±0 176 KiB 87.9 KiB - app/views.py:33".split()
    assert rows[2].split() == "58.6 KiB ±0 - - 58.6 KiB app/models.py:12".split()
    assert "in each of 3 processes, the heaviest first" in " ".join(out.split())
    assert out.count("dict") == 1  # types stand beside lines here, too


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("by", ["lineno", "filename", "function", "traceback", "type", "domain"])
def test_what_does_not_fit_is_added_up(by: str, columns: int, tmp_path: Any) -> None:
    paths = workers(12, tmp_path)
    out = read("--side-by-side", "--by", by, *paths, COLUMNS=str(columns))[1]
    assert max(map(len, out.splitlines())) <= columns
    title = table(out)[0]
    shown = title.count("pid ")
    if shown < 12:
        assert "%d others" % (12 - shown) in title
        # The heaviest have columns.
        assert all("pid %d" % (5011 - n) in title for n in range(shown))
    assert shown == 12 or columns < 300
    assert shown >= 2 or columns <= 40


def test_others_are_the_rest(tmp_path: Any) -> None:
    paths = workers(12, tmp_path, rate=0)
    title, row = table(read("--side-by-side", *paths, COLUMNS="80")[1])[:2]
    shown = title.count("pid ")
    values = [float(word) for word in row.split() if word[0].isdigit()]
    # All; a column each; the others: of 5.66 MiB, in three digits.
    assert len(values) == shown + 2 and values[0] == 5.66
    own = [90000 * (11 - n) for n in range(12)]
    assert values[1:-1] == pytest.approx([v / 1024 for v in own[:shown]], abs=0.6)
    assert values[-1] == pytest.approx(sum(own[shown:]) / 2**20, abs=0.006)


def test_as_json(tmp_path: Any) -> None:
    paths = workers(4, tmp_path)
    plain = json.loads(read("--json", "-", *paths)[1])
    document = json.loads(read("--side-by-side", "--json", "-", *paths)[1])
    assert document["report"] == "side_by_side"
    assert document["total"] == plain["total"] and document["processes"] == plain["processes"]
    for row, same in zip(document["rows"], plain["rows"]):
        alone = row.pop("by_process")
        assert row == same and len(alone) == 4
        for name in ("bytes", "blocks", "samples"):
            assert sum(one[name] for one in alone if one) == pytest.approx(row[name])
    assert len(document["rows"]) == len(plain["rows"])


def test_one_process_and_nothing(tmp_path: Any) -> None:
    (one,) = workers(1, tmp_path)
    out = read("--side-by-side", one)[1]
    assert "in one process" in " ".join(out.split()) and "pid 4711" in table(out)[0]
    empty = save(tmp_path / "empty.bin", Program().bytes())
    assert "Nothing to show" in read("--side-by-side", empty)[1]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--by", "process"], "--side-by-side goes with --by lineno, filename, function, "),
        (["--by", "thread"], "--side-by-side goes with --by lineno, filename, function, "),
        (["--diff", "X"], "--diff and --side-by-side: expected one of them"),
        (["--rss"], "--side-by-side and --rss: expected one of them"),
        (["--pprof", "X"], "--pprof goes without --side-by-side"),
        (["--html", "X"], "--html goes without --side-by-side"),
    ],
)
def test_what_it_does_not_go_with(options: List[str], words: str, tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", Program().bytes())
    status, out, err = read("--side-by-side", *options, path)
    assert (status, out) == (1, "") and err.startswith("mprofile-read: " + words)
