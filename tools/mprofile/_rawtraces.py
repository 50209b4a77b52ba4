# SPDX-License-Identifier: MIT
"""A heap from traces in tracemalloc's raw form, or in that of mprofile 0.0.15.

`Snapshot(traces, traceback_limit)` is public in tracemalloc, and so it is here. The traces become
the same columns that a file gives, so that everything above knows one form only.

Invariants: the order of traces is kept; equal frames of equal stacks are stored once.
"""

from __future__ import annotations

from array import array
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from ._frames import split_frame
from ._heap import Heap

DEPTH_UNKNOWN = 0
_DEPTH_MAX = 65535


def heap_from_traces(traces: Iterable[Sequence[Any]], rate: int = 0) -> Heap:
    """Traces are (domain, size, frames[, total]) or (size, frames), frames nearest first."""
    builder = _Builder(rate)
    for trace in traces:
        builder.add(trace)
    return builder.heap


class _Builder:
    def __init__(self, rate: int) -> None:
        self._names: List[str] = []
        self._numbers: List[int] = []
        self.heap = Heap(domain_names=self._names, domain_numbers=self._numbers)
        self.heap.rates.append(rate)
        self.heap.lineage.uid.append(0)
        # tracemalloc's domains are any number, and are numbered here as they come.
        self.heap.sites.domain = array("I")
        self._strings: Dict[str, int] = {"": 0}
        self._functions: Dict[Tuple[int, int, int], int] = {}
        self._nodes: Dict[Tuple[int, int, int], int] = {}
        self._sites: Dict[Tuple[int, int], int] = {}
        self._domains: Dict[int, int] = {}
        self._stacks: Dict[Any, int] = {}

    def add(self, trace: Sequence[Any]) -> None:
        if len(trace) == 2:
            trace = (0, *trace)
        domain, size, frames = trace[:3]
        total = trace[3] if len(trace) > 3 else None
        live = self.heap.live
        live.address.append(0)
        live.size.append(size)
        live.time.append(0)
        live.site.append(self._site(self._stack(frames), self._domain(domain)))
        live.thread.append(0)
        live.rate.append(0)
        live.generation.append(0)
        live.depth.append(min(total or DEPTH_UNKNOWN, _DEPTH_MAX))
        live.type.append(0)

    def _domain(self, number: int) -> int:
        code = self._domains.get(number)
        if code is None:
            code = self._domains[number] = len(self._numbers)
            self._numbers.append(number)
            self._names.append(str(number))
        return code

    def _string(self, text: str) -> int:
        row = self._strings.get(text)
        if row is None:
            row = self._strings[text] = len(self.heap.strings)
            self.heap.strings.append(text)
        return row

    def _stack(self, frames: Sequence[Any]) -> int:
        known = self._stacks.get(frames)
        if known is not None:
            return known
        node = 0
        for frame in reversed(frames):
            (file, line), (name, firstline) = split_frame(frame)
            node = self._node(node, self._function(file, name or "", firstline or 0), line)
        self._stacks[frames] = node
        return node

    def _function(self, file: str, name: str, firstline: int) -> int:
        key = (self._string(name), self._string(file), firstline)
        row = self._functions.get(key)
        if row is None:
            functions = self.heap.functions
            row = self._functions[key] = len(functions.name)
            functions.name.append(key[0])
            functions.file.append(key[1])
            functions.firstline.append(firstline)
        return row

    def _node(self, parent: int, func: int, line: int) -> int:
        key = (parent, func, line)
        row = self._nodes.get(key)
        if row is None:
            nodes = self.heap.nodes
            row = self._nodes[key] = len(nodes.parent)
            nodes.parent.append(parent)
            nodes.func.append(func)
            nodes.line.append(line)
        return row

    def _site(self, node: int, domain: int) -> int:
        row = self._sites.get((node, domain))
        if row is None:
            sites = self.heap.sites
            row = self._sites[node, domain] = len(sites.node)
            sites.node.append(node)
            sites.domain.append(domain)
        return row
