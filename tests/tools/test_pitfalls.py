# SPDX-License-Identifier: MIT
"""PITFALLS.md names tests and sources that exist, and leaves no row without one."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
TEXT = (TESTS / "PITFALLS.md").read_text(encoding="utf-8")


def test_each_test_that_is_named_exists() -> None:
    named = re.findall(r"`([\w/]+\.(?:py|c))::(\w+)`", TEXT)
    assert len(named) > 100
    for file, name in named:
        source = (TESTS / file).read_text(encoding="utf-8")
        if file.endswith(".py"):
            assert re.search(r"^def %s\(" % name, source, re.M), (file, name)
        else:  # it is defined, and it is in the list of what is run
            assert re.search(r"^static void %s\(" % name, source, re.M), (file, name)
            assert re.search(r"\b%s[,)]" % name, source), (file, name)


def test_each_source_that_is_named_exists() -> None:
    for path in re.findall(r"`((?:core|preload|pyshim)/[\w.]+)`", TEXT):
        assert (TESTS.parent / path).is_file(), path
    for path in re.findall(r"`(bench/[\w.]+)`", TEXT):
        assert (TESTS / path).is_file(), path


def test_no_row_is_empty() -> None:
    rows = [line.split("|")[1:-1] for line in TEXT.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[0]) for row in rows] == list(range(1, 43))
    for number, _, tests, construction in rows:
        assert "::" in tests or construction.strip(), number
