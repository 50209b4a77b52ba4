# SPDX-License-Identifier: MIT
"""Source lines, where the program's files are on this machine.

The paths come out of a snapshot that may be from another machine, or hostile. A path is only opened
if it is a regular file of a sensible size (no device, no pipe, nothing in /proc), and a file that
changed after the snapshot was taken shows nothing: a wrong line is worse than none.

Invariants: never raises; each file is read at most once, and only a bounded number is kept.
"""

from __future__ import annotations

import io
import os
import stat
import tokenize
from typing import Dict, List, Optional

_SIZE_MAX = 8 << 20
_FILES_KEPT = 64


class SourceLines:
    def __init__(self) -> None:
        self._files: Dict[str, List[str]] = {}
        #: Files that are newer than the snapshot, and were left out.
        self.changed: List[str] = []

    def line(self, file: str, line: int, cwd: Optional[str], taken: Optional[float]) -> str:
        """The line without its indentation, or nothing."""
        if line <= 0 or not file or file.startswith("<") or "\0" in file:
            return ""
        path = file if os.path.isabs(file) else os.path.join(cwd or "", file)
        if not os.path.isabs(path):
            return ""
        lines = self._files.get(path)
        if lines is None:
            if len(self._files) >= _FILES_KEPT:
                self._files.clear()
            lines = self._files[path] = self._read(path, taken)
        return lines[line - 1].strip() if line <= len(lines) else ""

    def _read(self, path: str, taken: Optional[float]) -> List[str]:
        try:
            # Looked at before it is opened, for to open a device may do something; and after, for
            # it may have become another file in between.
            if not _is_source(os.stat(path)):
                return []
            with open(path, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not _is_source(status):
                    return []
                if taken is not None and status.st_mtime > taken + 1:
                    self.changed.append(path)
                    return []
                return _decoded(file.read(_SIZE_MAX)).splitlines()
        except (OSError, ValueError):
            return []


def _is_source(status: os.stat_result) -> bool:
    # What /proc shows has no size.
    return stat.S_ISREG(status.st_mode) and 0 < status.st_size <= _SIZE_MAX


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _decoded(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding, "replace")
    except (SyntaxError, LookupError, UnicodeError):
        return data.decode("utf-8", "replace")
