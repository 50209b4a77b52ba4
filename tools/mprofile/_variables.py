# SPDX-License-Identifier: MIT
"""The library's environment variables by the names of options, and what their values may be.

Invariant: a value that is refused here is one that the library would not use, and the other way
round, in the library's words (preload/options.c; a test holds the two together).
"""

from __future__ import annotations

import os
import re
import stat
from typing import Callable, Dict, NamedTuple, Optional

from ._signals import signal_number

_PATH_LIMIT = 2046
_DEFAULT_NAME = "mprofile.%p.%n.bin"
_INTERVAL_LIMIT_S = 10 * 365 * 24 * 3600


class Variable(NamedTuple):
    """A variable that takes a value."""

    name: str
    is_good: Callable[[str], bool]
    expected: str


def _number(text: str, low: int, high: int) -> bool:
    if not re.fullmatch("[0-9]+", text, re.ASCII):
        return False
    digits = text.lstrip("0") or "0"
    return len(digits) < 20 and low <= int(digits) <= high


def _bytes(text: str, low: int, high: int) -> bool:
    shift = {"k": 10, "m": 20, "g": 30}.get(text[-1:].lower(), 0)
    return _number(text[:-1] if shift else text, -(-low >> shift), high >> shift)


def _rate(text: str) -> bool:
    return text.lower() == "off" or _bytes(text, 0, 1 << 40)


def _memory(text: str) -> bool:
    return text.lower() == "none" or _bytes(text, 4 << 20, 1 << 44)


def _frames(text: str) -> bool:
    return _number(text, 1, 65535)


def _keep(text: str) -> bool:
    return text.lower() == "all" or _number(text, 1, 1024)


def _interval(text: str) -> bool:
    seconds = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    return seconds is not None and _number(text[:-1], 1, _INTERVAL_LIMIT_S // seconds)


def _signal(text: str) -> bool:
    return text.lower() == "none" or signal_number(text) is not None


def _out(text: str) -> bool:
    if not re.fullmatch("([^%]|%[pnth%])+", text, re.S):
        return False
    mode = _mode(text)
    is_folder = text.endswith("/") or (mode is not None and stat.S_ISDIR(mode))
    whole = os.path.join(text, _DEFAULT_NAME) if is_folder else text
    if not text.startswith("/"):
        whole = os.path.join(_cwd().replace("%", "%%"), whole)
    # Beside a device or a pipe a file would be written: it is not what was meant.
    is_usable = mode is None or is_folder or stat.S_ISREG(mode)
    return is_usable and len(os.fsencode(whole)) <= _PATH_LIMIT


def _mode(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "."


_OUT = "a file name in which %p %n %t %h %% have a meaning, or a folder (no device or pipe)"
_MEMORY = "bytes from 4m to 16384g with k, m or g behind, or none"
_SIGNAL = "a name as USR2, a number, RTMIN+3, or none, that a program can catch"
_RATE = "bytes from 0 to 1024g with k, m or g behind, or off"

#: Option: its variable.
VALUES: Dict[str, Variable] = {
    "--rate": Variable("MPROFILERATE", _rate, _RATE),
    "--frames": Variable("MPROFILEFRAMES", _frames, "a number from 1 to 65535"),
    "--memory": Variable("MPROFILEMEMORY", _memory, _MEMORY),
    "--out": Variable("MPROFILEOUT", _out, _OUT),
    "--signal": Variable("MPROFILESIGNAL", _signal, _SIGNAL),
    "--interval": Variable("MPROFILEINTERVAL", _interval, "a time as 30s, 5m or 1h"),
    "--keep": Variable("MPROFILEKEEP", _keep, "a number from 1 to 1024, or all"),
}

#: Option: variable and the value that it gives it.
FLAGS = {
    "--exit": ("MPROFILEEXIT", "1"),
    "--native": ("MPROFILENATIVE", "1"),
    "--no-children": ("MPROFILECHILDREN", "0"),
    "--no-argv": ("MPROFILEARGV", "0"),
}
