# SPDX-License-Identifier: MIT
"""Where figures go: raw ones into a file that a run can go on from, tables into their section of tests/bench/RESULTS.md.

A section lies between two markers; what is there is replaced. Each table says by which command, of which versions, on what kind of
machine (never which one), and when it was made.
"""
from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterable, Sequence


HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"


def machine_kind() -> str:
    cpu = "an unnamed processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    virtual = "hypervisor" in Path("/proc/cpuinfo").read_text()
    return "%s, %d of them, %s, Linux %s, %s" % (
        cpu, os.cpu_count() or 1, "virtual machine" if virtual else "bare metal", platform.release(), "-".join(platform.libc_ver()))


def revision() -> str:
    done = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "unknown"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is words, the others figures."""
    lines = ["| %s |" % " | ".join(heads), "|---|%s" % ("--:|" * (len(heads) - 1))]
    lines += ["| %s |" % " | ".join(row) for row in rows]
    return "\n".join(lines)


def mean_and_error(values: Sequence[float]) -> str:
    """The mean and its standard error; of two values at least."""
    return "%.3f ± %.3f" % (statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5)


def footer(words: str = "") -> str:
    script = os.path.relpath(sys.argv[0], HERE.parents[1])
    arguments = [word for word in sys.argv[1:] if word != "--write"]
    facts = [words] if words else []
    facts += [machine_kind(), "load %.1f" % os.getloadavg()[0], "revision %s" % revision(), datetime.date.today().isoformat()]
    return "`%s`: %s." % (shlex.join([script, *arguments]), "; ".join(facts))


def show(name: str, text: str, write: bool) -> None:
    """Print a section, and put it in its place."""
    print(text, flush=True)
    if not write:
        return
    opens, closes = "<!-- %s -->" % name, "<!-- end of %s -->" % name
    before = RESULTS.read_text()
    head, found, rest = before.partition(opens + "\n")
    if not found or closes not in rest:
        raise SystemExit("%s has no section %s" % (RESULTS, name))
    RESULTS.write_text(head + found + text.strip() + "\n" + closes + rest.partition(closes)[2])


class Raw:
    """One JSON object a line, by key; a run that was stopped goes on from it."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path = path
        self.found: dict[str, list[dict[str, Any]]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        elif path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.found.setdefault(row["key"], []).append(row)

    def add(self, key: str, **values: Any) -> None:
        row = {"key": key, **values}
        self.found.setdefault(key, []).append(row)
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")


__all__ = ["Raw", "footer", "mean_and_error", "revision", "show", "table"]
