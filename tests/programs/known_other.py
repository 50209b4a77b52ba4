# SPDX-License-Identifier: MIT
"""The second file of known_lines.py: lines of known size in a module that is imported."""
from __future__ import annotations


class Holder:
    """Keeps what it makes; methods have a qualified name from Python 3.11 on."""

    def __init__(self, count: int) -> None:
        self.kept = [None] * count

    def fill(self, size: int) -> None:
        for i in range(len(self.kept)):
            self.kept[i] = bytes(size)  # @method


def nested(kept: list, size: int) -> None:
    def inner(i: int) -> None:
        kept[i] = bytes(size)  # @nested

    for i in range(len(kept)):
        inner(i)


class Slots:
    __slots__ = ("a", "b", "c", "d", "e", "f")


def slots(kept: list) -> None:
    for i in range(len(kept)):
        kept[i] = Slots()  # @slots
