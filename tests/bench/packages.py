# SPDX-License-Identifier: MIT
"""The packages that benchmarks run and compare with, for each version of Python, in the cache folder.

tests/requirements-bench.txt says which. What all need is in one folder and each rival in one of its own, so that a process
has on its path only what it uses. Made once; pip is that of the Python that runs the benchmark.
"""
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from interpreters import TESTS, Interpreter

REQUIREMENTS = TESTS / "requirements-bench.txt"
COMMON = "common"


def cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "mprofile" / "bench"


def wanted(name: str) -> list[str]:
    """The pins of a section of the file."""
    section, pins = COMMON, []
    for line in REQUIREMENTS.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line and section == name:
            pins.append(line)
    return pins


def folder(python: Interpreter, name: str = COMMON) -> Path | None:
    """Where the packages are; None where they cannot be had for this interpreter, as for free-threaded ones."""
    if python.free_threaded:
        return None
    pins = wanted(name)
    digest = hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]
    where = cache() / ("%s-%s-%s" % (python.minor_name, name, digest))
    refused = where.with_name(where.name + ".refused")
    if where.exists():
        return where
    if refused.exists():
        return None
    part = where.with_name("%s.part%d" % (where.name, os.getpid()))
    part.mkdir(parents=True)
    print("installing %s for %s" % (" ".join(pins), python.name), file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(part),
               "--python-version", "%d.%d" % python.minor, "--only-binary=:all:"]
    done = subprocess.run(command + pins, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        refused.write_text(done.stdout)
        return None
    subprocess.run([python.path, "-m", "compileall", "-q", str(part)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part.rename(where)
    return where


def versions() -> str:
    """In words, for a table's foot."""
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    return ", ".join(line.replace("==", " ") for line in lines if line and not line.startswith("["))
