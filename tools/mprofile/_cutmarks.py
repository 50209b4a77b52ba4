# SPDX-License-Identifier: MIT
"""Stacks as tracemalloc has them: where the frame limit cut one, its last frame is its last frame.

The library marks a stack that it cut with a pseudo frame outside the outermost that it kept, which
the reports show. In tracemalloc's classes `total_nframe` says so, and a frame more would make
`len(traceback)` wrong and the oldest frame of each cut stack the same.

Invariants: the heap that is given is not changed; what has no mark is given back as it is.
"""

from __future__ import annotations

import copy
from array import array

from ._heap import CUT_MARK, UNKNOWN_FILE, Heap


def without_cut_mark(heap: Heap) -> Heap:
    """The heap, with the stacks that begin with the mark attached to the root instead."""
    marks = _marks(heap)
    if not marks:
        return heap
    moved = copy.copy(heap)
    moved.nodes = copy.copy(heap.nodes)
    parent = moved.nodes.parent = array("I", heap.nodes.parent)
    for node, above in enumerate(parent):
        if above in marks:
            parent[node] = 0
    return moved


def _marks(heap: Heap) -> "set[int]":
    """The nodes that are a mark: children of the root with the pseudo function."""
    if CUT_MARK not in heap.strings:
        return set()
    functions, nodes = heap.functions, heap.nodes
    name = heap.strings.index(CUT_MARK)
    of_mark = {
        row
        for row, (own, file) in enumerate(zip(functions.name, functions.file))
        if own == name and heap.strings[file] == UNKNOWN_FILE
    }
    pairs = enumerate(zip(nodes.parent, nodes.func))
    return {node for node, (parent, func) in pairs if node and not parent and func in of_mark}
