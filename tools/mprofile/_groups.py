# SPDX-License-Identifier: MIT
"""Grouping: from sums per site to totals per line, file, function, stack.

Keys are made of contents, never of ids, so that the processes of one program, each with tables of
its own, fall into the same groups. A stack's key is a number that equal stacks share, so that
stacks are compared without being built.

Lines, files and functions are those of the nearest Python frame: native frames above it are passed
over, unless the stack has no Python frame at all. A whole stack has all of its frames.

`cumulative` counts a block in the group of each frame of its stack, as often as the group is in it:
what tracemalloc does, for which recursion multiplies. One pass over the call tree, children before
parents, gives every node's share; work is proportional to the tree, not to the stacks' lengths.

Invariants:
- a group's variance is exact also where a block is in it m times: m^2 times the block's own,
  for m^2 = 1 + 3 + ... + (2m - 1) is a sum over the m frames;
- groups come in the order of their first site, so that output does not depend on hashing.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Callable, Dict, Hashable, List, Optional, Sequence, Tuple

from ._heap import UNKNOWN_FILE, Heap
from ._sums import Sums

if TYPE_CHECKING:
    from ._heap import Ints


class Total:
    """The sums of one group, and a node that shows where it is."""

    __slots__ = (
        "samples",
        "blocks",
        "bytes",
        "blocks_var",
        "bytes_var",
        "heap",
        "node",
        "nearest",
        "best",
    )

    def __init__(self, heap: Heap, node: int) -> None:
        self.samples = 0
        self.blocks = 0.0
        self.bytes = 0.0
        self.blocks_var = 0.0
        self.bytes_var = 0.0
        self.heap = heap
        self.node = node
        #: The nearest frame of the heaviest contribution's stack; native, where `node` is not.
        self.nearest = node
        #: The bytes of the heaviest contribution so far, whose node is the one shown.
        self.best = -1.0

    def add(
        self,
        heap: Heap,
        sums: Sums,
        row: int,
        node: int,
        passes: int = 1,
        nearest: Optional[int] = None,
    ) -> None:
        """Add one row; *passes* is which of its group's frames this is on the stack, from 1."""
        octets = sums.bytes[row]
        self.samples += int(sums.samples[row])
        self.blocks += sums.blocks[row]
        self.bytes += octets
        self.blocks_var += sums.blocks_var[row] * (2 * passes - 1)
        self.bytes_var += sums.bytes_var[row] * (2 * passes - 1)
        if octets > self.best:
            self.best = octets
            self.heap = heap
            self.node = node
            self.nearest = node if nearest is None else nearest


class StackIds:
    """Numbers for stacks: equal if and only if all frames have equal file and line."""

    def __init__(self) -> None:
        self._ids: Dict[Tuple[int, str, int], int] = {}

    def of(self, heap: Heap) -> List[int]:
        """The number of each node's stack."""
        numbers = [0]
        parent, ids = heap.nodes.parent, self._ids
        for node in range(1, len(parent)):
            file, line, _, _ = heap.frame(node)
            numbers.append(ids.setdefault((numbers[parent[node]], file, line), len(ids) + 1))
        return numbers


KeyOf = Callable[[int], Hashable]


def _key_function(heap: Heap, kind: str, stacks: StackIds) -> KeyOf:
    """The function from node to key. `place` is a line, with unknown stacks told apart."""
    frame = heap.frame
    if kind == "traceback":
        return stacks.of(heap).__getitem__
    if kind == "lineno":
        return lambda node: frame(node)[:2]
    if kind == "filename":
        return lambda node: frame(node)[0]
    if kind == "function":
        return lambda node: (frame(node)[0], *frame(node)[2:])
    if kind == "place":

        def place(node: int) -> Hashable:
            file, line, name, _ = frame(node)
            return (file, line, name if file == UNKNOWN_FILE else "")

        return place
    raise ValueError("unknown key type %r" % kind)


def site_keys(heap: Heap, kind: str) -> List[Hashable]:
    """The key of each site's group, as `group` without *cumulative* has it."""
    key_of = _key_function(heap, kind, StackIds())
    keys = heap.key_nodes()
    of_node: Dict[int, Hashable] = {}
    found = []
    for nearest in heap.sites.node:
        node = nearest if keys is None else keys[nearest]
        if node not in of_node:
            of_node[node] = key_of(node)
        found.append(of_node[node])
    return found


