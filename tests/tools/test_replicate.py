# SPDX-License-Identifier: MIT
"""A weighted snapshot as a plain one of tracemalloc's."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any, Dict, List

import pytest

import mprofile
from helpers import LOAD, MAIN, VIEW, save, small, stock_traces
from mprofile._replicate import replicate
from snapshot_writer import Program


def loaded(tmp_path: Any, program: Program) -> mprofile.Snapshot:
    return mprofile.Snapshot.load(save(tmp_path / "a.bin", program.bytes()))


def sums(statistics: List[Any]) -> Dict[Any, Any]:
    return {s.traceback: s for s in statistics}


def test_exact_snapshots_are_the_same(tmp_path: Any) -> None:
    plain = loaded(tmp_path, small(0)).to_tracemalloc()
    assert type(plain) is tracemalloc.Snapshot
    assert plain.traces._traces == stock_traces(small(0))  # type: ignore[attr-defined]
    assert plain.traceback_limit == 128
    assert plain.blocks_per_trace == 1.0  # type: ignore[attr-defined]


def big(number: int = 0) -> Program:
    program = Program(4096, number=number)
    for size in (8, 100, 100, 1000, 5000, 20000):
        for _ in range(50):
            program.block(size, [LOAD, MAIN])
            program.block(size + 1, [VIEW, LOAD, MAIN], domain="malloc")
    return program


@pytest.mark.parametrize("key", ["lineno", "filename", "traceback"])
def test_stock_statistics_come_out_right(tmp_path: Any, key: str) -> None:
    ours = loaded(tmp_path, big())
    plain = sums(ours.to_tracemalloc().statistics(key))
    for one in ours.statistics(key):
        got = plain[one.traceback]
        assert abs(got.count - one.count) <= 2  # one for each site, and ours is rounded too
        assert abs(got.size - one.size) <= max(one.size_error, 20001)


def test_the_rounding_is_repeatable_and_not_always_the_same(tmp_path: Any) -> None:
    def traces(number: int) -> Any:
        return loaded(tmp_path, big(number)).to_tracemalloc().traces._traces  # type: ignore[attr-defined]

    assert traces(1) == traces(1)
    assert traces(1) != traces(2)


def test_the_rounding_has_no_bias(tmp_path: Any) -> None:
    """One block of weight 1.4185 in 400 snapshots: the mean is right to four of its standard errors."""
    counts = []
    for number in range(400):
        program = Program(4096, number=number)
        program.block(5000, [MAIN])
        counts.append(len(loaded(tmp_path, program).to_tracemalloc().traces))
    assert set(counts) == {1, 2}
    # sqrt(0.4185 * 0.5815 / 400) = 0.0247
    assert sum(counts) / 400 == pytest.approx(1.418485, abs=4 * 0.0247)


def test_too_many_blocks_become_larger_ones(tmp_path: Any) -> None:
    ours = loaded(tmp_path, big())
    plain = replicate(ours._parts, 128, 1000)
    assert plain.blocks_per_trace > 50  # type: ignore[attr-defined]
    assert len(ours.traces) <= len(plain.traces) <= len(ours.traces) + 1000
    got = sums(plain.statistics("lineno"))
    for one in ours.statistics("lineno"):
        same = got[one.traceback]
        assert same.size == pytest.approx(one.size, rel=1e-3)
        assert same.count < one.count


def test_it_is_loaded_by_stock_tracemalloc(tmp_path: Any) -> None:
    plain = loaded(tmp_path, small(4096)).to_tracemalloc()
    path = str(tmp_path / "a.pickle")
    plain.dump(path)
    with open(path, "rb") as file:
        assert b"mprofile" not in file.read()
    again = tracemalloc.Snapshot.load(path)
    assert again.statistics("lineno") == plain.statistics("lineno")
    back = mprofile.Snapshot.load(path)
    assert back.statistics("lineno") == plain.statistics("lineno")


def test_equal_traces_are_pickled_once(tmp_path: Any) -> None:
    program = Program(1 << 20)
    program.block(10, [MAIN])  # stands for 104,858 blocks
    plain = loaded(tmp_path, program).to_tracemalloc()
    assert len(plain.traces) == pytest.approx(104858, abs=1)
    assert len(pickle.dumps(plain, 4)) < 5 * 104858
