# SPDX-License-Identifier: MIT
"""Several files as one program: what is inherited is counted once, in the oldest that has it."""

from __future__ import annotations

import copy
from typing import Any, Dict, List

import mprofile
from helpers import LOAD, MAIN, VIEW, read, save
from mprofile._heap import Heap
from mprofile._ids import read_heap
from mprofile._merge import merge
from snapshot_writer import Program


def family() -> Dict[str, Program]:
    """A parent with blocks 1 to 6, two children that forked with them, and a grandchild.

    After the forks the parent freed 5 and 6, the first child freed 1 and 5, the second freed 2 and
    allocated anew at the same address. The grandchild comes from the second.
    """
    parent = Program(0, pid=10)
    for number in range(1, 7):
        parent.block(100 * number, [LOAD, MAIN], address=number, time=number)
    children = []
    for number in (1, 2):
        child = copy.deepcopy(parent)
        child.fork(0xC0 + number, 10 + number, 1000 * number)
        child.block(7000 + number, [VIEW, MAIN], address=70, time=5000)
        children.append(child)
    first, second = children
    first.live = [row for row in first.live if row[0] not in (1, 5)]
    second.live = [row for row in second.live if row[0] != 2]
    second.block(200, [VIEW, MAIN], address=2, time=6000)
    grandchild = copy.deepcopy(second)
    grandchild.fork(0xD1, 21, 9000)
    grandchild.block(50, [VIEW, MAIN], address=90, time=9500)
    parent.live = parent.live[:4]
    return {"parent": parent, "first": first, "second": second, "grandchild": grandchild}


def files(tmp_path: Any, programs: Dict[str, Program]) -> Dict[str, str]:
    return {name: save(tmp_path / (name + ".bin"), p.bytes()) for name, p in programs.items()}


def sizes(heaps: List[Heap]) -> Dict[str, List[int]]:
    return {heap.path.rsplit("/", 1)[1][:-4]: sorted(heap.live.size) for heap in heaps}


def test_counted_once_in_the_oldest_that_has_it(tmp_path: Any) -> None:
    paths = files(tmp_path, family())
    for order in (["grandchild", "second", "first", "parent"], list(paths)):
        heaps, notes = merge([read_heap(paths[name]) for name in order])
        assert notes == []
        assert sizes(heaps) == {
            "parent": [100, 200, 300, 400],
            "first": [600, 7001],
            "second": [200, 500, 7002],
            "grandchild": [50],
        }
        assert [heap.counted_elsewhere for heap in heaps] == [0, 3, 4, 7]


def test_without_the_parent_the_oldest_child_has_it(tmp_path: Any) -> None:
    paths = files(tmp_path, family())
    heaps, _ = merge([read_heap(paths[name]) for name in ("second", "first")])
    assert sizes(heaps) == {
        "first": [200, 300, 400, 600, 7001],
        "second": [100, 200, 500, 7002],
    }


def test_strangers_share_nothing(tmp_path: Any) -> None:
    one, two = family()["parent"], Program(0, uid="00000000000000ff", pid=99)
    two.live, two.sites, two.nodes = one.live, one.sites, one.nodes
    two.functions, two.strings = one.functions, one.strings
    two.threads, two.rates = one.threads, one.rates
    paths = files(tmp_path, {"one": one, "two": two})
    heaps, _ = merge(list(map(read_heap, paths.values())))
    assert [len(heap.live) for heap in heaps] == [4, 4]


def test_of_one_process_the_newest_counts(tmp_path: Any) -> None:
    early, late = family()["parent"], family()["parent"]
    early.head["time"] = "1700000030.000000000"
    late.live = late.live[:2]
    paths = files(tmp_path, {"early": early, "late": late})
    heaps, notes = merge([read_heap(paths["late"]), read_heap(paths["early"])])
    assert [heap.path for heap in heaps] == [paths["late"]]
    assert len(notes) == 1 and notes[0].startswith(paths["early"])


def test_same_file_twice_is_one(tmp_path: Any) -> None:
    path = files(tmp_path, family())["parent"]
    heaps, notes = merge([read_heap(path), read_heap(path)])
    assert len(heaps) == 1 and len(notes) == 1


def test_how_many_programs(tmp_path: Any) -> None:
    """Python runs many programs; forks of one are one, whatever they call themselves."""
    def head(*commands: str, fork: bool = False) -> str:
        paths = []
        for number, command in enumerate(commands):
            words = command.replace(" ", "\0")
            one = Program(0, uid="%016x" % (0xC1 + number), pid=20 + number, cmdline=words, exe="/usr/bin/python3")
            if fork:
                one.lineage = [(0xB1, 10, 0), *one.lineage]
            one.block(100, [LOAD, MAIN])
            paths.append(save(tmp_path / ("%d.bin" % number), one.bytes()))
        return read(*paths)[1].splitlines()[0].partition("processes ")[2]

    assert head("python3 -u app.py --port 1", "python3 -u app.py --port 2") == "of one program"
    assert head("python3 app.py", "python3 job.py", "python3 job.py 3") == "of 2 programs"
    assert head("python3 -m app", "python3 -m job") == "of 2 programs"
    assert head("python3 app.py", "app: worker 1", fork=True) == "of one program"


def test_groups_meet_across_tables_with_other_ids(tmp_path: Any) -> None:
    one = Program(0, uid="1", pid=1)
    one.block(10, [LOAD, MAIN])
    two = Program(0, uid="2", pid=2)
    two.block(5, [VIEW, MAIN])
    two.block(20, [LOAD, MAIN])
    paths = files(tmp_path, {"one": one, "two": two})
    snapshot = mprofile.Snapshot.load(paths["one"], paths["two"])
    for key in ("lineno", "traceback"):
        assert [(s.size, s.count) for s in snapshot.statistics(key)] == [(30, 2), (5, 1)]
    assert [(s.size, s.count) for s in snapshot.statistics("lineno", True)] == [
        (35, 3),
        (30, 2),
        (5, 1),
    ]
    assert len(snapshot.traces) == 3 and len(snapshot.heads) == 2
    assert [t.size for t in snapshot.traces] == [10, 5, 20]
    only = snapshot.filter_traces([mprofile.Filter(True, VIEW[0])])
    assert [t.size for t in only.traces] == [5]
