# SPDX-License-Identifier: MIT
"""The heap of one process in memory: tables as columns.

Three million live samples must fit into a reader of ordinary size, so a table is a set of arrays
and a row is an index; Python objects for rows are made only for what is shown. A `Heap` comes from
a file (`_tables.py`) or from traces in tracemalloc's form (`_rawtraces.py`).

Invariants: all columns of a table have one length; every id in a column is a row of the table it
names; a node's parent has a smaller id; node 0 is the root and is no frame.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Dict, List, Sequence, Tuple

from ._head import Head

if TYPE_CHECKING:
    Ints = array[int]
    Floats = array[float]

#: What FORMAT.md calls the domains, and how tracemalloc numbers them.
DOMAIN_NAMES = ("raw", "mem", "obj", "malloc", "mmap")
DOMAIN_NUMBERS = (0, 0, 0, 1, 2)

UNKNOWN_FILE = "<unknown>"


def ints(code: str) -> Ints:
    return array(code)


def floats() -> Floats:
    return array("d")


@dataclass
class Functions:
    name: Ints = field(default_factory=lambda: ints("I"))
    file: Ints = field(default_factory=lambda: ints("I"))
    firstline: Ints = field(default_factory=lambda: ints("I"))


@dataclass
class Nodes:
    """The call tree. Row 0 is the root."""

    parent: Ints = field(default_factory=lambda: array("I", [0]))
    func: Ints = field(default_factory=lambda: array("I", [0]))
    line: Ints = field(default_factory=lambda: array("I", [0]))


@dataclass
class Sites:
    node: Ints = field(default_factory=lambda: ints("I"))
    domain: Ints = field(default_factory=lambda: ints("B"))
    alloc_samples: Ints = field(default_factory=lambda: ints("Q"))
    alloc_blocks: Floats = field(default_factory=floats)
    alloc_bytes: Floats = field(default_factory=floats)
    alloc_blocks_var: Floats = field(default_factory=floats)
    alloc_bytes_var: Floats = field(default_factory=floats)
    peak_bytes: Floats = field(default_factory=floats)
    peak_bytes_var: Floats = field(default_factory=floats)


@dataclass
class Live:
    """The live samples, by far the longest table."""

    address: Ints = field(default_factory=lambda: ints("Q"))
    size: Ints = field(default_factory=lambda: ints("Q"))
    time: Ints = field(default_factory=lambda: ints("Q"))
    site: Ints = field(default_factory=lambda: ints("I"))
    thread: Ints = field(default_factory=lambda: ints("I"))
    rate: Ints = field(default_factory=lambda: ints("H"))
    generation: Ints = field(default_factory=lambda: ints("H"))
    depth: Ints = field(default_factory=lambda: ints("H"))

    def columns(self) -> Tuple[Ints, ...]:
        return (
            self.address,
            self.size,
            self.time,
            self.site,
            self.thread,
            self.rate,
            self.generation,
            self.depth,
        )

    def kept(self, mask: Sequence[int]) -> Live:
        """The rows whose mask is not zero, copied."""
        return Live(*(array(c.typecode, compress(c, mask)) for c in self.columns()))

    def __len__(self) -> int:
        return len(self.site)


@dataclass
class Threads:
    tid: Ints = field(default_factory=lambda: ints("Q"))
    ident: Ints = field(default_factory=lambda: ints("Q"))
    name: Ints = field(default_factory=lambda: ints("I"))


@dataclass
class Lineage:
    """Row 0 is the oldest profiled ancestor, the last row the process itself."""

    uid: Ints = field(default_factory=lambda: ints("Q"))
    pid: Ints = field(default_factory=lambda: ints("Q"))
    clock_ms: Ints = field(default_factory=lambda: ints("Q"))


@dataclass
class Heap:
    path: str = ""
    version: Tuple[int, int] = (1, 0)
    head: Head = field(default_factory=Head)
    strings: List[str] = field(default_factory=lambda: [""])
    functions: Functions = field(default_factory=Functions)
    nodes: Nodes = field(default_factory=Nodes)
    sites: Sites = field(default_factory=Sites)
    live: Live = field(default_factory=Live)
    threads: Threads = field(default_factory=Threads)
    rates: Ints = field(default_factory=lambda: ints("Q"))
    lineage: Lineage = field(default_factory=Lineage)
    proc: Dict[str, str] = field(default_factory=dict)
    domain_names: Sequence[str] = DOMAIN_NAMES
    domain_numbers: Sequence[int] = DOMAIN_NUMBERS
    #: What `--salvage` had to leave out, one line each.
    dropped: List[str] = field(default_factory=list)
    #: Rows that an older process of the same merge already counts.
    counted_elsewhere: int = 0

    def frame(self, node: int) -> Tuple[str, int, str, int]:
        """(file, line, function, its first line) of a node; the root is an unknown frame."""
        if node == 0:
            return UNKNOWN_FILE, 0, "[no stack]", 0
        func = self.nodes.func[node]
        functions = self.functions
        return (
            self.strings[functions.file[func]],
            self.nodes.line[node],
            self.strings[functions.name[func]],
            functions.firstline[func],
        )

    def stack(self, node: int) -> List[int]:
        """The nodes of a stack, nearest frame first; at least one."""
        path = [node]
        parent = self.nodes.parent
        while parent[node]:
            node = parent[node]
            path.append(node)
        return path

    def thread_name(self, row: int) -> str:
        return self.strings[self.threads.name[row]]
