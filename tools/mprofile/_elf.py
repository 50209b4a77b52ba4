# SPDX-License-Identifier: MIT
"""The build id of an ELF file, to tell whether a file on this machine is the one that was profiled.

The file may be anything, for its path comes out of a snapshot: it is opened only if it is a regular
file, without waiting, and only bounded pieces of it are read.

Invariants: never raises; what is not a 64-bit little-endian ELF file has no build ids.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import BinaryIO, Iterator, List, Set, Tuple

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_PT_NOTE = 4
_SHT_NOTE = 7
_NT_GNU_BUILD_ID = 3
_NOTES_MAX = 1 << 16
_TABLE_MAX = 1 << 20


def build_ids(path: str) -> Set[str]:
    """The build ids of a file, in hexadecimal: one, or none."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return set()
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return set()
            return {one for at, size in _note_places(file) for one in _ids(file, at, size)}
    except (OSError, ValueError, OverflowError, struct.error):
        return set()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _note_places(file: BinaryIO) -> List[Tuple[int, int]]:
    """Offset and size of all notes; in a file of debug information only its sections are right."""
    header = _HEADER.unpack(file.read(_HEADER.size))
    if header[0][:6] != b"\x7fELF\x02\x01":
        return []
    segments, sections = header[5], header[6]
    places = []
    for kind, _, at, _, _, size, _, _ in _table(file, _SEGMENT, segments, header[9], header[10]):
        if kind == _PT_NOTE:
            places.append((at, size))
    for _, kind, _, _, at, size, _, _, _, _ in _table(
        file, _SECTION, sections, header[11], header[12]
    ):
        if kind == _SHT_NOTE:
            places.append((at, size))
    return places


def _table(
    file: BinaryIO, row: struct.Struct, at: int, size: int, rows: int
) -> Iterator[Tuple[int, ...]]:
    if size != row.size or rows * size > _TABLE_MAX:
        return
    file.seek(at)
    data = file.read(rows * size)
    for start in range(0, len(data) - size + 1, size):
        yield row.unpack_from(data, start)


def _ids(file: BinaryIO, at: int, size: int) -> Iterator[str]:
    file.seek(at)
    data = file.read(min(size, _NOTES_MAX))
    start = 0
    while start + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, start)
        name_at = start + 12
        text_at = name_at + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and data[name_at : name_at + name_size] == b"GNU\0":
            yield data[text_at : text_at + size].hex()
        start = text_at + (size + 3 & ~3)
