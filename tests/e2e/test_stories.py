# SPDX-License-Identifier: MIT
"""Small real programs with a known answer: what a person would type, and what they must be told.

Each program of tests/stories has one fault (or none). For each the report must put the right line
on top, and use the right words for it. The accounts of resident size are in test_rss.py.
"""
from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from harness import ROOT, Python, marks, reader, wheels

PANDAS = ("pandas==2.3.3", "numpy==2.3.5", "python-dateutil==2.9.0.post0", "pytz==2025.2", "six==1.17.0", "tzdata==2025.2")
STORIES = ROOT / "tests" / "stories"
MB = 1000 * 1000
pytestmark = pytest.mark.few


def start(run: Any, python: Python, name: str, word: str = "ready", rate: str = "16k") -> Any:
    return run(python, argv=[STORIES / name], env={"MPROFILERATE": rate}).ready(word)


def rows(*arguments: Any) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = json.loads(reader("--json", "-", *arguments).stdout)["rows"]
    return found


def said(*arguments: Any) -> str:
    """What a person is told, on one line."""
    return " ".join(reader(*arguments).stdout.split())


def at(name: str, mark: str) -> str:
    return "%s:%d" % (name, marks((STORIES / name).read_text())[mark])


def place(row: Dict[str, Any]) -> str:
    return "%s:%d" % (os.path.basename(row["file"]), row["line"])


def test_a_slow_leak_in_a_web_server(python: Python, run: Any) -> None:
    """--leaks: the leak is first, above a table six times as large that is only old."""
    path = start(run, python, "leak_web.py").dump()
    found = rows("--leaks", path)
    kinds = {place(row): row["kind"] for row in found}
    assert place(found[0]) == at("leak_web.py", "leak") and found[0]["kind"] == "grows"
    assert kinds[at("leak_web.py", "table")] in ("old", "stopped")
    assert kinds.get(at("leak_web.py", "busy"), "young") in ("young", "few")
    seconds = json.loads(reader("--json", "-", "--leaks", path).stdout)["run_seconds"]
    per_hour = 600 * 4000 / seconds * 3600
    assert 0.5 * per_hour < found[0]["growth_per_hour"] < 2 * per_hour
    text = said("--leaks", path)
    assert at("leak_web.py", "leak") + " grows: some of it stays in all parts of the run" in text


def test_a_cache_without_bound(python: Python, run: Any) -> None:
    """--diff: the cache grew by 10 MB, and the table four times as large not at all."""
    program = start(run, python, "cache_unbounded.py", "warm")
    old = program.dump()
    program.say("more")
    program.ready()
    new = program.dump(2)
    first = rows("--diff", old, new)[0]
    assert place(first) == at("cache_unbounded.py", "cache") and not first["change"]["noise"]
    change, error = first["change"]["bytes"], first["change"]["bytes_error"]
    assert abs(change - 10 * MB) < 5 * error + 0.1 * MB and error < 0.1 * change
    table = [row for row in rows("--diff", old, new) if place(row) == at("cache_unbounded.py", "table")]
    assert [row["change"]["bytes"] for row in table] == [0]
    shown = reader("--diff", old, "--significant", new).stdout
    top = [line for line in shown.splitlines() if "cache_unbounded.py:" in line][0]
    assert top.startswith("+") and at("cache_unbounded.py", "cache") in top
    # The same, from both in a row.
    assert at("cache_unbounded.py", "cache") in said("--leaks", old, new)


def test_a_big_table_kept_by_a_closure(python: Python, run: Any) -> None:
    """The line is on top, and --tree says who called it."""
    path = start(run, python, "closure.py").dump()
    first = rows(path)[0]
    assert place(first) in (at("closure.py", "plain"), at("closure.py", "numpy"))
    assert abs(first["bytes"] - 60 * MB) < 0.1 * MB and first["bytes_error"] < MB
    heaviest = [line.split() for line in reader("--tree", path).stdout.splitlines() if " MiB " in line and "closure.py:" in line]
    below = [words[-1] for words in heaviest[:3 if python.minor >= (3, 12) else 4]]
    assert [os.path.basename(word) for word in below][-2:] == [at("closure.py", "caller"), place(first)]
    assert "make_handler" in " ".join(sum(heaviest, [])) and "the heaviest path is open" in said("--tree", path)


