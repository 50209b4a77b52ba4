# SPDX-License-Identifier: MIT
"""Leaks by age: a slow leak first, above an old cache and a busy path; growth an hour is right."""

from __future__ import annotations

import json
import random
from typing import Any, Dict, List

import pytest

from helpers import HOUR, LOAD, MAIN, VIEW, WAYS, leaky, read, save
from snapshot_writer import Program


def document(*arguments: str) -> Any:
    status, out, err = read(*arguments, "--leaks", "--json", "-")
    assert (status, err) == (0, "")
    return json.loads(out)


def kinds(*arguments: str) -> Dict[str, str]:
    return {row["function"]: row["kind"] for row in document(*arguments)["rows"]}


def test_each_way_has_its_word(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", leaky().bytes())
    assert kinds(path) == {
        "leak": "grows",
        "late": "grows_late",
        "bounded": "turns_over",
        "filled": "stopped",
        "cache": "old",
        "few": "few",
        "busy": "young",
    }
    first = document(path)["rows"][0]
    assert first["function"] == "leak"
    shown = read(path, "--leaks")[1]
    assert "ways.py:30" not in shown and "left out: " in shown


def test_what_replaces_old_by_new_looks_like_a_leak_and_is_said_to(tmp_path: Any) -> None:
    """A full cache whose blocks are replaced at random: what is alive is of all ages."""
    rng = random.Random(3)
    program = Program(0, clock_ms=HOUR)
    times = [0] * 400 + sorted(rng.randrange(HOUR) for _ in range(600))
    slots = list(range(400)) + [rng.randrange(400) for _ in range(600)]
    last = dict(zip(slots, range(1000)))
    for number, (time, slot) in enumerate(zip(times, slots)):
        program.block(1000, [LOAD, MAIN], time=time, address=number + 1, live=last[slot] == number)
    path = save(tmp_path / "a.bin", program.bytes())
    assert list(kinds(path).values()) == ["grows"]
    text = " ".join(read(path, "--leaks")[1].split())
    assert "(40% of what it allocated is alive: what replaces old by new looks so, too)" in text
    assert "looks so, too" not in read(save(tmp_path / "b.bin", leaky().bytes()), "--leaks")[1]


def test_processes_of_different_ages_have_tenths_of_their_own(tmp_path: Any) -> None:
    old, young = Program(0, clock_ms=HOUR), Program(0, uid="00000000000000c2", clock_ms=60_000)
    for number, program in enumerate((old, young)):
        program.block(1000, [LOAD, MAIN], time=10, address=number + 1)
    paths = [save(tmp_path / "a.bin", old.bytes()), save(tmp_path / "b.bin", young.bytes())]
    text = " ".join(read(*paths, "--leaks")[1].split())
    assert "older than a tenth of its process's run (6.0 s to 6 min 0 s)" in text
    assert "as in these 1 min 0 s to 1 h 0 min is a guess" in text


@pytest.mark.parametrize("by", ["filename", "function", "traceback", "thread", "domain", "process"])
def test_every_key(tmp_path: Any, by: str) -> None:
    path = save(tmp_path / "a.bin", leaky().bytes())
    rows = document(path, "--by", by)["rows"]
    live = json.loads(read(path, "--by", by, "--json", "-")[1])
    assert sum(sum(row["windows"]) for row in rows) == pytest.approx(live["total"]["bytes"])
    assert read(path, "--leaks", "--by", by)[0] == 0


def test_windows_add_up_and_ages_are_ages(tmp_path: Any) -> None:
    program = Program(0, clock_ms=2 * HOUR)
    for number, age in enumerate((30_000, 59_999, 60_000, HOUR - 1, HOUR, 2 * HOUR)):
        program.block(10**number, [LOAD, MAIN], time=2 * HOUR - age, address=number + 1)
    (row,) = document(save(tmp_path / "a.bin", program.bytes()))["rows"]
    assert row["older_than_minute"] == 111_100 and row["older_than_hour"] == 110_000
    assert sum(row["windows"]) == 111_111
    assert row["young"] == 111 and row["old"] == 111_000


def test_growth_is_unbiased_and_its_error_is_right(tmp_path: Any) -> None:
    """A leak of 100 blocks of 1,000 bytes an hour for 5 hours, sampled one in about four."""
    rng = random.Random(11)
    chance = 1 / (1 / (1 - 2.718281828459045 ** (-1000 / 4096)))
    inside, sum_of = 0, 0.0
    trials = 40
    for _ in range(trials):
        program = Program(4096, clock_ms=5 * HOUR)
        for number in range(500):
            if rng.random() < chance:
                program.block(1000, [LOAD, MAIN], time=number * 36_000 + 5, address=number + 1)
        (row,) = document(save(tmp_path / "a.bin", program.bytes()))["rows"]
        assert row["kind"] == "grows"
        inside += abs(row["growth_per_hour"] - 100_000) < 2 * row["growth_per_hour_error"]
        sum_of += row["growth_per_hour"]
    assert inside >= 35
    assert sum_of / trials == pytest.approx(100_000, rel=0.05)


def test_few_samples_never_hide_a_leak(tmp_path: Any) -> None:
    """A leak at 10 samples a run: it stands before the cache and the busy path, always."""
    rng = random.Random(7)
    for _ in range(30):
        program = Program(131072, clock_ms=2 * HOUR)
        for number in range(12):
            time = int(rng.random() * 2 * HOUR)
            program.block(500, [LOAD, MAIN], time=time, address=number + 1)
        for number in range(300):
            program.block(4000, [VIEW, MAIN], time=number, address=1000 + number)
            program.block(4000, [MAIN], time=2 * HOUR - number, address=5000 + number)
        rows = document(save(tmp_path / "a.bin", program.bytes()))["rows"]
        assert [row["file"] for row in rows][0] == LOAD[0], rows[0]


def test_workers_have_runs_of_their_own(tmp_path: Any) -> None:
    """A child that forked late: what it inherited is from its start, what it leaks is spread."""
    parent = Program(0, clock_ms=4 * HOUR)
    for number in range(40):
        parent.block(5000, [VIEW, MAIN], time=1000 + number, address=number + 1)
    parent.fork(0xC1, 4800, 3 * HOUR)
    for number in range(60):
        parent.block(100, [LOAD, MAIN], time=3 * HOUR + number * 60_000 + 1, address=100 + number)
    first, second = document(save(tmp_path / "a.bin", parent.bytes()))["rows"]
    assert (first["file"], first["kind"]) == (LOAD[0], "grows")
    assert first["growth_per_hour"] == pytest.approx(6000)
    assert second["kind"] == "old" and second["windows"][0] == 200_000


def test_several_snapshots_of_one_process(tmp_path: Any) -> None:
    paths: List[str] = []
    for number in (1, 2, 3):
        name = tmp_path / ("%d.bin" % number)
        paths.append(save(name, leaky(number * HOUR, number=number).bytes()))
    found = document(*reversed(paths))
    assert found["report"] == "trend" and [len(one) for one in found["sets"]] == [1, 1, 1]
    growing = [row for row in found["rows"] if row["grows"]]
    assert [row["function"] for row in growing] == ["late", "leak"]
    steps = growing[1]["steps"]
    assert len(steps) == 2 and steps[0] == pytest.approx(steps[1])
    assert sum(steps) == pytest.approx(growing[1]["change"]["bytes"])
    text = " ".join(read(*paths, "--leaks")[1].split())
    assert "grew from each of 3 snapshots to the next (2 h 0 min)" in text
    assert "app/ways.py:%d" % WAYS["leak"][1] in text


def words(*arguments: str) -> str:
    status, out, err = read(*arguments)
    assert (status, err) == (0, "")
    return " ".join(out.split())


def test_what_is_not_shown_of_several_snapshots_is_said(tmp_path: Any) -> None:
    paths = [save(tmp_path / ("%d.bin" % n), leaky(n * HOUR, number=n).bytes()) for n in (1, 2, 3)]
    assert "1 more grew, --limit 0 shows all." in words(*paths, "--leaks", "--limit", "1")
    shrunk = []
    for number, blocks in enumerate((5, 3, 4), 1):
        program = Program(0, clock_ms=number * HOUR, number=number, time="%d.0" % (1700000000 + number))
        for block in range(blocks):
            program.block(1000, [LOAD, MAIN], address=block + 1, time=block)
        shrunk.append(save(tmp_path / ("s%d.bin" % number), program.bytes()))
    text = words(*shrunk, "--leaks")
    assert "Nothing grew in each of them beyond the noise." in text
    assert "1 changed, but not upwards each time beyond the noise." in text
    assert "changed, but" not in words(shrunk[0], shrunk[0], "--leaks")


def test_sets_of_workers(tmp_path: Any) -> None:
    paths = []
    for uid in ("00000000000000e1", "00000000000000e2"):
        for number in (1, 2):
            program = leaky(number * HOUR, uid=uid, pid=int(uid[-1]), number=number)
            paths.append(save(tmp_path / ("%s.%d.bin" % (uid, number)), program.bytes()))
    found = document(*paths)
    assert [len(one) for one in found["sets"]] == [2, 2]
    status, out, err = read(*paths[:3], "--leaks")
    assert (status, out) == (1, "") and "as many of each" in err


def test_how_long_was_looked_is_said(tmp_path: Any) -> None:
    said = " ".join(read("--leaks", save(tmp_path / "a.bin", leaky(3_000).bytes()))[1].split())
    assert "That it goes on as in these 3.0 s is a guess." in said


def test_a_run_without_anything(tmp_path: Any) -> None:
    for program in (Program(0), Program(4096, clock_ms=0)):
        assert (
            "Nothing is older than" in read(save(tmp_path / "a.bin", program.bytes()), "--leaks")[1]
        )
