# SPDX-License-Identifier: MIT
"""Types of live objects: grouped, beside each trace, absent where a snapshot has none, damaged."""

from __future__ import annotations

import json
import pickle
from typing import Any

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


def test_a_type_that_is_no_string(tmp_path: Any) -> None:
    program = typed()
    program.types[2] = 4000
    path = save(tmp_path / "bad.bin", program.bytes())
    with pytest.raises(SnapshotError, match="live sample 2 names type 4000"):
        Snapshot.load(str(path))
    salvaged = Snapshot.load(str(path), salvage=True)
    assert [trace.type_name for trace in salvaged.traces[:4]] == ["dict", "MyModel", None, None]
