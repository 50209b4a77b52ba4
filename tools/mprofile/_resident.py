# SPDX-License-Identifier: MIT
"""How much of a live block has memory.

A block is live from its first byte to its last, but a page of it exists from when somebody wrote
to it. Large blocks were asked about when the snapshot was written; small ones, and those of
snapshots that did not ask, are taken to be resident.

Pages shared with other processes since a fork look like pages of zeroes that were only read, which
are no memory at all. The kernel says how much of the first kind there is: what is above is zeroes.

Invariants: private + shared is at most the block's size.
"""

from __future__ import annotations

from itertools import compress
from typing import Iterator, NamedTuple

from ._heap import Heap
from ._kernel import Kernel

#: Blocks from here on may lie on pages that nobody has touched yet.
BIG_MIN = 64 << 10


class Touched(NamedTuple):
    """One large live sample: its row, and bytes of it that have memory."""

    row: int
    private: float
    shared: float
    #: The snapshot does not say: all of it is taken to be private.
    unknown: bool


def inherited_share(heap: Heap) -> float:
    """Of the bytes that are `copied`, how many are another process's too, not zeroes: 0 to 1."""
    copied = sum(one[1] for one in heap.resident.values()) + (
        heap.head.number("files.inherited") or 0.0
    )
    shared = Kernel(heap).rollup.get("Shared_Dirty")
    if shared is None or copied <= shared:
        return 1.0
    return shared / copied


def large_blocks(heap: Heap) -> Iterator[Touched]:
    live, known = heap.live, heap.resident
    share = inherited_share(heap)
    for row in compress(range(len(live)), map(BIG_MIN.__le__, live.size)):
        size = live.size[row]
        pages = known.get(live.address[row])
        if pages is None:
            yield Touched(row, size, 0.0, True)
            continue
        own, copied, shared = pages
        private = min(own + share * copied, size)
        yield Touched(row, private, min(shared, size - private), False)
