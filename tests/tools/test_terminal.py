# SPDX-License-Identifier: MIT
"""The terminal: width, colour and bars where it has them, and none where it has not."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any, Dict, List, Tuple

import pytest

import snapshot_writer as sw
from helpers import GOLDEN, LOAD, MAIN, READER, read, save

SAMPLED = os.path.join(GOLDEN, "sampled.bin")
COLOUR = re.compile(r"\033\[[0-9;]*m")


def on_a_terminal(
    arguments: List[str], columns: int, stderr_too: bool = False, **more: str
) -> Tuple[str, str]:
    """What a reader prints to a terminal: standard output, or standard error, and the other."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    drop = ("COLUMNS", "LINES", "NO_COLOR", "PYTHONIOENCODING")
    environment: Dict[str, str] = {k: v for k, v in os.environ.items() if k not in drop}
    environment.update({"PYTHONIOENCODING": "utf-8", "TERM": "xterm", **more})
    streams: Any = {"stdout": slave, "stderr": subprocess.PIPE}
    if stderr_too:
        streams = {"stdout": subprocess.PIPE, "stderr": slave}
    process = subprocess.Popen([sys.executable, READER, *arguments], env=environment, **streams)
    os.close(slave)
    chunks = []
    try:
        while True:
            chunks.append(os.read(master, 65536))
    except OSError:  # the terminal's other end is closed
        pass
    os.close(master)
    other = process.communicate()[0 if stderr_too else 1]
    assert process.returncode == 0, other
    return b"".join(chunks).decode(), other.decode()


@pytest.mark.parametrize("columns", [20, 40, 60, 100, 200])
def test_the_width_of_the_terminal(columns: int) -> None:
    lines = COLOUR.sub("", on_a_terminal([SAMPLED], columns)[0]).splitlines()
    assert max(map(len, lines)) <= max(columns, 30)
    assert any("samples  line" in line for line in lines) == (columns >= 100)


@pytest.mark.parametrize("mode", [[], ["--tree"], ["--leaks"], ["--diff", SAMPLED], ["--rss"]])
def test_colour_is_put_around_and_changes_nothing(mode: List[str]) -> None:
    coloured = on_a_terminal([SAMPLED, *mode], 80)[0].replace("\r\n", "\n")
    assert COLOUR.search(coloured)
    plain = on_a_terminal([SAMPLED, *mode], 80, NO_COLOR="1")[0].replace("\r\n", "\n")
    assert "\033" not in plain and plain == read(SAMPLED, *mode)[1]
    without = [line.rstrip() for line in COLOUR.sub("", coloured).split("\n")]
    if mode in (["--rss"], ["--leaks"], ["--diff", SAMPLED]):
        assert "\n".join(without) == plain
    else:
        assert any("\u2588" in line for line in without)


@pytest.mark.parametrize("mode", [["--leaks"], ["--side-by-side"]])
def test_types_beside_lines_move_nothing(mode: List[str], tmp_path: Any) -> None:
    program = sw.Program(4096)
    for number in range(30):
        program.block(3000, [LOAD, MAIN], type_name="dict" if number % 3 else "list")
    path = save(tmp_path / "a.bin", program.bytes())
    coloured = on_a_terminal([path, *mode], 80)[0].replace("\r\n", "\n")
    plain = read(path, *mode)[1]
    assert "dict 67%, list 33%" in plain and COLOUR.search(coloured)
    assert [one.rstrip() for one in COLOUR.sub("", coloured).split("\n")] == plain.split("\n")


def test_no_colour_on_a_dumb_terminal_or_in_a_pipe() -> None:
    assert "\033" not in on_a_terminal([SAMPLED], 80, TERM="dumb")[0]
    assert "\033" not in read(SAMPLED, TERM="xterm")[1]


def test_a_bar_is_as_long_as_its_share() -> None:
    from mprofile._paint import bar, levels
    from mprofile._text import ASCII_GLYPHS, Glyphs

    assert bar(1.0, 4, Glyphs()) == "\u2588" * 4 and bar(0.0, 4, Glyphs()) == " " * 4
    assert bar(0.5, 4, ASCII_GLYPHS) == "##  " and len(bar(0.33, 4, Glyphs())) == 4
    assert levels([0.0, 1.0, 8.0], Glyphs()) == " \u2582\u2588"
    assert levels([0.0, 1.0, 8.0], ASCII_GLYPHS) == " .#" and levels([], Glyphs()) == ""


def test_progress_is_on_a_terminal_only_and_for_large_files(tmp_path: Any) -> None:
    program = sw.Program(1)
    program.block(100, [LOAD, MAIN])
    sections = program.sections()
    sections += [sw.section(b"LATR", bytes(1 << 20)) for _ in range(20)]
    large = save(tmp_path / "large.bin", sw.finish(sections))
    said, _ = on_a_terminal([large], 80, stderr_too=True)
    assert "reading large.bin  50%" in said and said.endswith("\r" + " " * 60 + "\r")
    assert read(large)[2] == ""
    assert on_a_terminal([SAMPLED], 80, stderr_too=True)[0] == ""
