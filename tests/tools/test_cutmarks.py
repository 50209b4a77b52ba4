# SPDX-License-Identifier: MIT
"""Stacks that were cut at the frame limit, in tracemalloc's classes and in the reports."""

from __future__ import annotations

from typing import Any

import mprofile
from helpers import LOAD, MAIN, VIEW, read, save
from snapshot_writer import Frame, Program

CUT: Frame = ("<unknown>", 0, "[frames cut]", 0)


def program() -> Program:
    made = Program(0)
    made.block(100, [LOAD, MAIN, CUT], depth=7)
    made.block(50, [LOAD, MAIN])
    made.block(10, [VIEW, CUT], depth=3)
    made.block(1, [("<unknown>", 0, "[no Python frame]", 0)], depth=0)
    return made


def test_tracemalloc_has_no_frame_for_it(tmp_path: Any) -> None:
    snapshot = mprofile.Snapshot.load(save(tmp_path / "a.bin", program().bytes()))
    tracebacks = [trace.traceback for trace in snapshot.traces]
    assert [len(one) for one in tracebacks] == [2, 2, 1, 1]
    assert [one.total_nframe for one in tracebacks] == [7, 2, 3, 1]
    assert str(tracebacks[0]) == "app/main.py:7"
    statistics = snapshot.statistics("traceback")
    assert [(one.size, one.count) for one in statistics] == [(150, 2), (10, 1), (1, 1)]
    cumulative = {str(one.traceback): one.size for one in snapshot.statistics("lineno", True)}
    assert cumulative == {
        "app/models.py:12": 150,
        "app/main.py:7": 150,
        "app/views.py:33": 10,
        "<unknown>:0": 1,
    }


def test_reports_show_it(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", program().bytes())
    assert "[frames cut]" in read(path, "--by", "traceback")[1]
