# SPDX-License-Identifier: MIT
"""Small real programs with a known answer, and the command that a person would type: the right line
is on top, with the right words. What leaks in C, and what only fragments, is in test_rss.py.
"""
from __future__ import annotations

import os
import re
import signal
import sys
from typing import Dict, List

import pytest
from harness import ROOT, Running, marks, reader, wheels

PANDAS = ("pandas==2.3.3", "numpy==2.3.5", "python-dateutil==2.9.0.post0", "pytz==2025.2", "six==1.17.0", "tzdata==2025.2")
STORIES = ROOT / "tests" / "stories"


@pytest.fixture
def tell(run):
    """Start a story, and wait until it is told."""
    def started(python, name: str, *args: str, rate: str = "16k") -> Running:
        program = run(python, argv=[STORIES / (name + ".py"), *args], env={"MPROFILERATE": rate})
        return program.ready()

    return started


def places(said: str) -> List[str]:
    """The lines that a report names, in its order, by their marks in the story or as they are."""
    found: List[str] = []
    known: Dict[str, Dict[int, str]] = {}
    for line in said.splitlines():
        match = re.match(r"[ +-]*[\d-].*?([^ /\u2026]+)\.py:(\d+)$", line)
        if match is None:
            continue
        name, number = match.group(1), int(match.group(2))
        story = STORIES / (name + ".py")
        if name not in known:
            source = story.read_text() if story.exists() else ""
            known[name] = {at: mark for mark, at in marks(source).items()}
        found.append(known[name].get(number, "%s:%d" % (name, number)))
    return found


def below(said: str, place: str) -> str:
    """What stands below the first row of a place, in one line."""
    lines = said.splitlines()
    at = next(n for n, line in enumerate(lines) if line.endswith(place))
    rest = lines[at + 1 :]
    end = next((n for n, line in enumerate(rest) if not line.startswith("    ")), len(rest))
    return " ".join(" ".join(rest[:end]).split())


def line_of(name: str, mark: str) -> str:
    return "%s.py:%d" % (name, marks((STORIES / (name + ".py")).read_text())[mark])


@pytest.mark.few
def test_a_slow_leak_in_a_web_server(python, tell):
    """Above a cache that holds four times as much, and above what is allocated a hundred times as fast."""
    server = tell(python, "slow_leak", "1500")
    first = server.dump()
    table = reader(first).stdout
    assert places(table)[:2] == ["cache", "leak"]
    leaks = reader("--leaks", first).stdout
    assert places(leaks)[0] == "leak"
    assert "grows: some of it stays in all parts of the run" in below(leaks, line_of("slow_leak", "leak"))
    assert "old: nearly all of it is from the start" in below(leaks, line_of("slow_leak", "cache"))
    assert "busy" not in places(leaks)[:2]
    assert places(reader("--value", "alloc_bytes", first).stdout)[0] == "busy"
    # A second snapshot: what grew, and nothing else of weight.
    server.say("more")
    second = server.ready().dump(2)
    grown = reader("--diff", first, "--significant", second).stdout
    assert places(grown)[0] == "leak" and "cache" not in places(grown)
    assert places(reader("--leaks", first, second).stdout)[0] == "leak"
    assert server.finish() == 0


@pytest.mark.few
def test_a_cache_without_bound(python, tell):
    program = tell(python, "cache")
    first = program.dump()
    program.say("more")
    second = program.ready().dump(2)
    assert program.finish() == 0
    table = reader(second).stdout
    assert places(table)[0] == "cache"
    assert re.search(r"answer: return Answer.* str( \d+%)?$", below(table, line_of("cache", "cache")))
    grown = reader("--diff", first, second).stdout
    assert places(grown)[0] == "cache" and "which is within the noise" not in grown
    # 3,000 more answers of 400 numbers and spaces: 6.3 MB and some.
    change = re.search(r"\+(\d+\.\d+) MiB", grown)
    assert change and 5.0 < float(change.group(1)) < 8.5


