# SPDX-License-Identifier: MIT
"""Which interpreters a benchmark runs on: those that tests/pythons/find.py finds, from 3.11 on, by words of the command line."""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "pythons"))

import find  # noqa: E402

OLDEST = (3, 11)


@dataclass(frozen=True)
class Interpreter:
    path: str
    version: str
    minor: tuple[int, int]
    pgo: bool
    free_threaded: bool

    @property
    def minor_name(self) -> str:
        return "%d.%d%s" % (*self.minor, "t" if self.free_threaded else "")

    @property
    def name(self) -> str:
        return "%s%s%s" % (self.version, "t" if self.free_threaded else "", " PGO" if self.pgo else "")


def everything() -> List[Interpreter]:
    """One of each version and kind of build."""
    found: dict[str, Interpreter] = {}
    for facts in find.find():
        one = Interpreter(facts["path"], facts["version"], (facts["minor"][0], facts["minor"][1]), facts["pgo"],
                          facts["free_threaded"])
        if one.minor >= OLDEST and not facts["debug"]:
            found.setdefault(one.name, one)
    return list(found.values())


def choose(words: str) -> List[Interpreter]:
    """Of a comma-separated list: versions (3.11.2), minor versions (3.13t), "pgo", "plain", or a path; all with a GIL if empty."""
    wanted: Sequence[str] = [word for word in words.split(",") if word]

    def fits(one: Interpreter, word: str) -> bool:
        return word in (one.version, one.minor_name, one.path) or (
            not one.free_threaded and word == ("pgo" if one.pgo else "plain"))

    if not wanted:
        return [one for one in everything() if not one.free_threaded]
    chosen = []
    for word in wanted:
        these = [one for one in everything() if fits(one, word)]
        if not these:
            raise SystemExit("no interpreter %s: see tests/pythons/find.py and tests/pythons/install" % word)
        chosen += [one for one in these if one not in chosen]
    return chosen