def _live_rows(sums: Sums) -> List[int]:
    columns = zip(sums.samples, sums.blocks, sums.bytes)
    return [row for row, values in enumerate(columns) if any(values)]


def group(
    parts: Sequence[Tuple[Heap, Sums]],
    kind: str,
    cumulative: bool = False,
    stacks: Optional[StackIds] = None,
) -> Dict[Hashable, Total]:
    """Totals by key over the sites of all parts.

    With *stacks* given again, equal stacks have equal keys from one call to the next.
    """
    totals: Dict[Hashable, Total] = {}
    stacks = StackIds() if stacks is None else stacks
    for heap, sums in parts:
        key_of = _key_function(heap, kind, stacks)
        keys = heap.key_nodes() if kind != "traceback" else None
        nodes = heap.sites.node
        if cumulative and keys is None:
            _group_cumulative(heap, sums, key_of, totals)
        elif cumulative and keys is not None:
            with_python, without = _by_python(heap, sums, keys)
            _group_cumulative(heap, with_python, key_of, totals, heap.is_native)
            _group_cumulative(heap, without, key_of, totals)
        else:
            for site in _live_rows(sums):
                nearest = nodes[site]
                node = nearest if keys is None else keys[nearest]
                _add(totals, key_of(node), heap, sums, site, node, 1, nearest)
    return totals


def _by_python(heap: Heap, sums: Sums, keys: Ints) -> Tuple[Sums, Sums]:
    """The sums of the sites whose stack has a Python frame, and of the others."""
    python = [not heap.is_native(keys[node]) for node in heap.sites.node]
    parts = (Sums(0), Sums(0))
    for name in Sums.__slots__:
        column = getattr(sums, name)
        for part, wanted in zip(parts, (True, False)):
            setattr(part, name, [v if one is wanted else 0 for v, one in zip(column, python)])
    return parts


def _add(
    totals: Dict[Hashable, Total],
    key: Hashable,
    heap: Heap,
    sums: Sums,
    row: int,
    node: int,
    passes: int = 1,
    nearest: Optional[int] = None,
) -> None:
    total = totals.get(key)
    if total is None:
        total = totals[key] = Total(heap, node)
    total.add(heap, sums, row, node, passes, nearest)


def _group_cumulative(
    heap: Heap,
    sums: Sums,
    key_of: KeyOf,
    totals: Dict[Hashable, Total],
    left_out: Callable[[int], bool] = lambda node: False,
) -> None:
    shares = inclusive(heap, sums)
    if any((shares.samples[0], shares.blocks[0], shares.bytes[0])):
        _add(totals, key_of(0), heap, shares, 0, 0)
    keys: Dict[int, Hashable] = {n: key_of(n) for n in _live_rows(shares) if n}
    passes = _passes(heap.nodes.parent, keys)
    for node, key in keys.items():
        if not left_out(node):
            _add(totals, key, heap, shares, node, node, passes[node])


def inclusive(heap: Heap, sums: Sums) -> Sums:
    """Each node's sums with those of all its descendants; the root keeps only its own."""
    parent = heap.nodes.parent
    shares = Sums(len(parent))
    for own, below in zip(sums.lists(), shares.lists()):
        for node, value in zip(heap.sites.node, own):
            if value:
                below[node] += value
        for node in range(len(parent) - 1, 0, -1):
            value = below[node]
            if value and parent[node]:
                below[parent[node]] += value
    return shares


def _passes(parent: Ints, keys: Dict[int, Hashable]) -> Dict[int, int]:
    """For each node: how many frames of its key are on the way from the root to it, itself too."""
    first_child = array("I", bytes(4 * len(parent)))
    sibling = array("I", bytes(4 * len(parent)))
    for node in keys:
        sibling[node] = first_child[parent[node]]
        first_child[parent[node]] = node
    open_frames: Dict[Hashable, int] = {}
    passes: Dict[int, int] = {}
    node = first_child[0]
    while node:
        key = keys[node]
        passes[node] = open_frames[key] = open_frames.get(key, 0) + 1
        following = first_child[node]
        while not following and node:
            open_frames[keys[node]] -= 1
            following = sibling[node]
            node = parent[node]
        node = following
    return passes
