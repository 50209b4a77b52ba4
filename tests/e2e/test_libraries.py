# SPDX-License-Identifier: MIT
"""Libraries that people use, in small real programs: what each says and how it ends is the same, byte for byte,
without the profiler; with it, the line that keeps memory is found, with as much as the program itself says.

The programs are tests/programs/more/with_NAME.py; tests/PROGRAMS.md has their table.
"""
from __future__ import annotations

import subprocess

import pytest
from harness import PROGRAMS, RawFile, environment, marks

# Modules are compiled once, and not for each run: most of pandas's would be that.
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
PACKAGES = ["numpy", "pandas", "lxml", "cryptography", "greenlet", "gevent", "uvloop"]
STANDARD = ["sqlite3", "futures"]


def same_and_found(python, run, name, env):
    """Run it alone and profiled; compare, and look for the kept bytes below the marked line."""
    program = PROGRAMS / "more" / ("with_%s.py" % name)
    alone = subprocess.run([python.path, str(program)], env=environment(env, preload=False), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    assert alone.returncode == 3, alone.stderr
    profiled = run(python, argv=[program], env=dict(env, MPROFILERATE="16k"))
    said = [profiled.line()]
    while said[-1] != "ready":
        said.append(profiled.line())
    raw = RawFile(profiled.dump())
    assert profiled.finish() == 3
    assert "\n".join(said) + "\n" + profiled.stdout == alone.stdout
    assert profiled.stderr == alone.stderr == ""
    line = marks(program.read_text())["kept"]
    kept = [one for one in raw.live
            if any(frame.line == line and frame.file == str(program) for frame in one.stack)]
    size = sum(one.weight * one.size for one in kept)
    error = sum(one.weight * (one.weight - 1) * one.size * one.size for one in kept) ** 0.5
    least, most = map(int, said[-2].split()[1:])
    assert least - 4 * error <= size <= most + 4 * error, (least, size, most, error)
    assert not [key for key in raw.head if key.startswith("lost.")], raw.head
    return raw, kept


@pytest.mark.network
@pytest.mark.wheels
@pytest.mark.parametrize("name", PACKAGES)
def test_packages(python, run, more, name):
    same_and_found(python, run, name, dict(COMPILED, PYTHONPATH=str(more(python))))


@pytest.mark.few
@pytest.mark.parametrize("name", STANDARD)
def test_the_standard_library(python, run, name):
    same_and_found(python, run, name, COMPILED)


@pytest.mark.network
@pytest.mark.wheels
def test_the_stack_of_a_greenlet(python, run, more):
    """It begins with the greenlet's own function: what switched to it did not call it."""
    raw, kept = same_and_found(python, run, "greenlet", dict(COMPILED, PYTHONPATH=str(more(python))))
    assert {frame.name for one in kept for frame in one.stack} == {"deep"}
    assert len({len(one.stack) for one in kept}) > 20
