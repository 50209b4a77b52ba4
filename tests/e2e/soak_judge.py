# SPDX-License-Identifier: MIT
"""What tests/soak judges, each a function of what was seen: snapshots, growth, ends of processes, figures. tests/soak says what is allowed, and why."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import harness
from rawfile import RawFile

#: Seconds by which a signal may be handled late on a machine that is busy.
SLACK = 2.0
ERRORS = 4
KIB, MIB = 1 << 10, 1 << 20
#: Part and amount that the highest of the last third may be above that of the second.
ALLOWED = {"own": (1 / 16, 64 * KIB), "rss": (1 / 8, 8 * MIB)}
ALLOWED_MORE = 2


class Checked(RawFile):
    """A snapshot whose checksums are right, and its head: all that is read of most."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.head = dict(self._head_lines(self._sections()[0][1]))


def fault_of(path: Path, pid: int, whole: bool) -> Tuple[Optional[str], Dict[str, str]]:
    """What is wrong with a snapshot, or None; and its head."""
    try:
        head = (RawFile if whole else Checked)(path).head
    except Exception as error:  # whatever a damaged file makes of it
        return "%s: %r" % (path.name, error), {}
    if head.get("pid") != str(pid):
        return "%s: of process %s" % (path.name, head.get("pid")), head
    if whole:
        done = harness.reader(path, check=False)
        if done.returncode != 0 or done.stderr:
            return "%s: mprofile-read: %d, %s" % (path.name, done.returncode, done.stderr.strip()), head
    return None, head


def thirds(series: Sequence[Tuple[float, float]], start: float, end: float, of: Callable[[List[float]], float]) -> List[float]:
    """One figure for each third of the time."""
    parts: List[List[float]] = [[], [], []]
    for when, value in series:
        parts[min(2, max(0, int(3 * (when - start) / (end - start))))].append(value)
    return [of(part) if part else 0.0 for part in parts]


def grew(kind: str, figures: Sequence[float]) -> Optional[str]:
    """Of what each third had, what is too much of growth."""
    _, second, last = figures
    part, amount = ALLOWED.get(kind, (0.0, ALLOWED_MORE))
    if not second or not last:
        return "%s: not seen in each third of the time" % kind
    if last > second * (1 + part) + amount:
        return "%s grew from %d to %d" % (kind, second, last)
    return None


def status_fault(status: int, own: int) -> Optional[str]:
    """What is wrong with how a process ended, as waitpid says."""
    if os.WIFSIGNALED(status):
        return "died of %s" % signal.Signals(os.WTERMSIG(status)).name
    if os.WEXITSTATUS(status) != own:
        return "ended with status %d" % os.WEXITSTATUS(status)
    return None


def figure_fault(size: float, error: float, truth: float) -> Optional[str]:
    if abs(size - truth) > ERRORS * error:
        return "%d ± %d, in truth %d" % (size, error, truth)
    return None


def missing_fault(asked: float, leaving: Optional[float]) -> Optional[str]:
    """Whether a snapshot of a process that has ended may be missing: what is wrong, or None."""
    if leaving is None:
        return "its process never said that it leaves"
    if asked < leaving - SLACK:
        return "asked %.1f s before its process left" % (leaving - asked)
    return None
