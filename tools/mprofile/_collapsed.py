# SPDX-License-Identifier: MIT
"""`--collapsed`: a stack a line, as flamegraph.pl, inferno and speedscope read them.

    <module> (app.py:3);main (app.py:9);load (models.py:12) 4096

Frames are separated by semicolons, the outermost first (or the nearest, where that is asked for),
and the figure is what `--value` says, in bytes or blocks. Of a difference each line has two
figures, before and now, as difffolded.pl makes them.

Invariants: a frame's text holds no semicolon and no line break; equal stacks are one line; lines
are sorted, so that equal profiles are equal files.
"""

from __future__ import annotations

from typing import Dict, Sequence, Tuple

from ._heap import UNKNOWN_FILE, Heap, frame_place
from ._rows import Query
from ._stacks import stacks
from ._sums import Sums
from ._text import printable

Parts = Sequence[Tuple[Heap, Sums]]


def collapsed(parts: Parts, query: Query, leaf_first: bool) -> str:
    found = _folded(parts, query, leaf_first)
    return "".join("%s %d\n" % (stack, found[stack]) for stack in sorted(found))


def collapsed_difference(new: Parts, old: Parts, query: Query, leaf_first: bool) -> str:
    """Two figures a line: in the old snapshots, and in the new ones."""
    now = _folded(new, query, leaf_first)
    before = _folded(old, query, leaf_first)
    return "".join(
        "%s %d %d\n" % (stack, before.get(stack, 0), now.get(stack, 0))
        for stack in sorted({**now, **before})
    )


def _folded(parts: Parts, query: Query, leaf_first: bool) -> Dict[str, int]:
    found: Dict[str, int] = {}
    texts: Dict[Tuple[int, int], str] = {}
    for heap, node, value in stacks(parts, query):
        key = (id(heap), node)
        stack = texts.get(key)
        if stack is None:
            names = [_name(heap, one) for one in heap.stack(node)]
            stack = texts[key] = ";".join(names if leaf_first else reversed(names))
        found[stack] = found.get(stack, 0) + value
    return found


def _name(heap: Heap, node: int) -> str:
    frame = heap.frame(node)
    file, line, name, _ = frame
    if file == UNKNOWN_FILE:
        text = name
    elif heap.is_native(node):
        text = frame_place(frame)
    else:
        text = "%s (%s:%d)" % (name or "[unknown]", file, line)
    # Readers split a line at semicolons, and take what is behind the last blank for the figure.
    return printable(text).replace(";", ":")
