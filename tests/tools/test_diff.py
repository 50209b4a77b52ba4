# SPDX-License-Identifier: MIT
"""Differences: what two snapshots share has no error, whatever the key, the value and the rate."""

from __future__ import annotations

import json
import math
import random
from typing import Any, Dict, List, Optional

import pytest

import mprofile
from helpers import HOUR, LOAD, MAIN, VIEW, leaky, read, save
from mprofile._diff import difference
from mprofile._ids import read_heap
from mprofile._merge import merge
from mprofile._rows import BY, Query
from snapshot_writer import Program


def weight(size: int, rate: int) -> float:
    return -1 / math.expm1(-size / rate)


def rows(new: str, old: str, *more: str) -> List[Dict[str, Any]]:
    status, out, err = read(new, "--diff", old, "--json", "-", *more)
    assert (status, err) == (0, "")
    found: List[Dict[str, Any]] = json.loads(out)["rows"]
    return found


def pair(tmp_path: Any, rate: int = 4096, other_uid: Optional[str] = None) -> List[str]:
    """Two snapshots of a process: of 30 blocks 10 went, and 5 came at another line."""
    old, new = Program(rate), Program(rate, time="1700000090.000000000")
    if other_uid:
        new = Program(rate, uid=other_uid)
    for number in range(30):
        for program in (old, new) if number >= 10 else (old,):
            program.block(1000, [LOAD, MAIN], address=number + 1, time=number)
    for number in range(5):
        new.block(700, [VIEW, MAIN], address=100 + number, time=70_000)
    return [save(tmp_path / "old.bin", old.bytes()), save(tmp_path / "new.bin", new.bytes())]


def test_only_what_is_in_one_has_an_error(tmp_path: Any) -> None:
    old, new = pair(tmp_path)
    gone, came = rows(new, old)
    w = weight(1000, 4096)
    assert gone["change"]["bytes"] == pytest.approx(-10 * w * 1000)
    assert gone["change"]["bytes_error"] == pytest.approx((10 * w * (w - 1)) ** 0.5 * 1000)
    assert gone["change"]["blocks_error"] == pytest.approx((10 * w * (w - 1)) ** 0.5)
    assert gone["now"]["bytes"] == pytest.approx(20 * w * 1000)
    assert came["before"] == {"bytes": 0.0, "blocks": 0.0} and came["file"] == VIEW[0]
    assert not gone["change"]["noise"] and not came["change"]["noise"]


def test_strangers_are_independent(tmp_path: Any) -> None:
    old, new = pair(tmp_path, other_uid="00000000000000ff")
    first = rows(new, old)[0]
    w = weight(1000, 4096)
    assert first["change"]["bytes_error"] == pytest.approx((50 * w * (w - 1)) ** 0.5 * 1000)
    text = read(new, "--diff", old)[1]
    assert "nothing in common" in " ".join(text.split())


def test_what_went_is_called_as_it_was(tmp_path: Any) -> None:
    """A line that had far more than it has is named by the function that had it."""
    old, new = Program(0), Program(0, time="1700000090.000000000")
    old.block(7_000_000, [("grow.py", 4, "shrink", 1)], address=1)
    for program in (old, new):
        program.block(152, [("grow.py", 4, "<module>", 1)], address=2)
    paths = [save(tmp_path / "old.bin", old.bytes()), save(tmp_path / "new.bin", new.bytes())]
    (row,) = rows(paths[1], paths[0])
    assert row["change"]["bytes"] == -7_000_000 and row["function"] == "shrink"


def test_nothing_changed(tmp_path: Any) -> None:
    old, _ = pair(tmp_path)
    for row in rows(old, old):
        change = row["change"]
        assert change["bytes"] == change["bytes_error"] == change["blocks"] == 0 and change["noise"]
    out = read(old, "--diff", old)[1]
    assert "Nothing changed." in out and "1 unchanged." in out