@pytest.mark.network
def test_a_frame_that_a_closure_keeps(run):
    """By line it is somewhere in pandas; the tree says who asked for it."""
    pandas = wheels("%d.%d" % sys.version_info[:2], *PANDAS)
    assert pandas is not None, "pandas cannot be had for this Python"
    program = run(argv=[sys.executable, STORIES / "closure.py", pandas], env={"MPROFILERATE": "16k"})
    path = program.ready().dump()
    assert program.finish() == 0
    first = next(line for line in reader(path).stdout.splitlines() if re.search(r"\.py:\d+$", line) and "MiB" in line)
    assert re.match(r" *183 MiB .*/pandas/core/", first), first
    tree = reader("--tree", path).stdout
    caller = next(line for line in tree.splitlines() if line.endswith(line_of("closure", "load")))
    assert re.match(r" *183 MiB .* subscribe  ", caller), tree
    functions = reader("--cumulative", "--by", "function", path).stdout
    assert re.search(r"183 MiB .*closure\.py:\d+ subscribe$", functions, re.M), functions


@pytest.mark.few
def test_workers_that_inherit(python, run):
    """20 MB are in four processes, and are counted once; the worker that keeps more stands out."""
    program = run(python, argv=[STORIES / "workers.py"], env={"MPROFILERATE": "16k"})
    workers = [int(word) for word in program.line().split()]
    program.ready()
    paths = [program.dump()]
    for worker in workers:
        os.kill(worker, signal.SIGUSR2)
        paths.append(program.wait_for(program.path(1, worker)))
    assert program.finish() == 0
    said = reader(*paths).stdout
    assert places(said)[:2] == ["own", "table"]
    table = next(line for line in said.splitlines() if line.endswith(line_of("workers", "table")))
    assert re.match(r"1[89]\.\d MiB|20\.\d MiB", table), table
    sides = reader("--side-by-side", *paths).stdout
    title, own = [next(line for line in sides.splitlines() if line.endswith(end)) for end in ("types", line_of("workers", "own"))]
    # The heaviest are the worker that keeps more, and the parent, with what all inherited.
    assert title.split()[:6] == ["all", "\u00b1", "pid", str(workers[1]), "pid", str(program.pid)], sides
    assert re.match(r"3\d\.\d MiB +\S+ +2[6-9]\.\d MiB +- ", own), own
    inherited = reader("--by", "generation", paths[2]).stdout
    assert "pid %d: inherited from pid %d" % (workers[1], program.pid) in inherited
    assert "pid %d: its own" % workers[1] in inherited


@pytest.mark.few
def test_a_busy_line_that_keeps_nothing(python, tell):
    program = tell(python, "busy")
    path = program.dump()
    assert program.finish() == 0
    assert places(reader("--value", "alloc_bytes", path).stdout)[0] == "busy"
    assert places(reader(path).stdout)[0] == "kept" and "busy" not in places(reader(path).stdout)[:3]
    leaks = reader("--leaks", path).stdout
    assert places(leaks)[0] == "kept"
    if "busy" in places(leaks):
        assert not below(leaks, line_of("busy", "busy")).startswith("grows: ")


@pytest.mark.few
def test_cycles_that_wait_for_the_collector(python, tell):
    """The type says what they are; after a collection they are gone."""
    program = tell(python, "cycles")
    first = program.dump()
    assert places(reader(first).stdout)[0] == "node"
    types = [line.split("  ")[-1] for line in reader("--by", "type", first).stdout.splitlines()]
    assert "Node" in types[-25:]
    program.say("collect")
    second = program.ready().dump(2)
    assert program.finish() == 0
    change = reader("--diff", first, second).stdout
    row = next(line for line in change.splitlines() if line.endswith(line_of("cycles", "node")))
    assert row.startswith("-"), change
    assert places(change)[0] == "node"
