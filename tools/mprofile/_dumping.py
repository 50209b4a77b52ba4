# SPDX-License-Identifier: MIT
"""`mprofile dump PID`: ask a profiled process for a snapshot, wait for it, print its path.

The answer is known by what its head says, process and time, not by its name: others may write to
the folder, and the process may be writing a snapshot already when it is asked.

Invariants: a file that is printed is whole, began after the request, and is of that process.
"""

from __future__ import annotations

import glob
import os
import re
import time
from typing import Dict, List, Optional, Tuple

from ._format import Container, SnapshotError
from ._head import Head
from ._process import Process
from .commands import CommandError

USAGE = """\
usage: mprofile dump PID [--wait SECONDS]

Ask a profiled process for a snapshot, wait until it is written (30 seconds at most, or as --wait
says), and print its path. It works also while the program hangs. A process that is not profiled is
left alone.

  mprofile dump 4711
  mprofile dump 4711 --wait 300             a large process on a slow disk
  mprofile-read $(mprofile dump $(pgrep -f app.py))"""

_WAIT_S = 30.0
_POLL_S = 0.02
#: The clock of a file's head and ours are one; what is lost is rounding.
_ROUNDING_S = 0.001

_Identity = Tuple[int, int, int]


def dump(words: List[str]) -> int:
    if "--help" in words or "-h" in words:
        print(USAGE)
        return 0
    pid, wait = _arguments(words)
    process = Process(pid)
    search = _Search(process.places(), process.inner_pid)
    process.ask()
    end = time.monotonic() + wait
    while True:
        ended = process.has_ended()  # before the look: its last snapshot may be the answer
        path = search.look()
        if path is not None:
            print(path)
            return 0
        if ended:
            raise CommandError("process %d ended before it had written a snapshot" % pid)
        if time.monotonic() > end:
            why = process.why_silent() or "its standard error may say why"
            raise CommandError(
                "process %d was asked, but within %g s no snapshot of it came to %s; %s"
                % (pid, wait, " or ".join(search.folders()), why)
            )
        time.sleep(_POLL_S)


class _Search:
    """Files that come to where the snapshots of a process go, from now on."""

    def __init__(self, patterns: List[str], pid: int) -> None:
        self._patterns = patterns
        self._pid = pid
        self._seen: Dict[str, _Identity] = {}
        for path, identity in self._files():
            self._seen[path] = identity
        self._asked = time.time()

    def look(self) -> Optional[str]:
        """The path of the answer, once it is there."""
        for path, identity in self._files():
            if self._seen.get(path) != identity:
                self._seen[path] = identity
                if self._is_answer(path):
                    return path
        return None

    def folders(self) -> List[str]:
        names = (re.sub(r"\[([][*?])\]", r"\1", pattern) for pattern in self._patterns)
        return list(dict.fromkeys(os.path.dirname(name) for name in names))

    def _files(self) -> List[Tuple[str, _Identity]]:
        found = []
        for pattern in self._patterns:
            for path in glob.iglob(pattern):
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found.append((path, (status.st_dev, status.st_ino, status.st_mtime_ns)))
        return found

    def _is_answer(self, path: str) -> bool:
        try:
            head = _head(path)
        except (OSError, SnapshotError):
            return False
        taken = head.number("time") or 0.0
        return head.integer("pid") == self._pid and taken >= self._asked - _ROUNDING_S


def _head(path: str) -> Head:
    for section in Container(path).sections():
        if section.tag == b"HEAD":
            return Head.parse(section.payload)
    return Head()


def _arguments(words: List[str]) -> Tuple[int, float]:
    wait = _WAIT_S
    rest = []
    left = list(words)
    while left:
        word, equals, text = left.pop(0).partition("=")
        if word != "--wait":
            rest.append(word + equals + text)
            continue
        if not equals:
            text = left.pop(0) if left else ""
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII):
            raise CommandError("--wait %s makes no sense: expected seconds" % text)
        wait = float(text)
    if len(rest) != 1 or not re.fullmatch("[0-9]{1,9}", rest[0], re.ASCII) or int(rest[0]) < 1:
        raise CommandError(
            "dump: expected the number of a process%s"
            % (", not %s" % " ".join(rest) if rest else "")
        )
    return int(rest[0]), wait
