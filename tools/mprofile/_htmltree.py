# SPDX-License-Identifier: MIT
"""The call trees of all heaps of a page made into one, by content.

Each heap has ids of its own for functions, frames and nodes. The page has one tree, so that a
worker's stack lies on its sibling's, and an old snapshot's on a new one's.

Invariants: node 0 is the root and frame 0 its frame, which is none; a node's parent has a smaller
number; only nodes on the way to a wanted stack are taken over.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Dict, Iterable, List, Tuple

from ._heap import NATIVE, UNKNOWN_FILE, Heap
from ._source import SourceLines
from ._text import printable

if TYPE_CHECKING:
    from ._heap import Ints

_SOURCE_MAX = 160
#: Whose lines may be shown. A snapshot names the files, and a page is passed on: nothing else on
#: this machine is copied into it, whatever a snapshot says.
_SOURCE_ENDS = (".py", ".pyw", ".pyx", ".pxi")


class Strings:
    """Each text once, numbered; 0 is the empty one."""

    def __init__(self) -> None:
        self._ids: Dict[str, int] = {"": 0}

    def id(self, text: str) -> int:
        return self._ids.setdefault(text, len(self._ids))

    def texts(self) -> List[str]:
        """In the order of their numbers, harmless to print."""
        return [printable(text) for text in self._ids]


class Tree:
    """The merged tree, as columns."""

    def __init__(self) -> None:
        self.strings = Strings()
        self.func_name: Ints = array("I", [self.strings.id("[no stack]")])
        self.func_file: Ints = array("I", [self.strings.id(UNKNOWN_FILE)])
        self.func_first: Ints = array("I", [0])
        self.frame_func: Ints = array("I", [0])
        self.frame_line: Ints = array("I", [0])
        self.node_parent: Ints = array("I", [0])
        self.node_frame: Ints = array("I", [0])
        self._funcs: Dict[Tuple[int, int, int], int] = {}
        self._frames: Dict[int, int] = {}
        self._nodes: Dict[int, int] = {}
        #: Which heap first had a frame: where its source may be.
        self._origin: List[Heap] = []
        self._first_frame: List[int] = []

    def add(self, heap: Heap, wanted: Iterable[int]) -> Ints:
        """Take over the stacks of the nodes *wanted*; for each node of the heap its number here."""
        parent, func, line = heap.nodes.parent, heap.nodes.func, heap.nodes.line
        numbers = array("I", bytes(4 * len(parent)))
        used = _with_ancestors(parent, wanted)
        funcs = self._functions(heap)
        frames, nodes = self._frames, self._nodes
        self._origin.append(heap)
        self._first_frame.append(len(self.frame_func))
        for node in range(1, len(parent)):
            if not used[node]:
                continue
            # Two u32 as one integer: half the memory and time of a tuple.
            key = funcs[func[node]] << 32 | line[node]
            frame = frames.get(key)
            if frame is None:
                frame = frames[key] = len(self.frame_func)
                self.frame_func.append(key >> 32)
                self.frame_line.append(line[node])
            key = numbers[parent[node]] << 32 | frame
            number = nodes.get(key)
            if number is None:
                number = nodes[key] = len(self.node_parent)
                self.node_parent.append(key >> 32)
                self.node_frame.append(frame)
            numbers[node] = number
        return numbers

    def _functions(self, heap: Heap) -> List[int]:
        numbers = []
        columns = heap.functions
        for name_id, file_id, first in zip(columns.name, columns.file, columns.firstline):
            name = heap.strings[name_id]
            if first == NATIVE:
                name = heap.demangled.get(name, name)
            key = (self.strings.id(name), self.strings.id(heap.strings[file_id]), first)
            number = self._funcs.get(key)
            if number is None:
                number = self._funcs[key] = len(self.func_name)
                for column, value in zip((self.func_name, self.func_file, self.func_first), key):
                    column.append(value)
            numbers.append(number)
        return numbers

    def sources(self) -> Ints:
        """For each frame the number of its source line, as far as there is one; 0 otherwise."""
        reader = SourceLines()
        texts = list(self.strings._ids)
        found = array("I", bytes(4 * len(self.frame_func)))
        for heap, begin, end in zip(
            self._origin, self._first_frame, [*self._first_frame[1:], len(self.frame_func)]
        ):
            cwd, taken = heap.head.text("cwd"), heap.head.number("time")
            # By file, for the reader keeps only some files.
            for frame in sorted(range(begin, end), key=self._file_of):
                file = texts[self._file_of(frame)]
                native = self.func_first[self.frame_func[frame]] == NATIVE
                if not native and file.endswith(_SOURCE_ENDS):
                    source = reader.line(file, self.frame_line[frame], cwd, taken)
                    found[frame] = self.strings.id(source[:_SOURCE_MAX])
        return found

    def _file_of(self, frame: int) -> int:
        return self.func_file[self.frame_func[frame]]


def _with_ancestors(parent: Ints, wanted: Iterable[int]) -> bytearray:
    used = bytearray(len(parent))
    for node in wanted:
        while not used[node]:
            used[node] = 1
            node = parent[node]
    return used