@pytest.mark.network
def test_a_data_frame_kept_by_a_closure(run: Any) -> None:
    """By line it is somewhere in pandas; the tree says who asked for it."""
    pandas = wheels("%d.%d" % sys.version_info[:2], *PANDAS)
    assert pandas is not None, "pandas cannot be had for this Python"
    program = run(argv=[sys.executable, STORIES / "dataframe.py", pandas], env={"MPROFILERATE": "16k"})
    path = program.ready().dump()
    assert program.finish() == 0
    assert "/pandas/core/" in rows(path)[0]["file"] and rows(path)[0]["bytes"] >= 192 * MB
    tree = reader("--tree", path).stdout
    caller = next(line for line in tree.splitlines() if line.endswith(at("dataframe.py", "load")))
    assert re.match(r" *183 MiB .* subscribe  ", caller), tree
    functions = reader("--cumulative", "--by", "function", path).stdout
    assert re.search(r"183 MiB .*dataframe\.py:\d+ subscribe$", functions, re.M), functions


def test_workers_that_inherit(python: Python, run: Any) -> None:
    """--by generation tells what is inherited from what is a worker's own; merged it counts once."""
    program = run(python, argv=[STORIES / "worker_inherits.py"], env={"MPROFILERATE": "16k"})
    workers = [int(program.line().split()[1]) for _ in range(2)]
    paths = [program.dump()]
    for pid in workers:
        os.kill(pid, 12)
        paths.append(program.wait_for(program.path(1, pid)))
    assert program.finish() == 0
    mine = rows("--by", "generation", paths[1])
    assert [row["inherited"] for row in mine] == [True, False]
    assert mine[0]["allocated_in_pid"] == program.pid
    assert abs(mine[1]["bytes"] - 3000 * 2057) < 2 * MB
    assert "pid %d: inherited from pid %d" % (workers[0], program.pid) in said("--by", "generation", paths[1])
    merged = {place(row): row for row in rows(*paths)}
    inherited = merged[at("worker_inherits.py", "inherited")]
    own = merged[at("worker_inherits.py", "own")]
    assert abs(inherited["bytes"] - 10000 * 3033) < 5 * inherited["bytes_error"]
    assert abs(own["bytes"] - 2 * 3000 * 2057) < 5 * own["bytes_error"]
    beside = rows("--by", "process", *paths)
    assert beside[0]["pid"] == program.pid and {row["pid"] for row in beside} == {program.pid, *workers}
    assert "a block is counted once, in the oldest process that has it" in said(*paths)


def test_a_busy_line_that_keeps_nothing(python: Python, run: Any) -> None:
    """It leads what was ever allocated; among what is alive, and what stays, it does not."""
    path = start(run, python, "busy.py").dump()
    busy, index = at("busy.py", "busy"), at("busy.py", "index")
    ever = rows("--value", "alloc_bytes", path)[0]
    assert place(ever) == busy and abs(ever["bytes"] - 2000 * 100 * 4057) < 50 * MB
    assert place(rows(path)[0]) == index
    assert rows("--by", "type", path)[0]["type"] == "str"
    kinds = {place(row): row for row in rows("--leaks", path)}
    assert busy not in kinds or kinds[busy]["kind"] in ("young", "few", "turns_over")
    assert "Bytes ever allocated by the process, freed or not" in said("--value", "alloc_bytes", path)


def test_cycles_that_wait_for_the_collector(python: Python, run: Any) -> None:
    """--leaks: it turns over. It is no leak, and nothing of it is older than the last collection."""
    path = start(run, python, "cycles.py").dump()
    found = rows("--leaks", path)
    cycle = at("cycles.py", "cycle")
    row, = [row for row in found if place(row) == cycle]
    assert row["kind"] == "turns_over" and row["kept"] < 0.5
    assert not [one for one in found if one["kind"] == "grows"]
    assert cycle + " turns over: nothing stays longer than about" in said("--leaks", path)


def test_a_leak_in_c(python: Python, run: Any) -> None:
    """--by domain: it is native memory; and the Python line that called."""
    path = start(run, python, "leak_native.py", rate="128k").dump()
    assert rows("--by", "domain", path)[0]["domain"] == "malloc"
    assert place(rows(path)[0]) == at("leak_native.py", "leak")
    assert "Verdict: Mostly live native memory" in said("--rss", path)


def test_a_leak_of_python_objects_for_pprof(python: Python, run: Any, tmp_path: Path) -> None:
    """The collapsed stacks and the report say the same of the line that leaks."""
    path = start(run, python, "leak_python.py").dump()
    first = rows(path)[0]
    lines = reader("--collapsed", "-", "--leaf-first", path).stdout.splitlines()
    figure = sum(int(line.rpartition(" ")[2]) for line in lines
                 if line.split(";")[0].split(" ")[0] == first["function"]
                 and ":%d)" % first["line"] in line.split(";")[0])
    assert abs(figure - first["bytes"]) <= len(lines)
    assert place(first) == at("leak_python.py", "history")
