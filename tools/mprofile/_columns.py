# SPDX-License-Identifier: MIT
"""Rows of figures with a place behind them, in whatever width there is.

Figures stand in columns as narrow as they can be, so that at 80 columns a path still fits. Where
the width is too small for all, columns are left out in the order of their rank; where even the
first leave no room for a place, places go to lines of their own.

Invariants: no line is wider than asked for; widths are those of the plain text, and colour is put
around it after.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence

from ._paint import Paint
from ._text import Glyphs, fitted, shortened, width_of

_PLACE_MIN = 24
_INDENT = 2


class Column(NamedTuple):
    title: str
    cells: Sequence[str]
    #: What it is, for `Paint`; one of a cell's own may stand in `styles`.
    style: str = ""
    #: Columns of higher rank are left out first; those of rank 0 never.
    rank: int = 0
    styles: Sequence[str] = ()
    #: Set from the left, as a bar is.
    left: bool = False


class Layout:
    """The columns that fit, and the lines made of them."""

    def __init__(self, columns: Sequence[Column], width: int, glyphs: Glyphs, paint: Paint) -> None:
        self._width, self._glyphs, self._paint = width, glyphs, paint
        kept = list(columns)
        self._sizes = [size_of(column) for column in kept]
        for rank in sorted({column.rank for column in kept if column.rank}, reverse=True):
            if self._room() >= _PLACE_MIN:
                break
            kept = [column for column in kept if column.rank != rank]
            self._sizes = [size_of(column) for column in kept]
        self._columns = kept
        #: Places stand on the lines of the figures.
        self.beside = self._room() >= min(_PLACE_MIN, self._width // 2)

    def _room(self) -> int:
        return self._width - sum(self._sizes) - len(self._sizes) - 1

    @property
    def room(self) -> int:
        """The columns that a place has."""
        return self._room() if self.beside else self._width - _INDENT

    def title(self, place: str, right: str = "") -> Iterator[str]:
        """The titles; *right* is that of what stands at the right end of lines below rows."""
        texts = [_set(c, c.title, size) for c, size in zip(self._columns, self._sizes)]
        line = shortened(" ".join(texts), self._width, self._glyphs)
        if self.beside:
            line += "  " + shortened(place, self._room(), self._glyphs)
        line = line.rstrip()
        if right and width_of(line) + 2 + width_of(right) <= self._width:
            line += right.rjust(self._width - width_of(line))
        yield self._paint(line, "title")

    def row(self, index: int, place: str, from_left: bool) -> Iterator[str]:
        """The line of one row, from 0; *from_left*: its place is cut at the left if it must be."""
        texts = []
        for column, size in zip(self._columns, self._sizes):
            style = column.styles[index] if column.styles else column.style
            texts.append(self._paint(_set(column, column.cells[index], size), style))
        line = " ".join(texts)
        if self.beside:
            text = self._place(place, self._room(), from_left)
            yield (line + "  " + self._paint(text, "place")).rstrip()
            return
        yield line.rstrip()
        text = self._place(place, self._width - _INDENT, from_left)
        yield " " * _INDENT + self._paint(text, "place")

    def _place(self, place: str, room: int, from_left: bool) -> str:
        return (fitted if from_left else shortened)(place, room, self._glyphs)


def size_of(column: Column) -> int:
    """The columns of a terminal that it takes."""
    return max(map(width_of, (column.title, *column.cells)), default=0)


def _set(column: Column, text: str, size: int) -> str:
    fill = " " * (size - width_of(text))
    return text + fill if column.left else fill + text


def wrapped_lines(text: str, width: int) -> List[str]:
    """A sentence in lines of at most *width* columns, broken at spaces; a longer word is cut up."""
    lines: List[str] = []
    line = ""
    for word in text.split(" "):
        while width_of(word) > width:
            if line:
                lines.append(line)
                line = ""
            head = shortened(word, width, Glyphs(ellipsis=""))
            lines.append(head)
            word = word[len(head) :]
        if line and width_of(line) + 1 + width_of(word) > width:
            lines.append(line)
            line = word
        else:
            line = line + " " + word if line else word
    return lines + [line] if line else lines
