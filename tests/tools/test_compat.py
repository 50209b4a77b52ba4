# SPDX-License-Identifier: MIT
"""A snapshot of every allocation says what tracemalloc says: values, order, printed forms."""

from __future__ import annotations

import pickle
import random
import tracemalloc
from typing import Any, List

import pytest

import mprofile
from helpers import LOAD, MAIN, VIEW, save, small, stock_traces
from snapshot_writer import Program


def random_program(seed: int) -> Program:
    rng = random.Random(seed)
    frames = [("pkg/m%d.py" % (n % 5), n, "f%d" % n, n - n % 3) for n in range(1, 25)]
    program = Program(0)
    for _ in range(400):
        stack = [rng.choice(frames) for _ in range(rng.randint(1, 6))]
        program.block(
            rng.choice([0, 1, 8, 64, 64, 1000]),
            stack,
            domain=rng.choice(["obj", "mem", "raw", "malloc", "mmap"]),
        )
    return program


@pytest.fixture(params=[1, 2, 3])
def pair(request: Any, tmp_path: Any) -> Any:
    program = random_program(request.param)
    ours = mprofile.Snapshot.load(save(tmp_path / "a.bin", program.bytes()))
    return ours, tracemalloc.Snapshot(stock_traces(program), 128)


KEYS = [
    ("lineno", False),
    ("filename", False),
    ("traceback", False),
    ("lineno", True),
    ("filename", True),
]


@pytest.mark.parametrize("key, cumulative", KEYS)
def test_statistics(pair: Any, key: str, cumulative: bool) -> None:
    ours, stock = (s.statistics(key, cumulative) for s in pair)
    assert ours == stock
    assert list(map(str, ours)) == list(map(str, stock))
    assert list(map(repr, ours)) == list(map(repr, stock))
    assert all(s.size_error == s.count_error == 0 for s in ours)
    assert all(isinstance(s, tracemalloc.Statistic) for s in ours)
    assert [s.traceback.format() for s in ours] == [s.traceback.format() for s in stock]


@pytest.mark.parametrize("key, cumulative", KEYS)
def test_compare_to(tmp_path: Any, key: str, cumulative: bool) -> None:
    programs = random_program(5), random_program(6)
    ours = [
        mprofile.Snapshot.load(save(tmp_path / ("%d.bin" % i), p.bytes()))
        for i, p in enumerate(programs)
    ]
    stock = [tracemalloc.Snapshot(stock_traces(p), 128) for p in programs]
    expected = stock[1].compare_to(stock[0], key, cumulative)
    for new, old in ((ours[1], ours[0]), (ours[1], stock[0]), (stock[1], ours[0])):
        got = new.compare_to(old, key, cumulative)
        assert got == expected
        assert list(map(str, got)) == list(map(str, expected))
    diff = ours[1].compare_to(ours[0], key, cumulative)[0]
    assert isinstance(diff, tracemalloc.StatisticDiff) and diff.size_error == 0


class OnlyLarge(tracemalloc.BaseFilter):
    """A filter that looks at the size: no short cut by stack is possible."""

    def _match(self, trace: Any) -> bool:
        return bool((trace[1] >= 64) ^ (not self.inclusive))


