# SPDX-License-Identifier: MIT
"""An interpreter that is not what its version says: its own table of offsets, from 3.13 on, differs from ours.

It is refused aloud, in one line, and stacks are left out; sizes are counted, and the program does what it does. The
interpreters are copies whose table was changed, which they themselves do not use.
"""
from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Dict

import pytest
from harness import Python, RawFile, reader

COOKIE = b"xdebugpy"
APP = """\
import sys
kept = [bytes(1000) for _ in range(3000)]
print("ready", flush=True)
sys.stdin.read()
sys.exit(7)
"""


def cookie(data: bytearray, at: int) -> None:
    data[at:at + 8] = b"xdebuggy"


def version(data: bytearray, at: int) -> None:
    data[at + 10] += 1  # the minor version


def free_threading(data: bytearray, at: int) -> None:
    data[at + 16] ^= 1


def offsets(data: bytearray, at: int) -> None:
    for place in range(at + 24, at + 24 + 400, 8):
        value, = struct.unpack_from("<Q", data, place)
        struct.pack_into("<Q", data, place, value + 8)


def changed_copy(python: Python, folder: Path, change) -> Dict[str, str]:
    """Copies what holds the table, the program or its libpython; the environment to run the copy."""
    original = python.facts["libpython"] or python.path
    data = bytearray(Path(original).read_bytes())
    places = [at for at in range(0, len(data), 8) if data[at:at + 8] == COOKIE]
    assert len(places) == 1, places
    change(data, places[0])
    copy = folder / os.path.basename(original)
    copy.write_bytes(data)
    copy.chmod(0o755)
    if python.facts["libpython"]:
        shutil.copy(python.path, str(folder / "python"))
    else:
        (folder / "python").symlink_to(copy)
    return {"LD_LIBRARY_PATH": str(folder), "PYTHONHOME": python.facts["prefix"]}


@pytest.mark.parametrize("change, why", [(cookie, "does not publish its offsets"), (version, "are of another version"),
                                         (free_threading, "of another build"), (offsets, "has another offset for ")])
def test_stacks_are_left_out(python, run, tmp_path, change, why):
    if python.minor < (3, 13):
        pytest.skip("publishes no offsets")
    env = changed_copy(python, tmp_path, change)
    program = run(argv=[tmp_path / "python", "-c", APP], env=dict(env, MPROFILERATE="4k")).ready()
    path = program.dump()
    assert program.finish() == 7
    line, = program.stderr.splitlines()
    assert line.startswith("mprofile: Python %s" % python.version) and line.endswith("; samples have no stack")
    assert why in line
    raw = RawFile(path)
    assert why in raw.head["python.stacks"] and raw.head["python"].startswith(python.version)
    size = sum(one.weight * one.size for one in raw.live if python.bytes_size(1000) == one.size)
    assert size == pytest.approx(3000 * python.bytes_size(1000), rel=0.3)
    assert {frame.name for one in raw.live for frame in one.stack} <= {"[stacks off]", "[no Python thread]"}
    assert "[stacks off]" in reader(path).stdout
