# SPDX-License-Identifier: MIT
"""What several test files need: sample programs, and the command run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, List, Tuple

from snapshot_writer import NATIVE, Frame, Program

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden")
READER = os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools", "mprofile-read")

MAIN: Frame = ("app/main.py", 7, "<module>", 1)
LOAD: Frame = ("app/models.py", 12, "Model.load", 10)
VIEW: Frame = ("app/views.py", 33, "render", 30)
FROZEN: Frame = ("<frozen importlib._bootstrap>", 241, "_call_with_frames_removed", 239)
STRING: Frame = ("<string>", 1, "<module>", 1)
UNKNOWN: Frame = ("<unknown>", 0, "[no Python thread]", 0)
EXTENSION = "/opt/app/lib/keeper.so"
KEEP: Frame = (EXTENSION, 0x1234, "keep_one", NATIVE)
GROW: Frame = (EXTENSION, 0x2010, "_ZN4pool4growEm", NATIVE)
NAMELESS: Frame = ("/opt/app/lib/stripped.so", 0x777, "", NATIVE)
CALL: Frame = ("/usr/lib/libpython3.11.so.1.0", 0x20000, "cfunction_call+0x4c", NATIVE)
START: Frame = ("/usr/lib/libc.so.6", 0x29D90, "__libc_start_main", NATIVE)


def mixed(rate: int = 0, **head: Any) -> Program:
    """Stacks of Python frames with native ones above and below, and some without any of Python."""
    program = Program(rate, **{"native": 1, **head})
    program.module(EXTENSION, "00112233445566778899aabbccddeeff00112233", 0x7000, 0x9000, 0x7000)
    program.module(START[0], "", 0xA000, 0xB000, 0xA000)
    for number in range(3):
        program.block(40000 + number, [KEEP, CALL, LOAD, MAIN, START], domain="malloc")
    program.block(30000, [GROW, KEEP, CALL, LOAD, MAIN, START], domain="malloc")
    program.block(20000, [LOAD, MAIN, START])
    program.block(10000, [NAMELESS, START], domain="malloc", tid=4712, name="pool")
    program.block(9000, [GROW, START], domain="malloc", tid=4712, name="pool")
    program.block(8000, [GROW, NAMELESS, VIEW, CALL, LOAD, MAIN, START], domain="mmap")
    program.block(7000, [KEEP, UNKNOWN], domain="malloc")
    return program


def small(rate: int = 0, **head: Any) -> Program:
    """A few blocks of every kind."""
    program = Program(rate, **head)
    for size in (100, 200, 300):
        program.block(size, [LOAD, MAIN])
    program.block(5000, [VIEW, LOAD, MAIN], domain="mem", time=59000)
    program.block(70000, [VIEW, MAIN], domain="malloc", tid=4712, name="worker")
    program.block(64, [STRING, FROZEN, MAIN], domain="raw")
    program.block(1 << 20, [UNKNOWN], domain="mmap", tid=4712)
    program.block(0, [LOAD, LOAD, LOAD, MAIN])
    program.block(4096, [LOAD, MAIN], live=False)
    return program


def read(*arguments: str, **environment: str) -> Tuple[int, str, str]:
    """Run mprofile-read; give its exit status, standard output, standard error."""
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "PYTHONIOENCODING")}
    clean.update(PYTHONIOENCODING="utf-8", **environment)
    done = subprocess.run(
        [sys.executable, READER, *arguments],
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def save(path: Any, data: bytes) -> str:
    with open(str(path), "wb") as file:
        file.write(data)
    return str(path)


def stock_traces(program: Program) -> List[Tuple[Any, ...]]:
    """The live blocks of a program as tracemalloc's raw traces for the running Python."""
    import tracemalloc

    number = {0: 0, 1: 0, 2: 0, 3: 1, 4: 2}
    has_total = hasattr(tracemalloc.Traceback, "total_nframe")
    traces = []
    for _, size, _, site, _, _, _, depth in program.live:
        node, domain = program.sites[site][:2]
        frames = []
        while node:
            parent, func, line = program.nodes[node - 1]
            file = program.strings[program.functions[func][1]].decode()
            frames.append((file, line))
            node = parent
        trace: Tuple[Any, ...] = (number[domain], size, tuple(frames))
        traces.append(trace + (depth,) if has_total else trace)
    return traces
