# SPDX-License-Identifier: MIT
"""The heap of one process in memory: tables as columns.

Three million live samples must fit into a reader of ordinary size, so a table is a set of arrays
and a row is an index; Python objects for rows are made only for what is shown. A `Heap` comes from
a file (`_tables.py`) or from traces in tracemalloc's form (`_rawtraces.py`).

Invariants: all columns of a table have one length; every id in a column is a row of the table it
names; a node's parent has a smaller id; node 0 is the root and is no frame.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Dict, FrozenSet, List, Optional, Sequence, Set, Tuple

from ._head import Head

if TYPE_CHECKING:
    Ints = array[int]
    Floats = array[float]

#: What FORMAT.md calls the domains, and how tracemalloc numbers them.
DOMAIN_NAMES = ("raw", "mem", "obj", "malloc", "mmap")
DOMAIN_NUMBERS = (0, 0, 0, 1, 2)

#: File, line, function, its first line.
Frame = Tuple[str, int, str, int]

UNKNOWN_FILE = "<unknown>"
#: The name of the pseudo frame that is the outermost of a stack that was cut at the frame limit.
CUT_MARK = "[frames cut]"
#: What stands for all native functions of a module whose names are not known.
NAMELESS = "[code without a name]"
#: The first line of a function that is native: its file is a module, its lines are offsets there.
NATIVE = 0xFFFFFFFF


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
    #: The name of the object's type, a string; 0: it was no object, or nobody could tell.
    type: Ints = field(default_factory=lambda: ints("I"))

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
            self.type,
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
class Modules:
    """What native frames lie in: programs and libraries, as they were loaded."""

    path: Ints = field(default_factory=lambda: ints("I"))
    build_id: Ints = field(default_factory=lambda: ints("I"))
    start: Ints = field(default_factory=lambda: ints("Q"))
    end: Ints = field(default_factory=lambda: ints("Q"))
    bias: Ints = field(default_factory=lambda: ints("Q"))


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
    modules: Modules = field(default_factory=Modules)
    #: Names of native functions as they were written, where a tool knew them.
    demangled: Dict[str, str] = field(default_factory=dict)
    proc: Dict[str, str] = field(default_factory=dict)
    #: Of large live samples, by address: bytes resident of this process alone, copied at need
    #: since a fork (or zeroes), and of shared mappings. What is not there was not asked for.
    resident: Dict[int, Tuple[int, int, int]] = field(default_factory=dict)
    #: The writer could tell types.
    has_types: bool = False
    domain_names: Sequence[str] = DOMAIN_NAMES
    domain_numbers: Sequence[int] = DOMAIN_NUMBERS
    #: What `--salvage` had to leave out, one line each.
    dropped: List[str] = field(default_factory=list)
    #: Rows that an older process of the same merge already counts.
    counted_elsewhere: int = 0
    _build_ids: Optional[Dict[str, FrozenSet[str]]] = field(default=None, repr=False)

    def frame(self, node: int) -> Frame:
        """(file, line, function, its first line) of a node; the root is an unknown frame."""
        if node == 0:
            return UNKNOWN_FILE, 0, "[no stack]", 0
        func = self.nodes.func[node]
        functions = self.functions
        name = self.strings[functions.name[func]]
        first = functions.firstline[func]
        if first == NATIVE:
            name = self.demangled.get(name, name)
        return self.strings[functions.file[func]], self.nodes.line[node], name, first

    def is_native(self, node: int) -> bool:
        return node != 0 and self.functions.firstline[self.nodes.func[node]] == NATIVE

    @property
    def has_native(self) -> bool:
        return NATIVE in self.functions.firstline

    def place(self, node: int) -> str:
        """A frame as people write it: `file:line`, `symbol (module+0x12)`."""
        return frame_place(self.frame(node))

    def key_nodes(self) -> Optional[Ints]:
        """For each node, the frame that stands for its stack; None: always the nearest.

        It is the nearest Python frame, where native frames lie above it; a stack without any Python
        frame is known by its nearest native one.
        """
        if not self.has_native:
            return None
        nodes, functions = self.nodes, self.functions
        unknown = [self.strings[file] == UNKNOWN_FILE for file in functions.file]
        python = array("I", bytes(4 * len(nodes.parent)))
        keys = array("I", range(len(nodes.parent)))
        for node in range(1, len(keys)):
            func = nodes.func[node]
            if functions.firstline[func] == NATIVE:
                python[node] = python[nodes.parent[node]]
                keys[node] = python[node] or node
            elif not unknown[func]:
                python[node] = node
        return keys

    def build_ids(self) -> Dict[str, FrozenSet[str]]:
        """The build ids of the modules of each path: two where one was built anew meanwhile."""
        if self._build_ids is None:
            found: Dict[str, Set[str]] = {}
            for path, one in zip(self.modules.path, self.modules.build_id):
                found.setdefault(self.strings[path], set()).add(self.strings[one])
            self._build_ids = {path: frozenset(ids) for path, ids in found.items()}
        return self._build_ids

    def add_native(self, name: str, file: int) -> int:
        """A row for a native function of this name, in the module whose path is string *file*."""
        self.strings.append(name)
        self.functions.name.append(len(self.strings) - 1)
        self.functions.file.append(file)
        self.functions.firstline.append(NATIVE)
        return len(self.functions.name) - 1

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


def frame_place(frame: Frame) -> str:
    file, line, name, first = frame
    if first == NATIVE:
        module = os.path.basename(file) or "?"
        symbol, plus, offset = name.rpartition("+0x")
        if plus and symbol:
            return "%s+0x%s (%s)" % (symbol, offset, module)
        return "%s (%s+0x%x)" % (name, module, line) if name else "0x%x (%s)" % (line, module)
    if file == UNKNOWN_FILE:
        return ("%s %s" % (file, name)).rstrip()
    return "%s:%d" % (file, line)


def function_place(frame: Frame) -> str:
    file, _, name, first = frame
    if file == UNKNOWN_FILE:
        return frame_place(frame)
    if first == NATIVE:
        return "%s (%s)" % (name or NAMELESS, os.path.basename(file) or "?")
    return "%s:%d %s" % (file, first, name)
