# SPDX-License-Identifier: MIT
"""`--tree`: callers as a tree, from the outermost frame down, the heaviest path open.

The trees of several processes are laid over each other: nodes of equal content, below equal
parents, are one. Nothing is built that is not shown: a node of the tree is a list of nodes of the
call trees, and its children are found when it is opened.

Invariants: the heaviest path is open to its end, whatever the limit; beyond it the heaviest nodes
are opened first, while the limit lasts; what is not shown is said, with its figure.
"""

from __future__ import annotations

import heapq
from array import array
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

from ._columns import Column, Layout, wrapped_lines
from ._groups import inclusive
from ._heap import NATIVE, UNKNOWN_FILE, Frame, Heap, frame_place
from ._paint import Paint, bar
from ._report import EXACT, SURE, WHAT
from ._rows import Query, is_exact
from ._stacks import value_sums
from ._sums import Sums
from ._text import Glyphs, fitted, printable, shortened, width_of
from ._units import bytes_and_error, count_and_error, share_text
from ._weights import standard_error
from ._where import Where

DEFAULT_ROWS = 40
#: Of its report's total, what a node must have to get a line, unless it is on the heaviest path.
_WORTH_SHOWING = 0.005
_INDENT_MAX = 24
_BAR_CELLS = 8
_PLACE_MIN = 16


@dataclass
class TreeNode:
    frame: Frame
    value: float = 0.0
    variance: float = 0.0
    #: (part, node) of each call tree.
    places: List[Tuple[int, int]] = field(default_factory=list)
    opened: bool = False
    children: List["TreeNode"] = field(default_factory=list)
    #: Children too light for a line: how many, and their figure.
    light: int = 0
    light_value: float = 0.0


class CallTree:
    def __init__(self, parts: Sequence[Tuple[Heap, Sums]], query: Query) -> None:
        self.heaps = [heap for heap, _ in parts]
        self._shares: List[Tuple[List[float], List[float]]] = []
        self._children: List[Tuple["array[int]", "array[int]"]] = []
        self.total = self.variance = 0.0
        for heap, live in parts:
            sums = value_sums(heap, live, query)
            values, variances = (sums.blocks, sums.blocks_var)
            if query.ranks_bytes:
                values, variances = sums.bytes, sums.bytes_var
            self.total += sum(values)
            self.variance += sum(variances)
            shares = inclusive(heap, sums)
            if query.ranks_bytes:
                self._shares.append((shares.bytes, shares.bytes_var))
            else:
                self._shares.append((shares.blocks, shares.blocks_var))
            self._children.append(_child_lists(heap))
        frame = (UNKNOWN_FILE, 0, "[all]", 0)
        self.root = TreeNode(frame, self.total, self.variance, [(i, 0) for i in range(len(parts))])

    def kids(self, node: TreeNode) -> List[TreeNode]:
        """The children of a node, heaviest first; those without a figure are none."""
        found: Dict[Frame, TreeNode] = {}
        for part, at in node.places:
            values, variances = self._shares[part]
            first, sibling = self._children[part]
            if node is self.root and values[0]:
                self._add(found, part, 0, values[0], variances[0])
            child = first[at]
            while child:
                if values[child]:
                    self._add(found, part, child, values[child], variances[child])
                child = sibling[child]
        return sorted(found.values(), key=lambda kid: (-kid.value, kid.frame))

    def _add(
        self, found: Dict[Frame, TreeNode], part: int, at: int, value: float, variance: float
    ) -> None:
        frame = self.heaps[part].frame(at)
        kid = found.get(frame)
        if kid is None:
            kid = found[frame] = TreeNode(frame)
        kid.value += value
        kid.variance += variance
        if at:
            kid.places.append((part, at))

    def open(self, node: TreeNode) -> int:
        """Give a node its children; how many lines that adds."""
        kids = self.kids(node)
        node.opened = True
        node.children = [
            kid for i, kid in enumerate(kids) if not i or kid.value >= _WORTH_SHOWING * self.total
        ]
        rest = kids[len(node.children) :]
        node.light, node.light_value = len(rest), sum(kid.value for kid in rest)
        return len(node.children) + bool(rest)

    def grow(self, rows: int) -> TreeNode:
        """Open the heaviest path, then the heaviest nodes until there are *rows*; 0: all."""
        lines = self.open(self.root)
        node: Optional[TreeNode] = self.root.children[0] if self.root.children else None
        waiting: List[Tuple[float, int, TreeNode]] = []
        order = 0
        pending = self.root.children[1:]
        while node is not None:
            lines += self.open(node)
            pending += node.children[1:]
            node = node.children[0] if node.children else None
        while True:
            for kid in pending:
                order += 1
                heapq.heappush(waiting, (-kid.value, order, kid))
            if not waiting or (rows and lines >= rows):
                return self.root
            kid = heapq.heappop(waiting)[2]
            lines += self.open(kid)
            pending = list(kid.children)


