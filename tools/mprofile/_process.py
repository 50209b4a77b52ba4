# SPDX-License-Identifier: MIT
"""A process from outside: whether it is profiled, whether it listens, where its snapshots go.

The library marks a process that listens to the dump signal with a mapping whose name says which
signal, and the pattern of its snapshots' names (preload/mark.h). Neither the environment at start nor
a handler would do: a program that has the library but no Python may catch the signal for itself.

Invariants: a process is signalled only by `ask`, which has seen the mark and the kernel's word that
the signal is caught; where the system has process descriptors (Python 3.9, Linux 5.3) it is surely
the one that was looked at, and not a later one of the same number.
"""

from __future__ import annotations

import glob
import os
import re
import signal
import sys
from typing import Dict, List, Optional, Tuple

from ._signals import signal_number
from .commands import CommandError

_DEFAULT_OUT = "mprofile.%p.%n.bin"
_MARK = re.compile(rb" /memfd:mprofile\.([0-9]{1,2})(?:\.(.*))? \(deleted\)$", re.M)
_LIBRARY = re.compile(rb"/libmprofile\.so(?: \(deleted\))?$", re.M)


class Process:
    """A process as /proc shows it. Raises CommandError where there is none, or it is another user's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = _descriptor(pid)
        self._status = self._status_now()
        group = self._number("Tgid", pid)
        if group != pid:
            raise CommandError("%d is a thread of process %d" % (pid, group))
        if self.has_ended():
            raise CommandError("process %d has ended" % pid)
        self._maps = self._read("maps")
        #: Its number in its own PID namespace: what its snapshots say.
        self.inner_pid = self._number("NSpid", pid)
        self.signal, self._pattern = self._listening()

    def has_ended(self) -> bool:
        """Also while its parent has not asked how."""
        return self._state() in ("Z", "X")

    def why_silent(self) -> str:
        """Why it has not answered a signal, where the kernel knows; else nothing."""
        state = self._state()
        if state == "T":
            return "it is stopped, and writes when it goes on: kill -CONT %d" % self.pid
        if state == "t":
            return "a debugger holds it, and it writes when it goes on"
        pending = int(self._status_now().get("ShdPnd", "0"), 16)
        if pending >> (self.signal - 1) & 1:
            return "all its threads block signal %d, and it writes when one does not" % self.signal
        return ""

    def _state(self) -> str:
        """One letter, as the kernel has it; X where there is no such process any more."""
        try:
            with open("/proc/%d/stat" % self.pid, "rb") as file:
                return file.read().rpartition(b")")[2].split()[0].decode("ascii")
        except OSError:
            return "X"

    def _status_now(self) -> Dict[str, str]:
        lines = self._read("status").decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def ask(self) -> None:
        """Send it the dump signal."""
        try:
            if self._descriptor is not None and sys.version_info >= (3, 9):
                signal.pidfd_send_signal(self._descriptor, self.signal)
            else:
                os.kill(self.pid, self.signal)
        except ProcessLookupError:
            raise CommandError("process %d has ended" % self.pid) from None
        except PermissionError:
            raise CommandError("process %d belongs to another user" % self.pid) from None

    def places(self) -> List[str]:
        """Patterns, for glob, of the names that its snapshots may have."""
        root = "/proc/%d/root" % self.pid
        try:
            inside = "" if os.path.samefile(root, "/") else root
        except OSError:
            inside = ""
        found: List[str] = []
        for template in self._templates():
            # From the second snapshot on, one without %n has .2, .3 … before its extension.
            stem, extension = os.path.splitext(template)
            numbered = [] if "%n" in template else [_as_glob(stem, self.inner_pid) + ".[0-9]*" + extension]
            found += [_as_glob(template, self.inner_pid), *numbered]
        return [glob.escape(inside) + name for name in dict.fromkeys(found)]

    def _templates(self) -> List[str]:
        """MPROFILEOUT as the library has it; where the mark has no room for it, as it may have it."""
        if self._pattern is not None:
            out, folders = self._pattern, [self._cwd()]
        else:
            out = self._variable("MPROFILEOUT") or _DEFAULT_OUT
            folders = list(filter(None, [self._cwd(), self._variable("PWD")]))
        if out.startswith("/"):
            folders = [""]
        paths = [os.path.join(folder.replace("%", "%%"), out) for folder in folders]
        return paths + ([os.path.join(p, _DEFAULT_OUT) for p in paths] if self._pattern is None else [])

    def _listening(self) -> Tuple[int, Optional[str]]:
        mark = _MARK.search(self._maps)
        if mark is None and not _LIBRARY.search(self._maps):
            raise CommandError("process %d is not profiled" % self.pid)
        wish = self._variable("MPROFILESIGNAL") or "USR2"
        if mark is None and wish.lower() == "none":
            raise CommandError(
                "process %d has no dump signal: MPROFILESIGNAL is none there" % self.pid
            )
        number = int(mark.group(1)) if mark else signal_number(wish) or int(signal.SIGUSR2)
        caught = int(self._status.get("SigCgt", "0"), 16)
        if mark is None or not 1 <= number <= 64 or not caught >> (number - 1) & 1:
            raise CommandError(
                "process %d does not listen to signal %d: no Python in it is profiled (yet)"
                % (self.pid, number)
            )
        pattern = mark.group(2)
        return number, None if pattern is None else os.fsdecode(pattern)

    def _number(self, key: str, otherwise: int) -> int:
        words = self._status.get(key, "").split()
        return int(words[-1]) if words else otherwise

    def _variable(self, name: str) -> str:
        """What it was started with: it may have another value by now."""
        for entry in self._read("environ").split(b"\0"):
            key, _, value = entry.partition(b"=")
            if os.fsdecode(key) == name:
                return os.fsdecode(value)
        return ""

    def _cwd(self) -> str:
        try:
            return os.readlink("/proc/%d/cwd" % self.pid)
        except OSError:
            return ""

    def _read(self, name: str) -> bytes:
        try:
            with open("/proc/%d/%s" % (self.pid, name), "rb") as file:
                return file.read()
        except PermissionError:
            raise CommandError(
                "process %d cannot be looked into: expected one of yours, or to be root" % self.pid
            ) from None
        except OSError:
            raise CommandError("there is no process %d" % self.pid) from None


def _descriptor(pid: int) -> Optional[int]:
    """Of the process, for as long as this command runs; None where there are none, or not of it."""
    if sys.version_info >= (3, 9) and hasattr(os, "pidfd_open"):
        try:
            return os.pidfd_open(pid)
        except OSError:
            pass
    return None


def _as_glob(template: str, pid: int) -> str:
    values = {"p": str(pid), "n": "*", "t": "*", "h": "*", "%": "%"}
    parts = re.split(r"%([pnth%])", template)
    literal = [glob.escape(part) for part in parts[::2]]
    filled = [values[name] for name in parts[1::2]]
    return "".join(a + b for a, b in zip(literal, [*filled, ""]))
