# SPDX-License-Identifier: MIT
"""The types of the objects that are alive at a line: what stands beside it in every report by line.

A type is known of objects only, and not of all: buffers and native blocks have none. So shares are
of all that is alive at the line, and need not add up to it. What was allocated in all, or at the
peak, is recorded without types, and so is what a line only called (`--cumulative`).

Invariants: one pass over the live samples, whatever the number of rows, and memory by the number
of pairs of a site of the rows and a type; rows' own figures are not changed.
"""

from __future__ import annotations

from array import array
from typing import Dict, Hashable, List, Sequence, Tuple

from ._groups import Total, site_keys
from ._heap import Heap
from ._rows import LineTypes, Query, Row
from ._sums import Sums, sum_live
from ._text import Glyphs, printable, shortened

#: Per cent of a line that a type must have to be named, and to be named without them.
_WORTH_NAMING = 10
_NEARLY_ALL = 95
_NAMED = 2
_NAME_WIDTH = 16


def has_line_types(heaps: Sequence[Heap], query: Query) -> bool:
    """Whether rows of *query* can have types beside them."""
    by_line = query.by == "lineno" and not query.cumulative
    return by_line and query.source == "inuse" and any(heap.has_types for heap in heaps)


def learn_types(parts: Sequence[Tuple[Heap, Sums]], query: Query, rows: Sequence[Row]) -> None:
    """Give the rows the types of what is alive there; *parts* have their live sums by site."""
    if not has_line_types([heap for heap, _ in parts], query):
        return
    wanted = {row.key for row in rows}
    found: Dict[Hashable, Dict[str, Total]] = {}
    whole: Dict[Hashable, List[float]] = {}
    for heap, sums in parts:
        keys = site_keys(heap, "place")
        for site, key in enumerate(keys):
            if key in wanted:
                amounts = whole.setdefault(key, [0.0, 0.0])
                amounts[0] += sums.bytes[site]
                amounts[1] += sums.blocks[site]
        pairs, labels = _typed(heap, [key in wanted for key in keys])
        typed = sum_live(heap, labels, len(pairs))
        for label, (site, kind) in enumerate(pairs):
            if label:
                names = found.setdefault(keys[site], {})
                total = names.setdefault(heap.strings[kind], Total(heap, 0))
                total.add(heap, typed, label, 0)
    for row in rows:
        names = found.get(row.key, {})
        by_weight = sorted(names.items(), key=lambda one: (-one[1].bytes, one[0]))
        row.types = LineTypes(by_weight, *whole.get(row.key, (0.0, 0.0)))


def _typed(heap: Heap, mask: Sequence[bool]) -> "Tuple[List[Tuple[int, int]], array[int]]":
    """The pairs of site and type that there are, and each live sample's pair.

    Pair 0 is that of samples without a type, and of those of sites that are not wanted.
    """
    live, width = heap.live, len(heap.strings)
    known: Dict[int, int] = {0: 0}
    get = known.setdefault
    start = [(site + 1) * width if wanted else 0 for site, wanted in enumerate(mask)]
    starts = map(start.__getitem__, live.site)
    pairs = (begin and kind and begin + kind for begin, kind in zip(starts, live.type))
    labels = array("I", (get(pair, len(known)) for pair in pairs))
    return [(pair // width - 1, pair % width) for pair in known], labels


def types_words(types: LineTypes, of_bytes: bool, glyphs: Glyphs) -> str:
    """`dict`, `dict 80%, list 15%`: the types that most of a line is, with their shares of it."""
    whole = types.bytes if of_bytes else types.blocks
    shares = [
        (100 * (total.bytes if of_bytes else total.blocks) / whole, name)
        for name, total in types.totals
        if whole
    ]
    words = []
    for share, name in sorted(shares, key=lambda one: (-one[0], one[1]))[:_NAMED]:
        if share >= _WORTH_NAMING:
            text = shortened(printable(name), _NAME_WIDTH, glyphs)
            words.append(text if round(share) >= _NEARLY_ALL else "%s %.0f%%" % (text, share))
    return ", ".join(words)
