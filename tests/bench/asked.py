# SPDX-License-Identifier: MIT
"""What a benchmark may be asked for: types of arguments, so that what cannot be done is refused in one line and before anything runs."""
from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from loops import LOOPS


def at_least(least: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        value = int(word.replace(",", "")) if re.fullmatch(r"[0-9][0-9,]*", word) else -1
        if value < least:
            raise argparse.ArgumentTypeError("%r is not a number from %d on" % (word, least))
        return value

    return number


def a_rate(word: str) -> str:
    """As MPROFILERATE."""
    if not re.fullmatch(r"[0-9]+[kmgKMG]?", word):
        raise argparse.ArgumentTypeError("%r is not a rate: bytes, as 4096, 16k or 1m" % word)
    return word


def some_workloads(words: str) -> str:
    unknown = [word for word in words.split(",") if word not in LOOPS]
    if unknown:
        raise argparse.ArgumentTypeError("no workload %s: %s" % (", ".join(unknown), ", ".join(LOOPS)))
    return words