def _child_lists(heap: Heap) -> "Tuple[array[int], array[int]]":
    """Of each node its first child, and its next sibling; 0 is none."""
    parent = heap.nodes.parent
    first = array("I", bytes(4 * len(parent)))
    sibling = array("I", bytes(4 * len(parent)))
    for node in range(len(parent) - 1, 0, -1):
        sibling[node] = first[parent[node]]
        first[parent[node]] = node
    return first, sibling


@dataclass
class _Line:
    text: str
    value: float
    variance: Optional[float]
    below: str = ""


class TreeReport:
    def __init__(self, width: int, glyphs: Glyphs, paint: Optional[Paint] = None) -> None:
        self.width = width
        self.glyphs = glyphs
        self.paint = paint or Paint()
        self.where = Where(width, glyphs, None, self.paint)
        self._room = width

    def lines(
        self, parts: Sequence[Tuple[Heap, Sums]], query: Query, limit: Optional[int]
    ) -> Iterator[str]:
        tree = CallTree(parts, query)
        yield from wrapped_lines(
            "%s, each caller with all it called, outermost first; the heaviest path is open. What "
            "has no %s is all that the line above it called." % (WHAT[query.value], self.glyphs.bullet),
            self.width,
        )
        exact = is_exact(tree.heaps)
        yield from wrapped_lines(EXACT if exact else SURE % self.glyphs.plus_minus, self.width)
        yield ""
        if not tree.total:
            yield "Nothing to show."
            return
        root = tree.grow(DEFAULT_ROWS if limit is None else limit)
        # What room figures leave for the frames is known once they are set.
        drafts = list(self._walk(tree, root))
        layout = Layout(self._columns(query, tree, drafts), self.width, self.glyphs, self.paint)
        self._room = layout.room
        found = list(self._walk(tree, root))
        yield from layout.title("caller")
        for index, line in enumerate(found):
            yield from layout.row(index, line.text, False)
            if line.below:
                text = shortened(line.below, self.width - 4, self.glyphs)
                yield "    " + self.paint(text, "faint")
        if any(line.text.endswith(" [+]") for line in found):
            yield ""
            yield from wrapped_lines(
                "[+] has callees that are not shown: --limit N opens the heaviest up to N lines, "
                "0 all.",
                self.width,
            )
        yield from self.where.changed()

    def _columns(self, query: Query, tree: CallTree, lines: List[_Line]) -> List[Column]:
        pm = self.glyphs.plus_minus
        plain = bytes_and_error if query.ranks_bytes else count_and_error
        figures = [plain(one.value, standard_error(one.variance or 0.0)) for one in lines]
        errors = [
            "" if one.variance is None else pm + error for one, (_, error) in zip(lines, figures)
        ]
        shares = [share_text(one.value, tree.total) for one in lines]
        columns = [
            Column("bytes" if query.ranks_bytes else "blocks", [v for v, _ in figures], "figure"),
            Column(pm, errors, "error", 1),
            Column("%", shares, "", 2),
        ]
        if self.paint.on:
            bars = [bar(one.value / tree.total, _BAR_CELLS, self.glyphs) for one in lines]
            columns.append(Column("", bars, "bar", 3, left=True))
        return columns

    def _walk(self, tree: CallTree, root: TreeNode) -> Iterator[_Line]:
        """The lines below the root. An only child stands below its caller, no deeper."""
        stack: List[Union[_Line, Tuple[TreeNode, int, str, bool]]] = [(root, -1, "", True)]
        while stack:
            item = stack.pop()
            if isinstance(item, _Line):
                yield item
                continue
            node, depth, mark, heaviest = item
            if node is not root:
                yield self._line(tree, node, self._indent(depth) + mark, heaviest)
            branches = len(node.children) + bool(node.light) > 1 or node is root
            depth += branches
            mark = self.glyphs.bullet + " " if branches else "  "
            if node.light:
                text = self._indent(depth) + mark + "%d lighter" % node.light
                stack.append(_Line(text, node.light_value, None))
            stack += [
                (kid, depth, mark, heaviest and not i)
                for i, kid in reversed([*enumerate(node.children)])
            ]

    def _indent(self, depth: int) -> str:
        return " " * min(2 * depth, _INDENT_MAX, self.width // 4)

    def _line(self, tree: CallTree, node: TreeNode, start: str, heaviest: bool) -> _Line:
        file, line, name, first = node.frame
        text, below, end = start, "", ""
        if not node.opened and tree.kids(node):
            end = " [+]"
        elif heaviest and not node.children and node.places:
            heap = tree.heaps[node.places[0][0]]
            below = self.where.named_source(heap, node.frame).partition(": ")[2]
        if file == UNKNOWN_FILE or first == NATIVE:
            place = printable(name if file == UNKNOWN_FILE else frame_place(node.frame))
            room = max(self._room - width_of(text) - len(end), _PLACE_MIN)
            text += fitted(place, room, self.glyphs)
        else:
            text += printable(name) + "  "
            room = max(self._room - width_of(text) - len(end), _PLACE_MIN)
            place = "%s:%d" % (printable(file), line)
            text += shortened(place, room, self.glyphs, left=True)
        return _Line(text + end, node.value, node.variance, below)
