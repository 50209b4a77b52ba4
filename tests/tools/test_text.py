# SPDX-License-Identifier: MIT
"""Figures and text as people see them."""

from __future__ import annotations

import os
from typing import Any, Tuple

import pytest

from mprofile._source import SourceLines
from mprofile._text import ASCII_GLYPHS, Glyphs, fitted, printable, shortened, width_of, wrapped
from mprofile._units import (
    bytes_and_error,
    bytes_text,
    count_and_error,
    duration_text,
    share_text,
)


@pytest.mark.parametrize(
    "value, error, expected",
    [
        (0, 0, ("0 B", "0")),
        (0, 409076, ("0 KiB", "399")),
        (0.0, 12.4, ("0 B", "12")),
        (1023, 12.4, ("1023 B", "12")),
        (1024, 0, ("1.00 KiB", "0")),
        (12.34 * 2**20, 0.4 * 2**20, ("12.3 MiB", "0.4")),
        (12.34 * 2**20, 0.03 * 2**20, ("12.3 MiB", "0.03")),
        (12.34 * 2**20, 0.003 * 2**20, ("12.3 MiB", "0")),
        (999.7 * 2**30, 1.6 * 2**30, ("1000 GiB", "2")),
        (9.996 * 2**20, 2**30, ("0.01 GiB", "1.00")),
        (9.996 * 2**20, 50 * 2**20, ("10.0 MiB", "50.0")),
        (199, 568374, ("0 KiB", "555")),
        (1e30, 0, ("867361737988 EiB", "0")),
    ],
)
def test_bytes(value: float, error: float, expected: Tuple[str, str]) -> None:
    assert bytes_and_error(value, error) == expected


@pytest.mark.parametrize(
    "value, error, expected",
    [
        (0, 0, ("0", "0")),
        (0, 409076, ("0", "409k")),
        (1, 0.14, ("1", "0.1")),
        (9999, 70.2, ("9999", "70")),
        (12345, 120, ("12.3k", "0.1k")),
        (1234567, 1e-9, ("1.23M", "0")),
    ],
)
def test_counts(value: float, error: float, expected: Tuple[str, str]) -> None:
    assert count_and_error(value, error) == expected


def test_shares_and_durations() -> None:
    shares = [share_text(part, 1000) for part in (0, 0.2, 5, 123, 999.9, 2500)]
    assert shares == ["0.0%", "<0.1%", "0.5%", "12.3%", "100%", "250%"]
    assert share_text(1, 0) == "-"
    durations = [duration_text(s) for s in (0, 9.96, 59, 61, 3720, 90061)]
    assert durations == ["0.0 s", "10.0 s", "59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]
    assert bytes_text(131072) == "128 KiB"


@pytest.mark.parametrize(
    "width, expected",
    [
        (200, "std::map<std::string, std::vector<int> >::insert(std::pair<int, int> const&) (app.so+0x1)"),
        (80, "std::map<\u2026>::insert(std::pair<int, int> const&) (app.so+0x1)"),
        (40, "std::map<\u2026>::insert(\u2026) (app.so+0x1)"),
        (30, "\u2026ap<\u2026>::insert(\u2026) (app.so+0x1)"),
    ],
)
def test_names_of_cpp_keep_the_function(width: int, expected: str) -> None:
    name = "std::map<std::string, std::vector<int> >::insert(std::pair<int, int> const&)"
    assert fitted(name + " (app.so+0x1)", width, Glyphs()) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("bool operator<<char, int>(A const&, B const&) (m.so)", "bool operator<<char, int>(...) (m.so)"),
        ("A::operator->(int, int, int, int, int, int) (m.so)", "A::operator->(...) (m.so)"),
        ("A::operator()(int, int, int, int, int, int) (m.so)", "A::operator()(...) (m.so)"),
        ("<frozen importlib._bootstrap_external_long>:1234567", "...importlib._bootstrap_external_long>:1234567"),
        ("/srv/(a)/b <c>/of a long (very long) name/x.py:1234", ".../b <c>/of a long (very long) name/x.py:1234"),
        ("(anonymous namespace)::pool<int>::grow(unsigned long)", "(anonymous namespace)::pool<int>::grow(...)"),
    ],
)
def test_brackets_that_are_no_arguments(text: str, expected: str) -> None:
    assert fitted(text, 46, ASCII_GLYPHS) == expected


def test_nothing_printable_can_drive_a_terminal() -> None:
    assert printable("a\x1b[31m\n\t\x7f\x9b") == "a\\x1b[31m\\n\\t\\x7f\\x9b"
    assert printable("\u202eevil\u2028\ud800\U000e0001") == "\\u202eevil\\u2028\\ud800\\U000e0001"
    assert printable("caf\u00e9 \u65e5\u672c") == "caf\u00e9 \u65e5\u672c"


def test_shortened_to_the_columns_of_a_terminal() -> None:
    glyphs = Glyphs()
    assert shortened("abcdef", 6, glyphs) == "abcdef"
    assert shortened("abcdef", 4, glyphs) == "abc\u2026"
    assert shortened("abcdef", 4, glyphs, left=True) == "\u2026def"
    assert shortened("abcdef", 5, ASCII_GLYPHS, left=True) == "...ef"
    wide = "\u65e5\u672c\u8a9e" * 4
    for width in range(12):
        for left in (False, True):
            assert width_of(shortened(wide, width, glyphs, left)) <= width


def test_wrapped() -> None:
    text = "python app.py --one --two --three and more than fits"
    lines = wrapped(text, 20, 9, Glyphs())
    assert " ".join(lines) == text and max(map(len, lines)) <= 20
    assert wrapped(text, 20, 2, Glyphs())[1].endswith("\u2026")
    assert "".join(wrapped("x" * 50, 20, 9, Glyphs())) == "x" * 50
    assert wrapped("", 20, 2, Glyphs()) == [""]


def test_source_lines(tmp_path: Any) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"# coding: latin-1\n  x = '\xe9'\n")
    os.utime(str(path), (1000, 1000))
    source = SourceLines()
    assert source.line(str(path), 2, None, 2000.0) == "x = '\u00e9'"
    assert source.line("a.py", 2, str(tmp_path), 2000.0) == "x = '\u00e9'"
    for line in (0, 3, 10**9):
        assert source.line(str(path), line, None, None) == ""
    for name in ("<string>", "", "a.py", str(tmp_path), "/dev/zero", "/proc/self/status", "\0"):
        assert source.line(name, 1, None, None) == ""


def test_no_source_from_a_file_that_changed(tmp_path: Any) -> None:
    path = tmp_path / "a.py"
    path.write_text("new = 1\n")
    source = SourceLines()
    assert source.line(str(path), 1, None, 1000.0) == ""
    assert source.changed == [str(path)]


def test_no_source_from_a_pipe(tmp_path: Any) -> None:
    path = str(tmp_path / "pipe.py")
    os.mkfifo(path)
    assert SourceLines().line(path, 1, None, None) == ""
