# SPDX-License-Identifier: MIT
"""Programs with stacks, types, ages and sizes of many kinds, for the page."""

from __future__ import annotations

import random
from typing import Any, List, Tuple

import snapshot_writer as sw
from snapshot_writer import NATIVE, Frame, Program

MAIN: Frame = ("/srv/app/main.py", 7, "<module>", 1)
IMPORT: Frame = ("<frozen importlib._bootstrap>", 241, "_call_with_frames_removed", 239)
LOAD: Frame = ("/srv/app/models.py", 12, "Model.load", 10)
VIEW: Frame = ("/srv/app/views.py", 33, "render", 30)
CACHE: Frame = ("/srv/app/cache.py", 5, "remember", 2)
EVAL: Frame = ("/usr/lib/libpython3.11.so.1.0", 0x20000, "cfunction_call", NATIVE)
KEEP: Frame = ("/opt/lib/keeper.so", 0x1234, "keep_one", NATIVE)
STATUS = "/proc/self/status"


def service(rate: int = 4096, blocks: int = 400, **head: Any) -> Program:
    """A service that has run an hour: models, views, a cache, an import, native code."""
    program = Program(rate, clock_ms=3600000, lost="", **head)
    del program.head["lost"]
    program.head.update({"lost.stacks": 3, "cmdline": "python\0/srv/app/main.py"})
    program.proc.append((STATUS, "VmRSS:\t  102400 kB\nVmHWM:\t  122880 kB\n"))
    rng = random.Random(8)
    for number in range(blocks):
        time = 3600000 - int(10 ** rng.uniform(1, 6.5))
        size = rng.choice((48, 100, 700, 5000, 70000))
        kind = number % 4
        if kind == 0:
            program.block(size, [LOAD, VIEW, MAIN], time=time, type_name="Model")
        elif kind == 1:
            program.block(size, [VIEW, MAIN], "mem", time=time, live=number % 3 > 0)
        elif kind == 2:
            program.block(size, [CACHE, LOAD, IMPORT, MAIN], time=time, type_name="dict")
        else:
            program.block(size, [KEEP, EVAL, VIEW, IMPORT, MAIN], "malloc", time=time)
    return program


HOSTILE = (
    "</script><script>throw Error('in')</script>",
    "<img src=x onerror=alert(1)>",
    "{{STYLE}}\"'&amp;\\",
    "\u202egpj.exe\x1b[31m\x00\n",
    "\ud800lone",
)


def hostile() -> Program:
    program = Program(0, cmdline="\0".join(HOSTILE), host=HOSTILE[1])
    for number, name in enumerate(HOSTILE):
        frame = (name + ".py", 3, name, 1)
        program.block(100 + number, [frame, MAIN], type_name=name)
    return program


class Many(Program):
    """A program whose tables are longer than a section may be."""

    STEP = 10_000

    def cut(self, rows: List[Any]) -> List[Tuple[int, List[Any]]]:
        return [(at, rows[at : at + self.STEP]) for at in range(0, len(rows), self.STEP)]

    def sections(self) -> List[bytes]:
        return [
            sw.head(dict(self.head, samples=len(self.live))),
            *(sw.strings(part, at) for at, part in self.cut(self.strings)),
            *(sw.table(b"FUNC", "III", part, at) for at, part in self.cut(self.functions)),
            *(sw.table(b"NODE", "III", part, at + 1) for at, part in self.cut(self.nodes)),
            *(sw.table(b"SITE", "IBQdddddd", part, at) for at, part in self.cut(self.sites)),
            *(sw.counted(b"LIVE", "QQQIIHHH", part) for _, part in self.cut(self.live)),
            sw.table(b"THRD", "QQI", self.threads),
            sw.counted(b"RATE", "Q", [(rate,) for rate in self.rates]),
            sw.counted(b"LINE", "QQQ", self.lineage),
        ]


def many(stacks: int, depth: int = 12, rate: int = 4096) -> Many:
    """As many stacks, that share callers as those of a large service do."""
    program = Many(rate)
    rng = random.Random(5)
    for number in range(stacks):
        stack: List[Frame] = []
        branch = number
        for level in range(depth):
            stack.append(("pkg/module%d.py" % (branch % 400), branch % 900, "f%d" % branch, 1))
            branch = branch // 2
        program.block(int(rng.paretovariate(0.9) * 40), stack, time=rng.randrange(60000))
    return program
