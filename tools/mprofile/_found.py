# SPDX-License-Identifier: MIT
"""The stack of one live block: the answer of the library's `mprofile_traceback`, taken apart.

Invariants: the answer is used only if it is whole; a mark that frames were cut is no frame.
"""

from __future__ import annotations

import ctypes
import struct
from typing import List, Optional, Tuple

from ._heap import CUT_MARK, UNKNOWN_FILE
from ._library import Library

_BEGIN = struct.Struct("=QII")
_LINES = struct.Struct("=II")
_BUFFER_BYTES = 16384

#: Function, file, first line of the function, line.
Found = Tuple[str, str, int, int]


def frames_at(library: Library, address: int) -> Optional[List[Found]]:
    """The frames of the live block at *address*, nearest first; None: there is no sample of it."""
    size = _BUFFER_BYTES
    while True:
        buffer = ctypes.create_string_buffer(size)
        used = library.traceback(address, buffer, size)
        if used == 0:
            return None
        if used <= size:
            return _taken_apart(buffer.raw[:used])
        size = used


def _text(answer: bytes, at: int) -> Tuple[str, int]:
    end = answer.index(b"\0", at)
    return answer[at:end].decode("utf-8", "surrogatepass"), end + 1


def _taken_apart(answer: bytes) -> List[Found]:
    _, _, count = _BEGIN.unpack_from(answer)
    at = _BEGIN.size
    frames: List[Found] = []
    for _ in range(count):
        line, firstline = _LINES.unpack_from(answer, at)
        file, at = _text(answer, at + _LINES.size)
        name, at = _text(answer, at)
        frames.append((name, file, firstline, line))
    if len(frames) > 1 and frames[-1][:2] == (CUT_MARK, UNKNOWN_FILE):
        frames.pop()
    return frames
