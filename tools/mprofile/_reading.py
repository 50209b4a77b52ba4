# SPDX-License-Identifier: MIT
"""What one run of the command has read, and is asked: that from which every report is made.

Invariants: `parts` are merged, the oldest process first; `old` likewise, and empty without --diff;
`sets` has more than one member only for --leaks of several moments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Sequence, Tuple

from ._books import Books
from ._diff import Difference, difference
from ._heap import Heap
from ._leaks import Leaks, find_leaks
from ._linetypes import learn_types
from ._merge import merge
from ._rows import Query, Result, Row, is_exact, run
from ._sidebyside import SideBySide, side_by_side
from ._sums import Sums, sum_sites
from ._text import Glyphs
from ._trend import Trend, find_trend


@dataclass
class Reading:
    query: Query
    parts: List[Heap]
    sums: List[Sums]
    notes: List[str]
    books: Books
    old: List[Heap] = field(default_factory=list)
    old_sums: List[Sums] = field(default_factory=list)
    sets: Sequence[Sequence[Heap]] = ()
    #: Frames of all stacks in exports begin with the nearest.
    leaf_first: bool = False
    leaks_wanted: bool = False
    sides_wanted: bool = False
    limit: int = 0

    @property
    def pairs(self) -> List[Tuple[Heap, Sums]]:
        return list(zip(self.parts, self.sums))

    @property
    def old_pairs(self) -> List[Tuple[Heap, Sums]]:
        return list(zip(self.old, self.old_sums))

    def result(self) -> Result:
        return run(self.parts, self.sums, self.query)

    def difference(self) -> Difference:
        return difference(self.parts, self.old, self.query, self.sums, self.old_sums)

    def side_by_side(self) -> SideBySide:
        return side_by_side(self.pairs, self.query)

    def learn_types(self, rows: Sequence[Row]) -> None:
        """Give rows that are shown the types beside their lines, where there are any."""
        learn_types(self.pairs, self.query, rows)

    def leaks(self) -> Leaks:
        return find_leaks(self.parts, self.query, is_exact(self.parts))

    def trend(self) -> Trend:
        return find_trend(self.sets, self.query)


def make_reading(
    query: Query,
    sets: Sequence[Sequence[Heap]],
    old: Sequence[Heap],
    glyphs: Glyphs,
) -> Reading:
    """Merge what was read: the last of the *sets* is reported, *old* what it is compared to."""
    newest = sets[-1]
    books = Books(newest)
    parts, notes = merge(newest)
    sums = [sum_sites(heap) for heap in parts]
    books.close(parts, glyphs)
    before, more = merge(old)
    return Reading(
        query,
        parts,
        sums,
        notes + more,
        books,
        before,
        [sum_sites(heap) for heap in before],
        [*sets[:-1], parts],
    )
