# SPDX-License-Identifier: MIT
"""The rows of a page: what each stack holds, by type and age, and what it held in an old snapshot.

The page adds rows up for whatever is chosen there (an age, a value, a part of the tree), so rows
are as fine as the choices are, and no finer: stack x type x bin of age. They are sums of weighed
samples, as for every other report; the page weighs nothing.

With an old snapshot a row also says in which bin its blocks were then. A block that is in both has
the same weight in both, so it adds no error to the growth: only rows that are counted on one side
do. Samples of other processes are other samples, and independent. What a process had allocated
when the old snapshot was taken is part of what it has now, so its variance is taken off; likewise
the peak, where it is the same moment's.

Invariants: the rows of a value add up to the reader's total of it; a stack is a path and a domain.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from itertools import count, repeat
from operator import add, mul
from typing import TYPE_CHECKING, DefaultDict, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ._agebins import ABSENT, age_bins
from ._heap import Heap
from ._htmltree import Tree
from ._sums import Sums, sum_live

if TYPE_CHECKING:
    from ._heap import Floats, Ints

#: Sums over what was ever allocated, and over what was live at the peak, by stack.
_SITE_SUMS = (
    "alloc_blocks",
    "alloc_bytes",
    "alloc_blocks_var",
    "alloc_bytes_var",
    "peak_bytes",
    "peak_bytes_var",
)

#: A difference of sums of the same numbers, in another order, is less than this part of them.
_SAME = 1e-9


class Part(NamedTuple):
    """One heap, and which of its sites are asked for (None: all)."""

    heap: Heap
    mask: Optional[Sequence[int]] = None


class Rows:
    """Stacks and rows as columns; the page's own names for them are in `columns`."""

    def __init__(self, tree: Tree, limits: Sequence[int]) -> None:
        self.tree = tree
        self.limits = limits
        self.stack_node: Ints = array("I")
        self.stack_domain: Ints = array("I")
        #: The frame that stands for the stack, as in every report by line.
        self.stack_key: Ints = array("I")
        self.sums: Dict[str, Floats] = {name: array("d") for name in _SITE_SUMS}
        self.then: Dict[str, Floats] = {name: array("d") for name in _SITE_SUMS}
        self.row_stack: Ints = array("I")
        self.row_type: Ints = array("I")
        self.row_now: Ints = array("B")
        self.row_then: Ints = array("B")
        self.row_sums: Dict[str, Floats] = {
            name: array("d") for name in ("bytes", "blocks", "bytes_var", "blocks_var")
        }
        #: Variances of the growth of those.
        self.growth: Dict[str, Floats] = {
            name: array("d") for name in _SITE_SUMS if name.endswith("_var")
        }
        self._stacks: Dict[Tuple[int, str], int] = {}
        self._numbers: List[List[int]] = []

    def add(self, parts: Sequence[Part], old: Sequence[Part] = ()) -> None:
        """Add the snapshots that the page is of, and the *old* ones that it compares with."""
        matched = _Matched(parts, old, self.limits)
        for part in parts:
            stacks = self._take_over(part, self.sums, _signs(part, ()))
            self._add_live(part, stacks, age_bins(part.heap, self.limits), matched.then(part.heap))
        for part in old:
            stacks = self._take_over(part, self.then, _signs(part, parts))
            self._add_live(part, stacks, None, matched.only_then(part.heap))
        for name, column in self.growth.items():
            both = map(add, self.sums[name], self.then[name])
            column[:] = array("d", (v if v > _SAME * b else 0.0 for v, b in zip(column, both)))

    def _take_over(
        self, part: Part, sums: Dict[str, Floats], signs: Dict[str, float]
    ) -> List[int]:
        """The stack of each site, with the sums of sites added to it."""
        heap = part.heap
        sites = heap.sites
        chosen = range(len(sites.node))
        if part.mask is not None:
            chosen = [site for site in chosen if part.mask[site]]  # type: ignore[assignment]
        nodes = self.tree.add(heap, (sites.node[site] for site in chosen))
        keys = heap.key_nodes()
        stacks = [0] * len(sites.node)
        columns = [(sums[name], getattr(sites, name)) for name in _SITE_SUMS]
        variances = [(self.growth[k], getattr(sites, k), sign) for k, sign in signs.items()]
        for site in chosen:
            own = sites.node[site]
            key = nodes[own], heap.domain_names[sites.domain[site]]
            stack = self._stacks.get(key)
            if stack is None:
                stack = self._stacks[key] = len(self.stack_node)
                self._new_stack(*key, nodes[own if keys is None else keys[own]])
            stacks[site] = stack
            for into, column in columns:
                into[stack] += column[site]
            for into, column, sign in variances:
                into[stack] += sign * column[site]
        return stacks

    def _new_stack(self, node: int, domain: str, key_node: int) -> None:
        self.stack_node.append(node)
        self.stack_domain.append(self.tree.strings.id(domain))
        self.stack_key.append(self.tree.node_frame[key_node])
        for group in (self.sums, self.then, self.growth):
            for column in group.values():
                column.append(0.0)

    def _add_live(
        self, part: Part, stacks: List[int], now: Optional[bytearray], then: Optional[bytearray]
    ) -> None:
        """Add the live samples; the bins are ABSENT (or None) where a side has them not."""
        heap = part.heap
        live, sites = heap.live, len(heap.sites.node)
        if not len(live):
            return
        # Type, bins and site in one integer, then numbered, so that one loop weighs and adds.
        keys = map(add, _pairs(now, then, len(live), sites), live.site)
        if heap.has_types:
            keys = map(add, keys, map(mul, live.type, repeat(sites << 16)))
        numbers: DefaultDict[int, int] = defaultdict(count().__next__)
        labels = array("I", map(numbers.__getitem__, keys))
        different = list(numbers)
        sums = sum_live(heap, labels, len(different))
        self._append(part, stacks, different, sums)

    def _append(self, part: Part, stacks: List[int], keys: List[int], sums: Sums) -> None:
        heap, mask, sites = part.heap, part.mask, len(part.heap.sites.node)
        names = {0: 0}
        columns = [(column, getattr(sums, name)) for name, column in self.row_sums.items()]
        for index, key in enumerate(keys):
            rest, site = divmod(key, sites)
            if mask is not None and not mask[site]:
                continue
            kind, pair = rest >> 16, rest & 0xFFFF
            if pair == ABSENT << 8 | ABSENT:
                continue
            if kind not in names:
                names[kind] = self.tree.strings.id(heap.strings[kind])
            self.row_stack.append(stacks[site])
            self.row_type.append(names[kind])
            self.row_now.append(pair >> 8)
            self.row_then.append(pair & 0xFF)
            for column, values in columns:
                column.append(values[index])


