# SPDX-License-Identifier: MIT
"""Grouping: keys, cumulative sums, and the variance of what is counted more than once."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Dict, List, Tuple

import pytest

from helpers import save
from mprofile._groups import group
from mprofile._ids import read_heap
from mprofile._sums import sum_sites
from mprofile._weights import weigh
from snapshot_writer import Frame, Program


def random_stacks(seed: int) -> List[Tuple[int, List[Frame]]]:
    rng = random.Random(seed)
    frames = [("m%d.py" % (n % 4), n % 7, "f%d" % n, 1) for n in range(12)]
    return [
        (rng.choice((10, 500, 4000)), [rng.choice(frames) for _ in range(rng.randint(1, 9))])
        for _ in range(300)
    ]


KEYS = {
    "lineno": lambda frame: frame[:2],
    "filename": lambda frame: frame[0],
    "function": lambda frame: (frame[0], *frame[2:]),
}


@pytest.mark.parametrize("kind", sorted(KEYS))
@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_against_one_sum_per_block(tmp_path: Any, kind: str, cumulative: bool, seed: int) -> None:
    """The tree's two passes give what block by block and frame by frame would."""
    rate = 1000
    program = Program(rate)
    expected: Dict[Any, List[float]] = {}
    for size, stack in random_stacks(seed):
        program.block(size, stack)
        times = Counter(map(KEYS[kind], stack if cumulative else stack[:1]))
        blocks, octets, blocks_var, bytes_var = weigh(size, rate)
        for key, m in times.items():
            sums = expected.setdefault(key, [0.0] * 5)
            more = (m, m * blocks, m * octets, m * m * blocks_var, m * m * bytes_var)
            for index, value in enumerate(more):
                sums[index] += value
    heap = read_heap(save(tmp_path / "a.bin", program.bytes()))
    totals = group([(heap, sum_sites(heap))], kind, cumulative)
    got = {
        key: [t.samples, t.blocks, t.bytes, t.blocks_var, t.bytes_var] for key, t in totals.items()
    }
    assert got.keys() == expected.keys()
    for key, sums in expected.items():
        assert got[key] == pytest.approx(sums, rel=1e-9)


def test_stacks_are_equal_if_their_lines_are(tmp_path: Any) -> None:
    """Two functions on one line: two nodes, one stack, as tracemalloc sees it."""
    program = Program(0)
    program.block(1, [("a.py", 3, "<lambda>", 3), ("b.py", 1, "f", 1)])
    program.block(2, [("a.py", 3, "g", 1), ("b.py", 1, "f", 1)])
    program.block(4, [("a.py", 3, "g", 1), ("b.py", 2, "f", 1)])
    heap = read_heap(save(tmp_path / "a.bin", program.bytes()))
    parts = [(heap, sum_sites(heap))]
    assert sorted(t.bytes for t in group(parts, "traceback").values()) == [3, 4]
    assert sorted(t.bytes for t in group(parts, "function").values()) == [1, 6]
    (line,) = group(parts, "lineno").values()
    # The name that is shown is that of the heavier.
    assert line.bytes == 7 and heap.frame(line.node)[2] == "g"
