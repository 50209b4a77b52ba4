# SPDX-License-Identifier: MIT
"""How far the reading of large files is, on standard error, where that is a terminal.

Invariants: nothing is written unless standard error is a terminal and the files are large; the line
is wiped when reading ends, also where it fails; whatever goes wrong here stops no report.
"""

from __future__ import annotations

import os
import sys
from typing import List, Sequence

from ._heap import Heap
from ._ids import read_heap
from ._text import ASCII_GLYPHS, is_terminal, printable, shortened

_LARGE = 16 << 20
_WIDTH = 60


class Progress:
    """One line that is written over."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._sizes = [_size(path) for path in paths]
        self._all = sum(self._sizes)
        self._done = 0
        self._shown = -1
        self._text = ""
        self.on = self._all >= _LARGE and sys.stderr is not None and is_terminal(sys.stderr)

    def begin(self, path: str) -> None:
        self._text = shortened(printable(os.path.basename(path)), _WIDTH - 20, ASCII_GLYPHS)

    def at(self, offset: int) -> None:
        """*offset* bytes of this file are read."""
        percent = min(100 * (self._done + offset) // max(self._all, 1), 99)
        if self.on and percent != self._shown:
            self._shown = percent
            self._write("\rreading %s  %d%%" % (self._text, percent))

    def end(self, index: int) -> None:
        self._done += self._sizes[index]

    def wipe(self) -> None:
        if self.on and self._shown >= 0:
            self._write("\r" + " " * _WIDTH + "\r")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            self.on = False


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0


def read_heaps(paths: Sequence[str], salvage: bool = False) -> List[Heap]:
    """All files, one after another; raises what `read_heap` raises."""
    progress = Progress(paths)
    heaps: List[Heap] = []
    try:
        for index, path in enumerate(paths):
            progress.begin(path)
            heaps.append(read_heap(path, salvage, progress=progress.at if progress.on else None))
            progress.end(index)
    finally:
        progress.wipe()
    return heaps
