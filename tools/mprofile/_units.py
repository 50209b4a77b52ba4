# SPDX-License-Identifier: MIT
"""Figures for people: three digits, a unit, and the error in the same unit.

The unit is the value's; that of a value far below its error is the error's.

Invariants: an error is printed as 0 only where it is a tenth of the last digit shown, or less.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

#: A value that is so many times smaller than its error says nothing by its own digits.
_FAR = 10.0
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_COUNTS = ("", "k", "M", "G", "T", "P", "E")


def _scaled(value: float, base: float, units: Sequence[str], whole: float) -> Tuple[float, str]:
    scale = 1.0
    index = 0
    while abs(value) / scale >= (whole if index == 0 else base) and index < len(units) - 1:
        scale *= base
        index += 1
    return scale, units[index]


def _digits(value: float, exact: bool) -> int:
    """Decimals for three digits."""
    if exact:
        return 0
    return 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0


def _error_text(error: float, decimals: int) -> str:
    for digits in (decimals, decimals + 1):
        text = "%.*f" % (digits, error)
        if float(text):
            return text
    return "0"


def _known(value: float, error: float) -> float:
    """What decides the unit and the digits."""
    return error if error > _FAR * abs(value) else abs(value)


def bytes_and_error(value: float, error: float, least: float = 0.0) -> Tuple[str, str]:
    """('12.3 MiB', '0.4'); the unit is that of *least*, where that is more than the value."""
    known = _known(value, error)
    scale, unit = _scaled(max(known, least), 1024.0, _BYTES, 1024.0)
    decimals = _digits(known / scale, scale == 1.0)
    text = "%.*f" % (decimals if value else 0, value / scale)
    return "%s %s" % (text, unit), _error_text(error / scale, decimals)


def count_and_error(value: float, error: float, least: float = 0.0) -> Tuple[str, str]:
    """('12.3k', '0.4k'): a letter glued to the value is too easily overlooked for the error."""
    known = _known(value, error)
    scale, unit = _scaled(max(known, least), 1000.0, _COUNTS, 9999.5)
    decimals = _digits(known / scale, scale == 1.0)
    text = _error_text(error / scale, decimals)
    figure = "%.*f%s" % (decimals, value / scale, unit) if value else "0"
    return figure, text if text == "0" else text + unit


def bytes_text(value: float) -> str:
    """'128 KiB', '1.50 GiB'"""
    scale, unit = _scaled(value, 1024.0, _BYTES, 1024.0)
    if value % scale == 0:
        return "%.0f %s" % (value / scale, unit)
    return bytes_and_error(value, 0.0)[0]


def count_text(value: float) -> str:
    return "{:,.0f}".format(value)


def share_text(part: float, whole: float) -> str:
    if whole <= 0:
        return "-"
    percent = 100.0 * part / whole
    if 0 < percent < 0.05:
        return "<0.1%"
    return "%.1f%%" % percent if percent < 99.95 else "%.0f%%" % percent


def duration_text(seconds: float) -> str:
    """'1 h 2 min': the two largest units."""
    if seconds < 60:
        return "%.1f s" % seconds if seconds < 10 else "%.0f s" % seconds
    parts: List[str] = []
    rest = int(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if rest >= size or parts:
            parts.append("%d %s" % (rest // size, unit))
            rest %= size
    return " ".join(parts[:2])
