# SPDX-License-Identifier: MIT
"""Colour and bars, where the terminal has them.

Reports are laid out as plain text first; colour is put around pieces whose width is known already,
so it can move nothing. Where the output is piped, where NO_COLOR is set to anything, and on a
terminal that calls itself dumb there is no colour and no bar, and so not one byte of difference
between what is piped and what is kept.

Invariants: `Paint(False)` gives every text back as it came; what is painted ends with a reset.
"""

from __future__ import annotations

import os
from typing import IO

from ._text import Glyphs, is_terminal

#: What a piece of text is, and how a terminal shows it (SGR codes).
_STYLES = {
    "title": "1",
    "figure": "1",
    "error": "2",
    "faint": "2",
    "bar": "34",
    "up": "31",
    "down": "32",
    "place": "36",
    "kind": "35",
    "alarm": "1;31",
}
_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"
_LEVELS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_ASCII_LEVELS = "_.:-=+*#"


class Paint:
    """Colours for one stream, or none."""

    def __init__(self, on: bool = False) -> None:
        self.on = on

    def __call__(self, text: str, style: str) -> str:
        code = _STYLES.get(style) if self.on and text.strip() else None
        return "\033[%sm%s\033[0m" % (code, text) if code else text


def paint_for(stream: IO[str]) -> Paint:
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")
    return Paint(wanted and is_terminal(stream))


def bar(share: float, cells: int, glyphs: Glyphs) -> str:
    """A bar of *cells* columns for a share from 0 to 1; '#' where there are no block characters."""
    eighths = int(round(min(max(share, 0.0), 1.0) * cells * 8))
    if glyphs.ellipsis == "...":
        return ("#" * (eighths // 8)).ljust(cells)
    whole, rest = divmod(eighths, 8)
    return (_EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def levels(values: "list[float]", glyphs: Glyphs) -> str:
    """One character a value, as high as its part of the largest; a space for nothing."""
    top = max(values, default=0.0)
    marks = _ASCII_LEVELS if glyphs.ellipsis == "..." else _LEVELS
    text = ""
    for value in values:
        text += marks[min(int(8 * value / top), 7)] if value > 0 and top > 0 else " "
    return text
