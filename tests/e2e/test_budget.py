# SPDX-License-Identifier: MIT
"""A budget for the profiler's own memory: beyond it the rate is doubled, the figures stay true, and the report says so."""
from __future__ import annotations

import re

from harness import by_line, load, marks, reader

SOURCE = """\
import sys
kept = []
for n in range(200000):
    kept.append(bytes(600))  # @kept
print("ready", flush=True)
sys.stdin.read()
"""


def test_it_thins_and_says_so(python, run):
    program = run(python, SOURCE, env={"MPROFILERATE": "1", "MPROFILEMEMORY": "4m"})
    program.ready()
    path = program.dump()
    line = by_line(path)["app.py", marks(SOURCE)["kept"]]
    truth = 200000 * python.bytes_size(600)
    snapshot = load(path)
    assert int(snapshot.head.text("own_bytes")) < 9 << 20  # every block would be 12 MiB, and its index
    assert int(snapshot.head.text("note.thinned")) >= 1 and snapshot.sample_rate >= 128
    errors = {s.traceback[0].lineno: s.size_error for s in snapshot.statistics("lineno")
              if s.traceback[0].filename.endswith("app.py")}
    error = errors[marks(SOURCE)["kept"]]
    assert 0 < error < truth / 30
    assert abs(line.size - truth) < 5 * error + truth / 100  # the list's own items are on this line, too
    report = reader(path).stdout
    assert re.search(r"reached its budget \(MPROFILEMEMORY\)", " ".join(report.split()))
    assert "changed while running" in report or "one every" in report


def test_none_is_no_budget(python, run):
    program = run(python, SOURCE, env={"MPROFILERATE": "1", "MPROFILEMEMORY": "none"})
    program.ready()
    snapshot = load(program.dump())
    assert snapshot.head.text("note.thinned") is None and snapshot.sample_rate == 1
