# SPDX-License-Identifier: MIT
"""`mprofile dump PID`: ask a profiled process for a snapshot, wait for it, print its path.

A signal to a process that does not expect it ends it. So none is sent before the kernel has said that
the process has the library, and a handler for the signal.

Where the file will be is told by the process's own MPROFILEOUT, and, where that is relative, by the
folders it may have been started in. The file is known by what its head says: process, trigger and
time, not by its name.

Invariants: a process that is not listening is never signalled; a file that is printed is whole.
"""

from __future__ import annotations

import glob
import os
import re
import signal
import time
from typing import Dict, Iterator, List, Optional, Tuple

from ._format import SnapshotError
from .commands import CommandError

USAGE = """\
usage: mprofile dump PID [--wait SECONDS]

Ask a profiled process for a snapshot, wait until it is written (30 seconds at most, or as --wait
says), and print its path. It works also while the program hangs. A process that is not profiled is
left alone.

  mprofile dump 4711
  mprofile-read $(mprofile dump $(pgrep -f app.py))"""

_DEFAULT_OUT = "mprofile.%p.%n.bin"
_WAIT_S = 30.0
_POLL_S = 0.02


class Target:
    """A process as /proc shows it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = "/proc/%d/root" % pid
        status = self._read("status").decode("utf-8", "replace")
        self.status = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if self.status.get("State", "").strip()[:1] in ("Z", "X"):
            raise CommandError("process %d has ended" % pid)
        #: Its number in its own PID namespace: what its snapshots say.
        self.inner_pid = int(self.status.get("NSpid", str(pid)).split()[-1])
        variables = self._read("environ").decode("utf-8", "surrogateescape").split("\0")
        self.environment: Dict[str, str] = dict(v.split("=", 1) for v in variables if "=" in v)

    def _read(self, name: str) -> bytes:
        try:
            with open("/proc/%d/%s" % (self.pid, name), "rb") as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError):
            raise CommandError("there is no process %d" % self.pid) from None
        except PermissionError:
            raise CommandError(
                "process %d cannot be looked into: expected one of yours, or to be root" % self.pid
            ) from None

    def has_library(self) -> bool:
        return b"libmprofile" in self._read("maps")

    def catches(self, number: int) -> bool:
        return bool(int(self.status.get("SigCgt", "0"), 16) >> (number - 1) & 1)

    def signal_number(self) -> Optional[int]:
        """The dump signal, as the library reads MPROFILESIGNAL; None: none."""
        text = self.environment.get("MPROFILESIGNAL") or "USR2"
        if text.lower() == "none":
            return None
        return _signal_number(text) or int(signal.SIGUSR2)

    def places(self) -> List[str]:
        """Patterns for glob of the names that its snapshots may have."""
        out = self.environment.get("MPROFILEOUT") or _DEFAULT_OUT
        folders = [""]
        if not out.startswith("/"):
            folders = [self._cwd(), self.environment.get("PWD", ""), self.environment.get("OLDPWD", "")]
        root = "" if os.path.samefile(self.root, "/") else self.root
        found = []
        for folder in folders:
            if folder or out.startswith("/"):
                path = os.path.join(folder, out)
                if out.endswith("/") or os.path.isdir(root + path):
                    path = os.path.join(path, _DEFAULT_OUT)
                pattern = root + _as_glob(path, self.inner_pid)
                # Without %n a later snapshot has .2 before its extension.
                stem, extension = os.path.splitext(pattern)
                found += [pattern] + ([stem + ".*" + extension] if "%n" not in path else [])
        return list(dict.fromkeys(found))

    def _cwd(self) -> str:
        try:
            return os.readlink("/proc/%d/cwd" % self.pid)
        except OSError:
            return ""


def _signal_number(text: str) -> Optional[int]:
    text = text.upper()
    text = text[3:] if text.startswith("SIG") else text
    if text.isdigit():
        return int(text) if 1 <= int(text) <= 64 else None
    real_time = re.fullmatch(r"(RTMIN|RTMAX)(?:([+-])([0-9]{1,2}))?", text)
    if real_time:
        base = signal.SIGRTMIN if real_time.group(1) == "RTMIN" else signal.SIGRTMAX
        offset = int(real_time.group(3) or 0)
        return int(base) + (-offset if real_time.group(2) == "-" else offset)
    found = getattr(signal, "SIG" + text, None)
    return int(found) if isinstance(found, signal.Signals) else None


def _as_glob(pattern: str, pid: int) -> str:
    values = {"p": str(pid), "n": "*", "t": "*", "h": "*", "%": "%"}
    parts = re.split(r"%([pnth%])", pattern)
    literal = [glob.escape(part) for part in parts[::2]]
    filled = [values[name] for name in parts[1::2]]
    return "".join(a + b for a, b in zip(literal, filled + [""]))


def _candidates(patterns: List[str]) -> Iterator[str]:
    for pattern in patterns:
        yield from glob.iglob(pattern)


def _is_answer(path: str, target: Target, asked: float) -> bool:
    from ._ids import read_heap

    try:
        if os.stat(path).st_mtime < asked - 2:
            return False
        head = read_heap(path).head
    except (OSError, SnapshotError):
        return False
    taken = head.number("time") or 0.0
    return head.integer("pid") == target.inner_pid and taken >= asked - 0.001


def _listening(target: Target) -> int:
    """The signal that it listens to; a CommandError that says why it does not."""
    if not target.has_library():
        raise CommandError("process %d is not profiled" % target.pid)
    number = target.signal_number()
    if number is None:
        raise CommandError("process %d has no dump signal: MPROFILESIGNAL is none there" % target.pid)
    if not target.catches(number):
        raise CommandError(
            "process %d does not listen to signal %d: it has no Python that is profiled (yet)"
            % (target.pid, number)
        )
    return number


def _arguments(words: List[str]) -> Tuple[int, float]:
    wait = _WAIT_S
    rest = list(words)
    if "--wait" in rest:
        at = rest.index("--wait")
        text = "".join(rest[at + 1 : at + 2])
        try:
            wait = float(text)
        except ValueError:
            wait = -1.0
        if not 0 < wait < 1e6:
            raise CommandError("--wait %s makes no sense: expected seconds" % text)
        del rest[at : at + 2]
    if len(rest) != 1 or not rest[0].isdigit() or not 0 < int(rest[0]) < 1 << 31:
        raise CommandError(
            "dump: expected the number of a process%s"
            % (", not %s" % " ".join(rest) if rest else "")
        )
    return int(rest[0]), wait


def dump(words: List[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    pid, wait = _arguments(words)
    target = Target(pid)
    number = _listening(target)
    patterns = target.places()
    before = set(_candidates(patterns))
    asked = time.time()
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        raise CommandError("there is no process %d" % pid) from None
    except PermissionError:
        raise CommandError("process %d belongs to another user" % pid) from None
    end = time.monotonic() + wait
    while time.monotonic() < end:
        for path in _candidates(patterns):
            if path not in before and _is_answer(path, target, asked):
                print(path)
                return 0
        if not os.path.exists("/proc/%d" % pid):
            raise CommandError("process %d ended before it had written a snapshot" % pid)
        time.sleep(_POLL_S)
    raise CommandError(
        "process %d was asked, but within %g s no snapshot of it came to %s; its standard error may say why"
        % (pid, wait, ", ".join(dict.fromkeys(map(os.path.dirname, patterns))))
    )
