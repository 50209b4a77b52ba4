# SPDX-License-Identifier: MIT
"""Text for a terminal: harmless, and as wide as it looks.

Names and paths come out of a file that may be hostile or merely odd; what could move the cursor,
colour the screen or reverse the line is shown as an escape.

Invariants: nothing that leaves `printable` can drive a terminal; nothing that leaves `shortened` is
wider than asked for; a character that the stream cannot encode never stops the report.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from typing import IO, Iterator, List, NamedTuple, Tuple

MIN_WIDTH = 30
PIPE_WIDTH = 80
#: Longer names are cut as they are: a hostile one would take long to be looked through.
_FOLDED_MAX = 4096


class Glyphs(NamedTuple):
    """The characters beyond ASCII, or what stands for them where they cannot be printed."""

    plus_minus: str = "\N{PLUS-MINUS SIGN}"
    ellipsis: str = "\N{HORIZONTAL ELLIPSIS}"
    bullet: str = "\N{BULLET}"


ASCII_GLYPHS = Glyphs("+-", "...", "*")


def printable(text: str) -> str:
    """The text on one line, with everything but printable characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    if named:
        return named
    if code < 0x100:
        return "\\x%02x" % code
    return "\\u%04x" % code if code < 0x10000 else "\\U%08x" % code


def width_of(text: str) -> int:
    """Columns that a terminal gives to printable text."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shortened(text: str, width: int, glyphs: Glyphs, left: bool = False) -> str:
    """The text in at most *width* columns, cut on the right, or with *left* on the left."""
    if width_of(text) <= width:
        return text
    room = width - len(glyphs.ellipsis)
    if room <= 0:
        return glyphs.ellipsis[: max(width, 0)]
    kept: List[str] = []
    for char in reversed(text) if left else text:
        room -= _char_width(char)
        if room < 0:
            break
        kept.append(char)
    if left:
        return glyphs.ellipsis + "".join(reversed(kept))
    return "".join(kept) + glyphs.ellipsis


def fitted(place: str, width: int, glyphs: Glyphs) -> str:
    """A place in at most *width* columns, of which the end says more than the start.

    Of names as C++ has them what stands in brackets goes first, the longest first, so that the
    name of the function stays; then it is cut on the left.
    """
    while len(place) <= _FOLDED_MAX and width_of(place) > width:
        start, end = max(_brackets(place), key=lambda one: one[1] - one[0], default=(0, 0))
        if end - start <= len(glyphs.ellipsis):
            break
        place = place[:start] + glyphs.ellipsis + place[end:]
    return shortened(place, width, glyphs, left=True)


def _brackets(text: str) -> Iterator[Tuple[int, int]]:
    """Where the insides of outermost <> and () begin and end, right behind a name."""
    opened: List[Tuple[str, int]] = []
    for at, char in enumerate(text):
        if char in "<(":
            if text.endswith(("operator", "operator<"), 0, at):
                continue  # a part of the name
            named = at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_>)")
            if named or opened:
                opened.append((">" if char == "<" else ")", at + 1))
        elif opened and char == opened[-1][0] and text[at - 1] != "-":
            _, start = opened.pop()
            if not opened:
                yield start, at


def wrapped(text: str, width: int, lines: int, glyphs: Glyphs) -> List[str]:
    """The text in lines of at most *width* columns, broken at spaces where there are any."""
    result: List[str] = []
    while text and len(result) < lines - 1 and width_of(text) > width:
        cut = len(shortened(text, width + len(glyphs.ellipsis), glyphs)) - len(glyphs.ellipsis)
        space = text.rfind(" ", cut // 2, cut + 1)
        cut = space if space > 0 else max(cut, 1)
        result.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return result + [shortened(text, width, glyphs)]


def glyphs_for(stream: IO[str]) -> Glyphs:
    try:
        "".join(Glyphs()).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return ASCII_GLYPHS
    return Glyphs()


def tolerate(stream: IO[str]) -> None:
    """Make the stream print an escape for what its encoding has no character for."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def is_terminal(stream: IO[str]) -> bool:
    try:
        return os.isatty(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False


def stream_width(stream: IO[str]) -> int:
    """The terminal's width; 80 where the output is no terminal, unless COLUMNS says otherwise.

    Narrower than 30 columns no report is laid out.
    """
    if not is_terminal(stream) and not os.environ.get("COLUMNS"):
        return PIPE_WIDTH
    return max(shutil.get_terminal_size((PIPE_WIDTH, 24)).columns, MIN_WIDTH)
