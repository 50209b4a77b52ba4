# SPDX-License-Identifier: MIT
"""Types of live objects: grouped, beside each trace, absent where a snapshot has none, damaged."""

from __future__ import annotations

import json
import pickle
from typing import Any, Dict, List

import pytest

from helpers import read, save
from mprofile import Snapshot, SnapshotError
from snapshot_writer import Program

FRAME = ("app.py", 3, "main", 1)


def typed(rate: int = 0) -> Program:
    program = Program(rate)
    for n in range(4):
        program.block(100, [FRAME], type_name="dict")
        program.block(50, [FRAME], type_name="MyModel")
        program.block(30, [FRAME])
        program.block(1000, [FRAME], "malloc")
    return program


def test_by_type(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", typed().bytes())
    status, out, err = read("--by", "type", "--json", "-", str(path))
    assert (status, err) == (0, "")
    rows = {(row["type"], row["domain"]): row["bytes"] for row in json.loads(out)["rows"]}
    assert rows == {
        ("dict", "obj"): 400,
        ("MyModel", "obj"): 200,
        (None, "obj"): 120,
        (None, "malloc"): 4000,
    }
    table = read("--by", "type", str(path))[1]
    assert "by the type of the object" in table
    assert "[no object: malloc]" in table and "[no object, or of unknown type]" in table


def test_filtered_and_merged(tmp_path: Any) -> None:
    other = typed()
    other.head.update(uid="00000000000000b2", pid=4712)
    other.lineage = [(0xB2, 4712, 0)]
    other.block(7, [("lib.py", 1, "f", 1)], type_name="dict")
    paths = [save(tmp_path / name, p.bytes()) for name, p in (("a", typed()), ("b", other))]
    args = ["--by", "type", "--json", "-", *map(str, paths)]
    rows = {row["type"]: row["bytes"] for row in json.loads(read(*args)[1])["rows"]}
    assert rows["dict"] == 807 and rows["MyModel"] == 400
    rows = {
        row["type"]: row["bytes"]
        for row in json.loads(read("--exclude", "lib.py", *args)[1])["rows"]
    }
    assert rows["dict"] == 800


def test_beside_each_trace(tmp_path: Any) -> None:
    snapshot = Snapshot.load(str(save(tmp_path / "a.bin", typed().bytes())))
    names = [trace.type_name for trace in snapshot.traces]
    assert names == ["dict", "MyModel", None, None] * 4
    again = pickle.loads(pickle.dumps(snapshot))
    assert [trace.type_name for trace in again.traces] == names


def test_a_snapshot_without_types(tmp_path: Any) -> None:
    program = Program()
    program.block(100, [FRAME])
    path = save(tmp_path / "old.bin", program.bytes())
    assert Snapshot.load(str(path)).traces[0].type_name is None
    status, out, err = read("--by", "type", str(path))
    assert status == 1 and out == ""
    assert err == "mprofile-read: --by type: old.bin records no types\n"


LIST, OTHER = ("app.py", 9, "fill", 8), ("app.py", 20, "other", 19)


def lines(rate: int = 0) -> Program:
    program = Program(rate)
    for number in range(16):
        program.block(500, [LIST, FRAME], type_name="dict" if number % 4 else "list")
    program.block(100, [LIST, FRAME], type_name="rare")
    for _ in range(3):
        program.block(3000, [FRAME], type_name="a.very.long.module.Model")
    program.block(300, [FRAME], "malloc")
    program.block(700, [OTHER], "malloc")
    return program


def beside(out: str, place: str) -> str:
    """What stands at the right end of the line of the function below a place."""
    shown = out.splitlines()
    at = next(n for n, line in enumerate(shown) if line.endswith(place)) + 1
    if shown[at].startswith("    old"):  # --leaks says first why the row is there
        at += 1
    return shown[at].rpartition("  ")[2]


@pytest.mark.parametrize("mode", [[], ["--leaks"], ["--diff", "OLD"]])
def test_beside_a_line(mode: List[str], tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", lines().bytes())
    old = save(tmp_path / "old.bin", Program(0, uid="00000000000000c1").bytes())
    mode = [old if word == "OLD" else word for word in mode]
    out = read(path, *mode)[1]
    assert max(map(len, out.splitlines())) == 80
    title = next(line for line in out.splitlines() if line.endswith("types"))
    assert len(title) == 80 and "  line  " in title
    # 12 of 81 hundreds of bytes are not told; a type of less than a tenth is not named.
    assert beside(out, "app.py:9") == "dict 74%, list 25%"
    # Nearly all: without its share. Too long: cut.
    assert beside(out, "app.py:3") == "a.very.long.mod\u2026"
    assert beside(out, "app.py:20").strip() == "other"


def test_beside_a_line_by_blocks_and_in_what_width_there_is(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", lines().bytes())
    assert beside(read("--value", "inuse_blocks", path)[1], "app.py:9") == "dict 71%, list 24%"
    for columns in ("40", "59", "60", "200"):
        shown = read(path, COLUMNS=columns)[1]
        assert max(map(len, shown.splitlines())) <= int(columns)
        assert ("dict 74%" in shown) == (int(columns) >= 60)
    # Where nothing is known of types, or rows are not those of live lines, nothing is said of them.
    for options in (["--cumulative"], ["--value", "alloc_bytes"], ["--by", "function"]):
        assert "dict" not in read(path, *options)[1]
    untyped = Program()
    untyped.block(100, [FRAME])
    assert "types" not in read(save(tmp_path / "b.bin", untyped.bytes()))[1]


def test_beside_a_line_as_json_sampled_and_merged(tmp_path: Any) -> None:
    other = lines(4096)
    other.head.update(uid="00000000000000b2", pid=4712)
    other.lineage = [(0xB2, 4712, 0)]
    paths = [save(tmp_path / name, p.bytes()) for name, p in (("a", lines(4096)), ("b", other))]
    document = json.loads(read("--json", "-", *paths)[1])
    by_type = {row["type"]: row for row in json.loads(read("--by", "type", "--json", "-", *paths)[1])["rows"]}
    found: Dict[str, Any] = {}
    for row in document["rows"]:
        for one in row["types"]:
            assert one["type"] not in found
            found[one["type"]] = one
    assert set(found) == {"dict", "list", "rare", "a.very.long.module.Model"}
    for name, one in found.items():
        for key in ("bytes", "bytes_error", "blocks", "blocks_error", "samples"):
            assert one[key] == pytest.approx(by_type[name][key])
    row = next(row for row in document["rows"] if row["line"] == 9)
    assert [one["type"] for one in row["types"]] == ["dict", "list", "rare"]


def test_a_name_of_a_type_cannot_drive_the_terminal(tmp_path: Any) -> None:
    program = Program()
    program.block(100, [FRAME], type_name="\033[31mred\n")
    out = read(save(tmp_path / "a.bin", program.bytes()))[1]
    assert "\033" not in out and beside(out, "app.py:3") == "\\x1b[31mred\\n"


def test_a_type_that_is_no_string(tmp_path: Any) -> None:
    program = typed()
    program.types[2] = 4000
    path = save(tmp_path / "bad.bin", program.bytes())
    with pytest.raises(SnapshotError, match="live sample 2 names type 4000"):
        Snapshot.load(str(path))
    salvaged = Snapshot.load(str(path), salvage=True)
    assert [trace.type_name for trace in salvaged.traces[:4]] == ["dict", "MyModel", None, None]


def test_a_snapshot_without_samples_has_no_types_to_miss(tmp_path: Any) -> None:
    empty = save(tmp_path / "a.bin", Program(0).bytes())
    status, out, err = read("--by", "type", empty)
    assert (status, err) == (0, "") and "Nothing to show" in out
    assert read("--by", "type", save(tmp_path / "b.bin", typed().bytes()), empty)[0] == 0