FILTERS: List[List[Any]] = [
    [],
    [mprofile.Filter(True, "pkg/m1.py")],
    [mprofile.Filter(False, "pkg/m[12].py")],
    [mprofile.Filter(True, "*m1.pyc"), mprofile.Filter(True, "*", lineno=7)],
    [mprofile.Filter(True, "pkg/m1.py", all_frames=True)],
    [mprofile.Filter(False, "pkg/m1.py", all_frames=True, domain=1)],
    [mprofile.DomainFilter(True, 0), mprofile.Filter(False, "pkg/m3.py")],
    [mprofile.DomainFilter(False, 2)],
    [OnlyLarge(True)],
    [OnlyLarge(False), mprofile.DomainFilter(True, 0)],
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_filter_traces(pair: Any, number: int) -> None:
    ours, stock = (s.filter_traces(FILTERS[number]) for s in pair)
    assert isinstance(ours, mprofile.Snapshot)
    assert ours.traces == stock.traces
    assert ours.statistics("traceback") == stock.statistics("traceback")
    assert ours.traceback_limit == 128


def test_wrong_arguments(pair: Any) -> None:
    ours, _ = pair
    with pytest.raises(ValueError):
        ours.statistics("size")
    with pytest.raises(ValueError):
        ours.statistics("traceback", cumulative=True)
    with pytest.raises(TypeError):
        ours.filter_traces(7)


def test_traces(pair: Any) -> None:
    ours, stock = pair
    assert len(ours.traces) == len(stock.traces)
    assert ours.traces == stock.traces and list(ours.traces) == list(stock.traces)
    assert ours.traces[3] == stock.traces[3] and ours.traces[-1] == stock.traces[-1]
    assert ours.traces[2:9:3] == stock.traces[2:9:3]
    assert stock.traces[5] in ours.traces
    assert list(map(str, ours.traces)) == list(map(str, stock.traces))
    assert list(map(repr, ours.traces)) == list(map(repr, stock.traces))
    with pytest.raises(IndexError):
        ours.traces[len(ours.traces)]


def test_what_tracemalloc_does_not_have(tmp_path: Any) -> None:
    head = {"exe": "/usr/bin/python3", "cwd": "/srv", "host": "vm", "cmdline": "python3\0app.py", "peak_bytes": 77}
    ours = mprofile.Snapshot.load(save(tmp_path / "a.bin", small(4096, **head).bytes()))
    trace = ours.traces[3]
    assert (trace.size, trace.domain, trace.domain_name) == (5000, 0, "mem")
    # p = 1 - exp(-5000 / 4096) = 1 - 0.2950226
    assert trace.weight == pytest.approx(1.418485, rel=1e-6)
    assert (trace.age, trace.thread_id, trace.thread_name) == (1.0, 4711, "python")
    assert trace.type_name is None
    frame = trace.traceback[-1]
    assert isinstance(frame, tracemalloc.Frame) and isinstance(frame, mprofile.Frame)
    assert (frame.filename, frame.lineno, frame.name, frame.firstlineno) == VIEW
    assert trace.traceback.total_nframe == 3
    assert ours.sample_rate == 4096 and ours.pid == 4711 and ours.python == "3.11.7"
    assert (ours.exe, ours.cwd, ours.host, ours.trigger) == ("/usr/bin/python3", "/srv", "vm", "signal")
    assert (ours.start, ours.time) == (1700000000.0, 1700000060.0) and ours.cmdline == ["python3", "app.py"]
    assert ours.heads == [ours.head] and ours.peak_bytes == 77 and not ours.lost
    stat = ours.statistics("lineno")[-1]
    assert stat.size_error >= 0 and stat.traceback[0].name
    assert ours.traces[4].domain == 1 and ours.traces[6].domain == 2


def test_what_was_lost_is_said(tmp_path: Any) -> None:
    program = small(4096, **{"lost.memory": 7, "note.stacks_cut": 3})
    ours = mprofile.Snapshot.load(save(tmp_path / "a.bin", program.bytes()))
    assert {key.rpartition(".")[2]: int(count) for key, count in ours.lost.items()} == {"memory": 7}


def test_statistics_are_weighed_block_by_block(tmp_path: Any) -> None:
    program = Program(1000)
    sizes = [1, 10, 100, 1000, 10000]
    for size in sizes:
        program.block(size, [LOAD, MAIN])
    (stat,) = mprofile.Snapshot.load(save(tmp_path / "a.bin", program.bytes())).statistics("lineno")
    # 1000.5 + 100.50083 + 10.508331 + 1.581977 + 1.000045 and each times its size
    assert stat.count == 1114
    assert stat.size == round(1000.5 + 1005.0083 + 1050.8331 + 1581.977 + 10000.454)
    # 999999.75 + 999991.7 + 999167 + 920674 + 4540, the root of it
    assert stat.size_error == pytest.approx(1981.0, rel=1e-4)


def test_pickle_keeps_the_weights(tmp_path: Any) -> None:
    ours = mprofile.Snapshot.load(save(tmp_path / "a.bin", small(4096).bytes()))
    path = str(tmp_path / "a.pickle")
    ours.dump(path)
    again = mprofile.Snapshot.load(path)
    assert again.statistics("lineno") == ours.statistics("lineno")
    assert [s.size_error for s in again.statistics("lineno")] == [
        s.size_error for s in ours.statistics("lineno")
    ]
    assert again.traces[0].weight == ours.traces[0].weight
    assert again.sample_rate == 4096


def test_stock_pickle_is_read_too(tmp_path: Any) -> None:
    stock = tracemalloc.Snapshot(stock_traces(small()), 9)
    path = str(tmp_path / "stock.pickle")
    stock.dump(path)
    loaded = mprofile.Snapshot.load(path)
    assert isinstance(loaded, mprofile.Snapshot) and loaded.traceback_limit == 9
    assert loaded.statistics("traceback") == stock.statistics("traceback")
    other = str(tmp_path / "other.pickle")
    with open(other, "wb") as file:
        pickle.dump({"no": "snapshot"}, file, 4)
    with pytest.raises(mprofile.SnapshotError):
        mprofile.Snapshot.load(other)


def test_made_from_raw_traces_of_both_forms() -> None:
    stock = stock_traces(small())
    ours = mprofile.Snapshot(stock, 5)
    plain = tracemalloc.Snapshot(stock, 5)
    assert ours.traces == plain.traces
    assert ours.statistics("filename", True) == plain.statistics("filename", True)
    foreign = [(389047, 5) + tuple(trace[2:]) for trace in stock]
    assert {t.domain for t in mprofile.Snapshot(foreign, 1).traces} == {389047}
    upstream = [(100, (("f", "a.py", 1, 3), ("g", "b.py", 5, 6))), (50, (("f", "a.py", 1, 3),))]
    statistics = mprofile.Snapshot(upstream, 128, 1000).statistics("lineno")
    assert [str(s.traceback) for s in statistics] == ["a.py:3"]
    assert statistics[0].traceback[0].name == "f"
    assert statistics[0].count == round(10.508331 + 20.504166)


def test_frames_accept_both_forms() -> None:
    assert mprofile.Frame(("a.py", 3)) == mprofile.Frame(("f", "a.py", 1, 3))
    assert mprofile.Frame(("a.py", 3)) == tracemalloc.Frame(("a.py", 3))
    both = mprofile.Traceback((("f", "a.py", 1, 3), ("g", "b.py", 5, 6)))
    assert both == tracemalloc.Traceback((("a.py", 3), ("b.py", 6)))
    assert hash(both) == hash(tracemalloc.Traceback((("a.py", 3), ("b.py", 6))))
    assert [f.name for f in both] == ["g", "f"]
    assert [f.name for f in both[:1]] == ["g"]