def test_the_same_snapshot_is_said_to_be_the_same(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", leaky().bytes())
    copied = save(tmp_path / "b.bin", leaky().bytes())
    for other in (path, copied):
        assert "In all 0 B \u00b10; it is the same snapshot." in read(path, "--diff", other)[1]


def test_the_reverse_is_the_negative(tmp_path: Any) -> None:
    old, new = pair(tmp_path)
    there, back = rows(new, old), rows(old, new)
    assert [-r["change"]["bytes"] for r in there] == [r["change"]["bytes"] for r in back]
    assert [r["change"]["bytes_error"] for r in there] == [r["change"]["bytes_error"] for r in back]
    assert "EARLIER: --diff expects the older one." in " ".join(read(old, "--diff", new)[1].split())


def test_compare_to_says_the_same(tmp_path: Any) -> None:
    paths = [
        save(tmp_path / "old.bin", leaky(HOUR).bytes()),
        save(tmp_path / "new.bin", leaky().bytes()),
    ]
    old, new = map(mprofile.Snapshot.load, paths)
    for by in ("lineno", "filename", "traceback"):
        mine = rows(paths[1], paths[0], "--by", by)
        theirs = new.compare_to(old, by)
        assert len(mine) == len(theirs)
        for statistic in theirs:
            place = statistic.traceback[-1]
            row = [
                one
                for one in mine
                if by == "filename"
                or (one["stack"][0]["line"] if by == "traceback" else one["line"]) == place.lineno
            ][0]
            assert statistic.size_diff == pytest.approx(row["change"]["bytes"], abs=1)
            assert statistic.size_error == pytest.approx(row["change"]["bytes_error"])
            assert statistic.count_error == pytest.approx(row["change"]["blocks_error"])


def test_every_key_and_value_adds_up(tmp_path: Any) -> None:
    old = save(tmp_path / "old.bin", leaky(HOUR).bytes())
    new = save(tmp_path / "new.bin", leaky().bytes())
    heaps = [merge([read_heap(path)])[0] for path in (new, old)]
    for by in BY:
        for value in ("inuse_bytes", "inuse_blocks", "alloc_bytes", "alloc_blocks", "peak_bytes"):
            if by == "type" or (by in ("thread", "generation") and not value.startswith("inuse")):
                continue
            found = difference(*heaps, Query(by, value))
            of_bytes = value.endswith("bytes")
            total, error = found.change.figures(of_bytes)
            changes = [row.change.figures(of_bytes) for row in found.rows]
            assert sum(change for change, _ in changes) == pytest.approx(total, abs=1e-6)
            squares = sum(one**2 for _, one in changes)
            assert squares == pytest.approx(error**2, abs=1e-6), (by, value)


def test_allocated_of_one_process_is_nested(tmp_path: Any) -> None:
    """What was allocated before is in both, and has no part in the error."""
    old = save(tmp_path / "old.bin", leaky(HOUR).bytes())
    new = save(tmp_path / "new.bin", leaky().bytes())
    found = {row["function"]: row["change"] for row in rows(new, old, "--value", "alloc_bytes")}
    w = weight(3000, 4096)
    assert found["leak"]["bytes"] == pytest.approx(30 * w * 3000)
    assert found["leak"]["bytes_error"] == pytest.approx((30 * w * (w - 1)) ** 0.5 * 3000)
    assert found["cache"]["bytes"] == found["cache"]["bytes_error"] == 0


def test_the_peak_of_both_is_one(tmp_path: Any) -> None:
    old, new = Program(4096, peak_clock_ms=5000), Program(4096, peak_clock_ms=5000)
    for program in (old, new):
        program.block(1000, [LOAD, MAIN], address=1)
    new.head["time"] = "1700000090.000000000"
    paths = [save(tmp_path / "old.bin", old.bytes()), save(tmp_path / "new.bin", new.bytes())]
    (row,) = rows(paths[1], paths[0], "--value", "peak_bytes")
    assert row["change"] == {"bytes": 0.0, "bytes_error": 0.0, "noise": True}
    new.head["peak_clock_ms"] = 80_000
    save(tmp_path / "new.bin", new.bytes())
    (row,) = rows(paths[1], paths[0], "--value", "peak_bytes")
    assert row["change"]["bytes_error"] > 0


def test_workers_in_sets(tmp_path: Any) -> None:
    """What a child inherited is in one process of one set, and maybe another of the other."""
    import copy

    parent = Program(4096, pid=10)
    for number in range(8):
        parent.block(1000, [LOAD, MAIN], address=number + 1, time=number)
    child = copy.deepcopy(parent)
    child.fork(0xC1, 11, 1000)
    for number in range(6):
        child.block(900, [VIEW, MAIN], address=50 + number, time=2000)
    later = copy.deepcopy(child)
    later.head["time"] = "1700000090.000000000"
    for number in range(12):
        later.block(900, [VIEW, MAIN], address=80 + number, time=70_000)
    paths = [
        save(tmp_path / name, program.bytes())
        for name, program in (("p.bin", parent), ("c.bin", child), ("l.bin", later))
    ]
    status, out, _ = read(paths[2], "--diff", paths[0], "--diff", paths[1], "--json", "-")
    found = json.loads(out)["rows"]
    w = weight(900, 4096)
    assert status == 0 and len(found) == 2
    assert found[0]["change"]["bytes"] == pytest.approx(12 * w * 900)
    assert found[0]["change"]["bytes_error"] == pytest.approx((12 * w * (w - 1)) ** 0.5 * 900)
    assert found[1]["change"]["bytes"] == found[1]["change"]["bytes_error"] == 0


def test_other_rates_compare_rightly(tmp_path: Any) -> None:
    """The same truth at two rates: the change is within its errors; and those are right."""
    rng = random.Random(3)
    inside = 0
    for trial in range(60):
        programs = []
        for rate, uid in ((2000, "00000000000000b1"), (9000, "00000000000000b2")):
            program = Program(rate, uid=uid)
            for number in range(400):
                size = 200 + number * 10
                if rng.random() < 1 / weight(size, rate):
                    program.block(size, [LOAD, MAIN], address=number + 1)
            programs.append(program)
        old, new = [
            [read_heap(save(tmp_path / ("%d.bin" % index), program.bytes()))]
            for index, program in enumerate(programs)
        ]
        change, error = difference(new, old, Query()).change.figures(True)
        inside += abs(change) < 2 * error
    assert 52 <= inside <= 60


def test_raw_traces_have_no_identity() -> None:
    """Blocks without an address cannot be recognised, and so are independent."""
    traces = [(0, 1000, (("a.py", 1),))] * 4
    one, other = (mprofile.Snapshot(traces, 1, sample_rate=4096) for _ in range(2))
    (difference_,) = one.compare_to(other, "lineno")
    assert difference_.size_diff == 0 and difference_.size_error > 0


def test_noise_is_marked_and_can_be_hidden(tmp_path: Any) -> None:
    old = save(tmp_path / "old.bin", leaky(HOUR).bytes())
    new = save(tmp_path / "new.bin", leaky().bytes())
    shown = read(new, "--diff", old)[1]
    assert [line.count("~") for line in shown.splitlines() if "app/ways.py" in line] == [
        0,
        0,
        1,
        1,
        1,
    ]
    hidden = read(new, "--diff", old, "--significant")[1]
    assert "3 lines within the noise hidden" in hidden
    assert "ways.py:30" not in hidden and "ways.py:10" in hidden


def test_what_is_not_shown_is_added_up(tmp_path: Any) -> None:
    """In the unit that is ranked, with the error of the sum."""
    old = save(tmp_path / "old.bin", leaky(HOUR).bytes())
    new = save(tmp_path / "new.bin", leaky().bytes())
    for value, unit in (("inuse_bytes", "bytes"), ("inuse_blocks", "blocks"), ("alloc_blocks", "blocks")):
        changes = [row["change"] for row in rows(new, old, "--value", value) if row["change"][unit + "_error"]]
        shown = read(new, "--diff", old, "--value", value, "--limit", "1")[1]
        (line,) = [line for line in shown.splitlines() if "--limit 0 shows all" in line]
        rest = sum(change[unit] for change in changes[1:])
        error = sum(change[unit + "_error"] ** 2 for change in changes[1:]) ** 0.5
        if unit == "bytes":
            expected = "%+.0f KiB \u00b1%.0f" % (rest / 1024, error / 1024)
        else:
            expected = "%+.0f blocks \u00b1%.0f" % (rest, error)
        assert "%d more lines changed: %s, " % (len(changes) - 1, expected) in line


def test_the_error_of_a_peak_is_said_to_be_more_than_it_is(tmp_path: Any) -> None:
    old, new = pair(tmp_path)
    text = " ".join(read(new, "--diff", old, "--value", "peak_bytes")[1].split())
    assert "overstated where blocks are in both peaks" in text
