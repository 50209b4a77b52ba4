# SPDX-License-Identifier: MIT
"""As much of protocol buffers' wire format as a profile needs: numbers, texts, messages.

A message is bytes; a field is its number and wire type in one varint, then its value. Zero and
empty are what a field is that is not there, so they are not written.

Invariants: negative numbers are written as two's complement of 64 bits, as int64 is.
"""

from __future__ import annotations

from typing import Iterable

_VARINT = 0
_BYTES = 2


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A uint64, int64 or bool."""
    return varint(field << 3 | _VARINT) + varint(value) if value else b""


def message(field: int, body: bytes) -> bytes:
    """A message or text; an empty one is written too, for it may be one of many."""
    return varint(field << 3 | _BYTES) + varint(len(body)) + body


def packed(field: int, values: Iterable[int]) -> bytes:
    """Repeated numbers, zeros among them."""
    body = b"".join(map(varint, values))
    return message(field, body) if body else b""
