# SPDX-License-Identifier: MIT
"""The `HEAD` section: what was measured, as text and as typed facts.

The head is for people first, so nothing in it is refused: an unknown key is kept and shown, a
missing or senseless value is None.

Invariants: no value can cost more than its length to parse (numbers of absurd length are None).
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"[0-9]{1,20}\Z")
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?\Z")

#: The keys that the format names, apart from the families `lost.` and `note.`.
KNOWN_KEYS = frozenset(
    "mprofile uid pid ppid host number trigger time clock_ms start exe cmdline cwd "
    "machine python python.build python.abi python.alloc python.stacks python.free rate frames "
    "samples peak_bytes peak_var peak_clock_ms own_bytes native arena_bytes malloc.served_by "
    "malloc.counted malloc.system malloc.mapped malloc.used malloc.free malloc.top malloc.clock_ms "
    "stacks.bytes stacks.threads mimalloc.bytes".split()
)


def decode_text(raw: bytes) -> str:
    """Text of the format: UTF-8, lone surrogates kept, anything else made visible."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


class Head:
    """The facts of one snapshot's head."""

    def __init__(self, values: Optional[Dict[str, str]] = None) -> None:
        #: Every key and its text, in the order of the file.
        self.values: Dict[str, str] = {} if values is None else values

    @classmethod
    def parse(cls, payload: bytes) -> Head:
        values: Dict[str, str] = {}
        for line in payload.split(b"\n"):
            key, equals, value = line.partition(b"=")
            if equals:
                plain = _ESCAPE.sub(lambda match: bytes([int(match.group(1), 16)]), value)
                values.setdefault(decode_text(key), decode_text(plain))
        return cls(values)

    def text(self, key: str) -> Optional[str]:
        return self.values.get(key)

    def integer(self, key: str) -> Optional[int]:
        value = self.values.get(key, "")
        return int(value) if _INTEGER.match(value) else None

    def number(self, key: str) -> Optional[float]:
        value = self.values.get(key, "")
        return float(value) if _NUMBER.match(value) else None

    def family(self, prefix: str) -> Dict[str, str]:
        """The keys that begin with *prefix*, without it."""
        return {k[len(prefix) :]: v for k, v in self.values.items() if k.startswith(prefix)}

    def unknown(self) -> Dict[str, str]:
        """What a newer library said that this reader has no word for."""
        return {
            key: value
            for key, value in self.values.items()
            if key not in KNOWN_KEYS and not key.startswith(("lost.", "note."))
        }

    @property
    def cmdline(self) -> Optional[List[str]]:
        value = self.values.get("cmdline")
        if value is None:
            return None
        arguments = value.split("\0")
        if len(arguments) > 1 and not arguments[-1]:
            arguments.pop()
        return arguments

    @property
    def rate(self) -> int:
        return self.integer("rate") or 0
