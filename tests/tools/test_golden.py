# SPDX-License-Identifier: MIT
"""Golden snapshots, good and bad: what is read of them, word by word, and that they stay so."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from helpers import GOLDEN, read
from make_golden import CASES, bad, good


def expected(name: str) -> str:
    with open(os.path.join(GOLDEN, name), encoding="utf-8", newline="") as file:
        return file.read()


def is_export(name: str) -> bool:
    return name.endswith("json") or name.startswith(("collapsed", "speedscope"))


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch: Any) -> None:
    monkeypatch.chdir(GOLDEN)


@pytest.mark.parametrize("name", CASES)
def test_report(name: str) -> None:
    if name.startswith(("mixed", "tree_mixed", "collapsed")) and not (shutil.which("c++filt") or shutil.which("llvm-cxxfilt")):
        pytest.skip("needs a tool that demangles: c++filt or llvm-cxxfilt")
    assert read(*CASES[name]) == (0, expected(name + ".txt"), "")


def test_bad_files_each_get_one_line() -> None:
    results = [read(name + ".bin") for name in sorted(bad())]
    assert [(status, out) for status, out, _ in results] == [(2, "")] * len(results)
    assert "".join(err for _, _, err in results) == expected("bad.txt")
    assert len(expected("bad.txt").splitlines()) == len(results)


def test_the_writer_still_writes_them() -> None:
    for name, data in {**good(), **bad()}.items():
        with open(name + ".bin", "rb") as file:
            assert file.read() == data, name


def test_every_report_fits_its_width() -> None:
    from mprofile._text import width_of

    for name in CASES:
        if not is_export(name):
            assert all(width_of(line) <= 80 for line in expected(name + ".txt").splitlines())


@pytest.mark.parametrize("columns", [30, 40, 60, 120])
def test_every_report_fits_any_width(columns: int, capsys: Any, monkeypatch: Any) -> None:
    from mprofile._text import width_of
    from mprofile.cli import main

    monkeypatch.setenv("COLUMNS", str(columns))
    for name, arguments in CASES.items():
        if not is_export(name):
            assert main(arguments) == 0
            wide = [s for s in capsys.readouterr().out.splitlines() if width_of(s) > columns]
            assert not wide, (name, wide)
