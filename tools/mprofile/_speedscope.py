# SPDX-License-Identifier: MIT
"""`--speedscope`: the file format of https://www.speedscope.app, one profile for each value.

In use and ever allocated, in bytes and blocks, and the bytes of the peak: the viewer's list of
profiles is the switch between them. Every stack is a "sample" whose weight is its figure.

Invariants: valid by speedscope's own schema of the format; stacks are outermost first, as it says.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence, Tuple

from ._heap import NATIVE, UNKNOWN_FILE, Heap
from ._rows import VALUES, Query
from ._stacks import plain_name, stacks
from ._sums import Sums
from ._text import printable

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_NAMES = {
    "inuse_bytes": "in use, bytes",
    "inuse_blocks": "in use, blocks",
    "alloc_bytes": "ever allocated, bytes",
    "alloc_blocks": "ever allocated, blocks",
    "peak_bytes": "at the peak, bytes",
}


class _Frames:
    def __init__(self) -> None:
        self.rows: List[Dict[str, Any]] = []
        self._numbers: Dict[Any, int] = {}
        self._stacks: Dict[Tuple[int, int], List[int]] = {}

    def stack(self, heap: Heap, node: int) -> List[int]:
        key = (id(heap), node)
        known = self._stacks.get(key)
        if known is None:
            known = [self._frame(heap, one) for one in reversed(heap.stack(node))]
            self._stacks[key] = known
        return known

    def _frame(self, heap: Heap, node: int) -> int:
        frame = heap.frame(node)
        number = self._numbers.get(frame)
        if number is None:
            file, line, _, first = frame
            row: Dict[str, Any] = {"name": printable(plain_name(frame))}
            if file != UNKNOWN_FILE:
                row["file"] = printable(file)
                if first != NATIVE and line > 0:
                    row["line"] = line
            number = self._numbers[frame] = len(self.rows)
            self.rows.append(row)
        return number


def speedscope(parts: Sequence[Tuple[Heap, Sums]], query: Query, name: str, reader: str) -> str:
    frames = _Frames()
    profiles = []
    # The value asked for is the one that is shown first.
    for value in sorted(VALUES, key=lambda one: one != query.value):
        of_value = Query(query.by, value, False, query.include, query.exclude)
        samples, weights = [], []
        for heap, node, weight in stacks(parts, of_value):
            samples.append(frames.stack(heap, node))
            weights.append(weight)
        if not samples and value != query.value:
            continue
        profiles.append(
            {
                "type": "sampled",
                "name": _NAMES[value],
                "unit": "bytes" if of_value.ranks_bytes else "none",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        )
    document = {
        "$schema": _SCHEMA,
        "name": printable(name),
        "exporter": "mprofile-read " + reader,
        "activeProfileIndex": 0,
        "shared": {"frames": frames.rows},
        "profiles": profiles,
    }
    return json.dumps(document, separators=(",", ":")) + "\n"
