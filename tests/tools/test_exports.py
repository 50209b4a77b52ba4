# SPDX-License-Identifier: MIT
"""Exports: weights in, once; figures equal to the report's; the shapes that viewers read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any, Dict, List, Tuple

import pytest

from helpers import EXTENSION, GOLDEN, HERE, READER, leaky, mixed, read, save, small
from pprof_decoder import Decoded, decode
from snapshot_writer import Program

VALUES = ("inuse_bytes", "inuse_blocks", "alloc_bytes", "alloc_blocks", "peak_bytes")
PPROF = dict(zip(VALUES, ("inuse_space", "inuse_objects", "alloc_space", "alloc_objects")))


@pytest.fixture
def path(tmp_path: Any) -> str:
    return save(tmp_path / "a.bin", leaky(exe="/usr/bin/python3.11").bytes())


def total(path: str, value: str, *more: str) -> float:
    document = json.loads(read(path, "--json", "-", "--value", value, *more)[1])
    selected: float = document["selected"]["bytes" if value.endswith("bytes") else "blocks"]
    return selected


def profile(*arguments: str) -> Decoded:
    done = subprocess.run(
        [sys.executable, READER, *arguments, "--pprof", "-"], stdout=subprocess.PIPE, check=True
    )
    return decode(done.stdout)


def folded(*arguments: str) -> List[Tuple[List[str], List[int]]]:
    status, out, err = read(*arguments, "--collapsed", "-")
    assert (status, err) == (0, "")
    found = []
    for line in out.splitlines():
        match = re.fullmatch(r"(\S.*?)((?: \d+)+)", line)
        assert match, line
        found.append((match.group(1).split(";"), [int(n) for n in match.group(2).split()]))
    return found


def test_all_add_up_to_the_report(path: str) -> None:
    for more in ([], ["--include", "app/w*", "--exclude", "*nothing*"]):
        pprof = profile(path, *more).totals()
        speedscope = json.loads(read(path, "--speedscope", "-", *more)[1])
        for value in VALUES:
            truth = total(path, value, *more)
            if value in PPROF:
                assert abs(pprof[PPROF[value]] - truth) <= 0.5, value
            collapsed = sum(figures[0] for _, figures in folded(path, "--value", value, *more))
            assert abs(collapsed - truth) <= 0.5
        names = {one["name"]: sum(one["weights"]) for one in speedscope["profiles"]}
        assert len(names) == 5
        assert abs(names["in use, bytes"] - total(path, "inuse_bytes", *more)) <= 0.5
        assert abs(names["at the peak, bytes"] - total(path, "peak_bytes", *more)) <= 0.5


def test_functions_equal_the_reports(path: str) -> None:
    rows = json.loads(read(path, "--by", "function", "--json", "-")[1])["rows"]
    of_pprof: Dict[str, int] = {}
    for values, stack, labels in profile(path).samples:
        assert labels == {"domain": "obj"}
        of_pprof[stack[0][2]] = of_pprof.get(stack[0][2], 0) + values[3]
    for row in rows:
        assert abs(of_pprof[row["function"]] - row["bytes"]) <= 1


def test_what_a_profile_says_of_itself(path: str) -> None:
    found = profile(path)
    assert found.strings[0] == ""
    assert found.types == [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]
    assert found.strings[found.plain[14]] == "inuse_space" and found.plain[12] == 4096
    assert found.plain[9] == 1700007200 * 10**9 and found.plain[10] == 7200 * 10**9
    assert "sampled one every 4 KiB on average" in found.comments[1]
    assert found.mappings[1][5] and found.strings[found.mappings[1][5]] == "/usr/bin/python3.11"


def test_native_frames_have_mappings(tmp_path: Any) -> None:
    found = profile(save(tmp_path / "a.bin", mixed().bytes()))
    (module,) = [m for m in found.mappings.values() if found.strings[m.get(5, 0)] == EXTENSION]
    assert found.strings[module[6]] == "00112233445566778899aabbccddeeff00112233"
    assert (module[2], module[3]) == (0x7000, 0x9000)
    leaves = {stack[0][2]: stack[0] for _, stack, _ in found.samples}
    assert leaves["keep_one"][:2] == (EXTENSION, 0x7000 + 0x1234)
    assert "0x777 (stripped.so)" in leaves
    assert any("domain" in labels and labels["domain"] == "mmap" for _, _, labels in found.samples)


def test_workers_are_told_apart_and_counted_once() -> None:
    paths = [os.path.join(GOLDEN, name) for name in ("parent.bin", "child.bin")]
    found = profile(*paths)
    assert {labels["pid"] for _, _, labels in found.samples} == {"4711", "4720"}
    document = json.loads(read(*paths, "--json", "-")[1])
    assert abs(found.totals()["inuse_space"] - document["total"]["bytes"]) <= 1


def test_the_same_snapshot_gives_the_same_bytes(path: str, tmp_path: Any) -> None:
    files = [str(tmp_path / name) for name in ("1", "2")]
    for file in files:
        assert read(path, "--pprof", file) == (0, "", "")
    first, second = [open(file, "rb").read() for file in files]
    assert first == second


def test_small_stacks_do_not_round_away(tmp_path: Any) -> None:
    """3,000 stacks of blocks that stand for 1.4 blocks each: rounded alone they would be 3,000."""
    program = Program(1000)
    for number in range(3000):
        program.block(1250, [("a.py", number + 1, "f%d" % number, 1)])
    path = save(tmp_path / "a.bin", program.bytes())
    truth = total(path, "inuse_blocks")
    assert 4100 < truth < 4300
    assert abs(profile(path).totals()["inuse_objects"] - truth) <= 0.5


def test_both_orders(path: str) -> None:
    root_first, leaf_first = folded(path), folded(path, "--leaf-first")
    assert all(stack[0].startswith("<module> (app/main.py") for stack, _ in root_first)
    assert sorted((stack[::-1], n) for stack, n in leaf_first) == sorted(root_first)


def test_hostile_names_stay_in_their_line(tmp_path: Any) -> None:
    program = Program(0)
    program.block(100, [("a;b\n.py", 1, "f;g \r\x1b[2J 7", 1), ("x y.py", 2, "<lambda>", 1)])
    path = save(tmp_path / "a.bin", program.bytes())
    stack, figures = folded(path)[0]
    assert len(stack) == 2 and figures == [100] and "\x1b" not in stack[1]
    assert profile(path).totals()["inuse_space"] == 100
    frames = json.loads(read(path, "--speedscope", "-")[1])["shared"]["frames"]
    assert all("\x1b" not in frame["name"] and "\n" not in frame["file"] for frame in frames)


def test_a_difference_collapsed(tmp_path: Any) -> None:
    old, new = small(), small()
    new.block(5000, [("app/new.py", 1, "new", 1)], time=50_000)
    paths = [save(tmp_path / "old.bin", old.bytes()), save(tmp_path / "new.bin", new.bytes())]
    rows = {tuple(stack): figures for stack, figures in folded(paths[1], "--diff", paths[0])}
    assert rows["new (app/new.py:1)",] == [0, 5000]
    assert all(a == b for stack, (a, b) in rows.items() if "new" not in stack[0])


def test_empty_snapshots_export(tmp_path: Any) -> None:
    path = os.path.join(GOLDEN, "empty.bin")
    assert profile(path).samples == [] and folded(path) == []
    assert json.loads(read(path, "--speedscope", "-")[1])["profiles"][0]["weights"] == []


def test_exports_are_not_written_over_a_snapshot(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", small().bytes())
    other = save(tmp_path / "b.bin", small().bytes())
    for option in ("--pprof", "--collapsed", "--speedscope", "--json"):
        status, out, err = read(option, path, other)
        assert (status, out) == (1, "") and "that is a snapshot" in err
    targets = [str(tmp_path / name) for name in "xyz"]
    several = ["--pprof", targets[0], "--collapsed", targets[1], "--json", targets[2]]
    assert read(path, *several) == (0, "", "")
    assert all(os.path.getsize(target) for target in targets)


def documented() -> str:
    with open(os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools", "JSON.md")) as file:
        return file.read()


@pytest.mark.parametrize(
    "arguments",
    [
        ["sampled.bin"],
        ["mixed.bin", "--by", "traceback"],
        ["rss_worker.bin", "rss_forked.bin", "--by", "thread"],
        ["parent.bin", "child.bin", "--by", "generation"],
        ["parent.bin", "--by", "process"],
        ["sampled.bin", "--value", "peak_bytes", "--by", "domain"],
        ["leaky.bin", "--diff", "leaky_before.bin"],
        ["leaky.bin", "--leaks"],
        ["leaky.bin", "leaky_before.bin", "--leaks"],
    ],
)
def test_every_name_in_json_is_documented(arguments: List[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(GOLDEN)
    names = set(re.findall(r"`(\w+)`", documented()))

    def walk(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                assert key in names, "%s.%s is not in tools/JSON.md" % (where, key)
                if key != "head":
                    walk(inner, "%s.%s" % (where, key))
        elif isinstance(value, list):
            for inner in value:
                walk(inner, where)

    walk(json.loads(read(*arguments, "--json", "-")[1]), "")
