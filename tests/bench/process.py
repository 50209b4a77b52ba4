# SPDX-License-Identifier: MIT
"""Starts a process of a workload under a configuration; counts its instructions, or takes its times.

Instructions are counted by valgrind's cachegrind without its caches: the steadiest figure there is, undisturbed by what else the
machine does. What is measured is one stretch of one run (see inside.c).

Times are taken by turns: a process of each configuration stays, and works for a twentieth of a second whenever it is its turn. What else the machine does, and how
fast it is just then, meets all of them; a ratio of two turns that lie side by side is good to a hundredth where one of whole runs is not to a tenth.
"""
from __future__ import annotations

import functools
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Mapping

import packages
from configurations import CONFIGURATIONS, LIBRARY
from interpreters import Interpreter

HERE = Path(__file__).resolve().parent
LIMIT = 900
CACHEGRIND = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--log-fd=2"]


class Failed(Exception):
    """The process did not do what it should; says what it said."""


@dataclass(frozen=True)
class Taken:
    cpu: float
    wall: float
    peak_kib: int
    instructions: int = 0


@functools.cache
def helper() -> str:
    """inside.c, compiled."""
    folder = packages.cache()
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / ("inside-%x.so" % (HERE / "inside.c").stat().st_mtime_ns)
    if not made.exists():
        part = made.with_suffix(".%d.%d" % (os.getpid(), threading.get_ident()))
        compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(part), str(HERE / "inside.c")], check=True)
        part.rename(made)
    return str(made)


def clean_environment() -> dict[str, str]:
    """Nothing of Python's, of ours or of a test's; the same each time."""
    kept = {key: os.environ[key] for key in ("PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if key in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}


def available(python: Interpreter, name: str) -> bool:
    package = CONFIGURATIONS[name].package
    return not package or packages.folder(python, package) is not None


def command_of(python: Interpreter, name: str, folder: str) -> tuple[list[str], dict[str, str]]:
    """The interpreter with its options, and its environment."""
    configuration = CONFIGURATIONS[name]
    paths = [packages.folder(python)]
    if configuration.package:
        paths.insert(0, packages.folder(python, configuration.package))
    env = {**clean_environment(), "HOME": folder, "BENCH_FOLDER": folder, "BENCH_INSIDE": helper(),
           "BENCH_START": configuration.start, "PYTHONPATH": ":".join(str(path) for path in paths if path), **configuration.env}
    if configuration.preload:
        env["LD_PRELOAD"] = str(LIBRARY)
    return [python.path, *configuration.options], env


def run(python: Interpreter, name: str, workload: str, loops: int, warm: int, count: bool) -> Taken:
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        command, env = command_of(python, name, folder)
        if count:
            command = CACHEGRIND + command
            if "LD_PRELOAD" in env:
                env["LD_PRELOAD"] += " " + helper()  # see there
        command += [str(HERE / "workloads.py"), workload, str(loops), str(warm)]
        try:
            done = subprocess.run(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed("%s under %s: longer than %d s" % (workload, name, LIMIT)) from None
        said = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not said:
            raise Failed("%s under %s: %s" % (workload, name, done.stderr[-1500:]))
        told = json.loads(said[-1])
        counts = [int(one.replace(",", "")) for one in re.findall(r"I\s+refs:\s+([\d,]+)", done.stderr)]
        if count and len(counts) < 2:
            raise Failed("%s under %s: no counts: %s" % (workload, name, done.stderr[-1500:]))
        return Taken(told["cpu"], told["wall"], told["peak"], counts[-1] - counts[0] if count else 0)


class Resident:
    """A process that works when it is told to; to be closed, or used with `with`. Failed says why it could not."""

    def __init__(self, python: Interpreter, name: str, workload: str, warm: int, more: Mapping[str, str] = MappingProxyType({})) -> None:
        """`more` goes into the environment over what the configuration says."""
        self.title = "%s under %s" % (workload, name)
        self.folder = tempfile.TemporaryDirectory(prefix="bench.")
        command, env = command_of(python, name, self.folder.name)
        env.update(more)
        self.errors = open(self.folder.name + "/stderr", "w+")
        self.process = subprocess.Popen([*command, str(HERE / "workloads.py"), workload, "turns", str(warm)], env=env, cwd=self.folder.name,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0)

    def turn(self, loops: int) -> Taken:
        """So many loops. Waits for them for LIMIT seconds."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(b"%d\n" % loops)
        except BrokenPipeError:
            raise self.failed() from None
        told = b""
        while not (found := re.search(rb"^\{.*\}\n", told, re.MULTILINE)):
            if not select.select([self.process.stdout], [], [], LIMIT)[0]:
                raise Failed("%s: longer than %d s" % (self.title, LIMIT))
            more = self.process.stdout.read(4096)
            if not more:
                raise self.failed()
            told += more
        row = json.loads(found.group())
        return Taken(row["cpu"], row["wall"], row["peak"])

    def failed(self) -> Failed:
        self.process.wait()
        self.errors.seek(0)
        return Failed("%s: %s" % (self.title, self.errors.read()[-1500:]))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()
        self.folder.cleanup()

    def __enter__(self) -> "Resident":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def loops_of(resident: Resident, least: int, seconds: float) -> int:
    """How many loops, at least, take so long in processor time."""
    loops = least
    while resident.turn(loops).cpu < seconds:
        loops *= 2
    return loops
