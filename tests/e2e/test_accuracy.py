# SPDX-License-Identifier: MIT
"""Lines of known size are found at the right file, function and line, with the right number of bytes.

The issue's own yardstick: all lines together within 3 % at 16k (the standard error of that sum is
0.46 % of it, so a right estimator fails once in 10^10 runs), exact at rate 1.
"""
from __future__ import annotations

import known
import pytest
from harness import RawFile, by_line, raw_by_line

RATE = 16 * 1024


def test_known_lines_at_16k(python, run):
    program, truths = known.start(run, python, "16k")
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""

    lines = known.own_lines(path)
    where = known.functions(path)
    for truth in truths:
        if truth.expected_samples(RATE) >= 30:
            assert truth.key in lines, truth.name
        if truth.key in lines:
            truth.check(lines[truth.key].size, RATE)
            assert where[truth.key] == (truth.file, truth.function)
    estimated = sum(lines[truth.key].size for truth in truths if truth.key in lines)
    true = sum(truth.size for truth in truths)
    assert estimated == pytest.approx(true, rel=0.03)


def test_known_lines_at_rate_1(python, run):
    """Exact, but for what known.Truth says the interpreter adds: list and dict heads out of freelists."""
    program, truths = known.start(run, python, "1")
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""

    lines = known.own_lines(path)
    where = known.functions(path)
    for truth in truths:
        line = lines[truth.key]
        truth.check(line.size, 1)
        assert line.error == 0 and line.count_error == 0
        assert where[truth.key] == (truth.file, truth.function)


def test_stated_errors(python, run):
    """The ± of a line is the root of the sum of w(w-1)s², and the reader's figures are the file's."""
    program, truths = known.start(run, python, "16k", scale=4)
    path = program.dump()
    assert program.finish() == 0

    lines, again = by_line(path), raw_by_line(RawFile(path))
    for truth in truths:
        if truth.key not in again:
            assert truth.key not in lines
            continue
        assert lines[truth.key].size == pytest.approx(again[truth.key].size, abs=1, rel=1e-6)
        assert lines[truth.key].error == pytest.approx(again[truth.key].error, abs=1, rel=1e-6)
        assert lines[truth.key].count == pytest.approx(again[truth.key].count, abs=1, rel=1e-6)
        assert lines[truth.key].count_error == pytest.approx(again[truth.key].count_error, abs=1, rel=1e-6)


@pytest.mark.few
def test_runs_differ(python, run):
    """Two runs draw different samples: seeds are not constant."""
    addresses = []
    for _ in range(2):
        program, truths = known.start(run, python, "64k", scale=8)
        raw = RawFile(program.dump())
        program.kill()
        addresses.append(sorted((one.size, one.stack[:1]) for one in raw.live))
        program.path(1).unlink()
    assert addresses[0] != addresses[1]