def _pairs(
    now: Optional[bytearray], then: Optional[bytearray], rows: int, scale: int
) -> Iterator[int]:
    """Of each row the bins as `now << 8 | then`, times *scale*."""
    if now is not None and then is not None:
        return ((a << 8 | b) * scale for a, b in zip(now, then))
    if now is None:
        table = [(ABSENT << 8 | bin) * scale for bin in range(256)]
    else:
        table = [(bin << 8 | ABSENT) * scale for bin in range(256)]
    return map(table.__getitem__, now or then or bytes([ABSENT]) * rows)


def _uids(parts: Sequence[Part]) -> Set[int]:
    return {uid for part in parts for uid in part.heap.lineage.uid}


def _signs(part: Part, new: Sequence[Part]) -> Dict[str, float]:
    """How the variances of a heap's sums count in the growth: those in a *new* heap's are less."""
    head = part.heap.head
    uid = head.text("uid")
    same = [one.heap.head for one in new if uid and one.heap.head.text("uid") == uid]
    peak = any(one.text("peak_clock_ms") == head.text("peak_clock_ms") for one in same)
    return {
        name: -1.0 if (same if name.startswith("alloc") else peak) else 1.0
        for name in _SITE_SUMS
        if name.endswith("_var")
    }


class _Matched:
    """Which samples stand in both the old and the new snapshots, by what a block is known by."""

    def __init__(self, new: Sequence[Part], old: Sequence[Part], limits: Sequence[int]) -> None:
        self._both = (_uids(new) & _uids(old)) - {0}
        self._bins: Dict[int, int] = {}
        self._seen: Set[int] = set()
        self._old_bins = {id(part.heap): age_bins(part.heap, limits) for part in old}
        for part in old:
            heap = part.heap
            for row, block in self._blocks(heap):
                self._bins[block] = self._old_bins[id(heap)][row]

    def _blocks(self, heap: Heap) -> List[Tuple[int, int]]:
        live, uid = heap.live, heap.lineage.uid
        if not self._both:
            return []
        shared = [one in self._both for one in uid]
        rows = zip(live.generation, live.address, live.time, live.size)
        return [
            (row, ((uid[generation] << 64 | address) << 64 | time) << 64 | size)
            for row, (generation, address, time, size) in enumerate(rows)
            if shared[generation] and address
        ]

    def then(self, heap: Heap) -> Optional[bytearray]:
        """For each sample of a new heap its bin in the old one."""
        if not self._bins:
            return None
        bins = bytearray([ABSENT]) * len(heap.live)
        for row, block in self._blocks(heap):
            found = self._bins.get(block)
            if found is not None:
                bins[row] = found
                self._seen.add(block)
        return bins

    def only_then(self, heap: Heap) -> bytearray:
        """For each sample of an old heap its bin there, ABSENT where a new heap has it too."""
        bins = bytearray(self._old_bins[id(heap)])
        if self._seen:
            for row, block in self._blocks(heap):
                if block in self._seen:
                    bins[row] = ABSENT
        return bins
