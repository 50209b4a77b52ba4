# SPDX-License-Identifier: MIT
"""What several test files need: sample programs, and the command run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Dict, List, Tuple

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


HOUR = 3_600_000
#: Lines of `leaky`, each with another way of growing, or of not growing.
WAYS: Dict[str, Frame] = {
    way: ("app/ways.py", 10 * number, way, 10 * number - 5)
    for number, way in enumerate(("leak", "cache", "busy", "filled", "bounded", "late", "few"), 1)
}


def leaky(until: int = 2 * HOUR, rate: int = 4096, **head: Any) -> Program:
    """A process after *until* milliseconds of a run in which each line has its own way.

    `leak` keeps a block of 3,000 bytes every 2 minutes; `cache` was filled at the start, `filled`
    until half an hour after; `busy` keeps blocks for a minute, `bounded` for half an hour; `late`
    began after an hour; of `few` there are two.
    """
    program = Program(
        rate, clock_ms=until, time="%d.000000000" % (1700000000 + until // 1000), **head
    )
    address = 0

    def one(way: str, size: int, time: int, lives: int = 1 << 40) -> None:
        nonlocal address
        address += 16
        if time <= until:
            alive = time + lives > until
            program.block(size, [WAYS[way], MAIN], address=address, time=time, live=alive)

    for number in range(200):
        one("cache", 60_000, 1_000 + number)
    for minute in range(until // 60_000):
        time = minute * 60_000 + 30_000
        if minute % 2:
            one("leak", 3_000, time)
        if minute <= 30:
            one("filled", 20_000, time)
        if minute >= 60:
            one("late", 5_000, time)
        one("bounded", 8_000, time, HOUR // 2)
        for second in range(0, 60, 2):
            one("busy", 2_000, time + 1_000 * second - 29_000, 60_000)
    for minute in (20, 47):
        one("few", 4_000, minute * 60_000)
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
