# SPDX-License-Identifier: MIT
"""An ELF file's build id, to tell whether it is the one that was profiled, and its symbols' names.

The file may be anything, for its path comes out of a snapshot: it is opened only if it is a regular
file, without waiting, and only bounded pieces of it are read.

Invariants: never raises; what is not a 64-bit little-endian ELF file has no build ids and no names.
"""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_left
from typing import BinaryIO, Callable, Dict, Iterator, List, Sequence, Set, Tuple, TypeVar

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_PT_NOTE = 4
_SHT_SYMTAB = 2
_SHT_NOTE = 7
_NT_GNU_BUILD_ID = 3
_NOTES_MAX = 1 << 16
_TABLE_MAX = 1 << 20
_SYMBOLS_MAX = 1 << 25
_FUNCTION_TYPES = (2, 10)  # STT_FUNC, STT_GNU_IFUNC

T = TypeVar("T")


def build_ids(path: str) -> Set[str]:
    """The build ids of a file, in hexadecimal: one, or none."""

    def read(file: BinaryIO) -> Set[str]:
        return {one for at, size in _note_places(file) for one in _ids(file, at, size)}

    return _read(path, read, set())


def function_names(path: str, addresses: Sequence[int]) -> Dict[int, str]:
    """The functions that addresses lie in, by the table of symbols that strip(1) takes away."""
    return _read(path, lambda file: _names(file, sorted(addresses)), {})


def _read(path: str, read: Callable[[BinaryIO], T], nothing: T) -> T:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return nothing
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return nothing
            return read(file)
    except (OSError, ValueError, OverflowError, struct.error):
        return nothing


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


def _names(file: BinaryIO, addresses: List[int]) -> Dict[int, str]:
    header = _HEADER.unpack(file.read(_HEADER.size))
    if header[0][:6] != b"\x7fELF\x02\x01":
        return {}
    sections = list(_table(file, _SECTION, header[6], header[11], header[12]))
    found: Dict[int, Tuple[int, int]] = {}  # size and place of the name of the smallest that has it
    for _, kind, _, _, at, size, link, _, _, _ in sections:
        if kind != _SHT_SYMTAB or size > _SYMBOLS_MAX or link >= len(sections):
            continue
        file.seek(at)
        data = file.read(size)
        names = sections[link][4]
        whole = len(data) - len(data) % _SYMBOL.size
        for name, info, _, section, start, length in _SYMBOL.iter_unpack(data[:whole]):
            if section and length and info & 15 in _FUNCTION_TYPES:
                for index in range(bisect_left(addresses, start), len(addresses)):
                    if addresses[index] >= start + length:
                        break
                    one = (length, names + name)
                    found[addresses[index]] = min(one, found.get(addresses[index], one))
    return {address: name for address, (_, at) in found.items() for name in _text(file, at)}


def _text(file: BinaryIO, at: int) -> Iterator[str]:
    """The text that ends with a zero byte there, if it is one that a linker writes."""
    file.seek(at)
    name, zero, _ = file.read(_NOTES_MAX).partition(b"\0")
    if name and zero:
        yield name.decode("utf-8", "backslashreplace")
