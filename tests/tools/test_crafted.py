# SPDX-License-Identifier: MIT
"""Crafted files through every report and export of the command: one clear line, or a report; in bounded time and memory.

Their checksums are right, so what is wrong is met behind them. Seeds are the test's parameters. (The parts that read:
test_damage.py; files that were found to be bad once: golden/bad_*.bin.)
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import subprocess
import sys
from typing import Any, List, Tuple

import pytest

import snapshot_writer as sw
from helpers import mixed, small
from mprofile import cli
from test_damage import resealed, sized

SCRIPT = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "mprofile-read"
)

#: {} is another good snapshot.
MODES: List[List[str]] = [
    ["--limit", "0"],
    ["--by", "traceback", "--value", "alloc_bytes"],
    ["--by", "function", "--cumulative", "--value", "peak_bytes"],
    ["--by", "type"],
    ["--by", "process"],
    ["--rss"],
    ["--tree"],
    ["--leaks"],
    ["--diff", "{}"],
    ["--diff", "{}", "--json", "-"],
    ["--json", "-", "--by", "traceback"],
    ["--leaks", "--json", "-"],
    ["--pickle", "-"],
    ["--pprof", "-"],
    ["--collapsed", "-", "--value", "peak_bytes"],
    ["--speedscope", "-"],
    ["--html", "-"],
]


NO_TYPES = "records no types"


class Captured(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]


def run(arguments: List[str]) -> Tuple[int, str, str]:
    out, err = Captured(), Captured()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
    return status, out.text, err.text


def crafted(rng: random.Random) -> bytes:
    make = rng.choice((small, mixed, sized))
    program = make() if make is sized else make(rng.choice((0, 1, 4096, 2**63)))
    bad = bytearray(program.bytes())
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(16, len(bad) - 8)
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1, rng.getrandbits(64)))
        bad[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    return resealed(bad)


@pytest.mark.parametrize("seed", range(5))
def test_every_report_of_a_crafted_file(tmp_path: Any, seed: int) -> None:
    rng = random.Random(1000 + seed)
    path, good = str(tmp_path / "x.bin"), str(tmp_path / "good.bin")
    with open(good, "wb") as file:
        file.write(mixed(4096).bytes())
    read = 0
    for turn in range(15):
        data = crafted(rng)
        with open(path, "wb") as file:
            file.write(data)
        for mode in MODES:
            status, out, err = run([word.replace("{}", good) for word in mode] + [path])
            where = (seed, turn, mode)
            assert status in (0, 2) or NO_TYPES in err, (where, err)
            assert len(err.splitlines()) <= 1 and (status != 2 or path in err), (where, err)
            assert err.rstrip("\n").isprintable(), where
            if not set(mode) & {"--pickle", "--pprof"}:
                assert all(c.isprintable() or c in "\n\t" for c in out) or "--html" in mode, where
            bound = 32 << 20 if "--pickle" in mode else 400_000  # ten million blocks, a trace each
            assert len(out) < bound, where
            read += status == 0
    assert read > 0


def chain(n: int) -> bytes:
    """A stack as deep as the file is long, and a site at each of its frames."""
    program = sw.Program(0)
    program.strings.append(b"f")
    program.functions.append((1, 1, 1))
    nodes = [(i, 0, i % 50) for i in range(n)]
    sites = [[i + 1, 2, 1, 1.0, 8.0, 0.0, 0.0, 8.0, 0.0] for i in range(n)]
    live = [(4096 + 16 * i, 8, 0, i, 0, 0, 0, 65535) for i in range(n)]
    program.threads, program.rates = [(1, 1, 0)], [0]
    program.nodes, program.sites, program.live = [], [], []
    sections = [s for s in program.sections() if s[:4] not in (b"SITE", b"LIVE", b"NODE")]
    for at in range(0, n, 5000):
        sections.append(sw.table(b"NODE", "III", nodes[at : at + 5000], at + 1))
        sections.append(sw.table(b"SITE", "IBQdddddd", sites[at : at + 5000], at))
        sections.append(sw.counted(b"LIVE", "QQQIIHHH", live[at : at + 5000]))
    return sw.finish(sections)


def limited() -> None:
    """A gigabyte, and half a minute of the processor."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (30, 31))


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_deep_stacks_take_no_gigabytes(tmp_path: Any, mode: List[str]) -> None:
    """Two megabytes that would be 200 million frames: a report, or one line that says how many."""
    path = str(tmp_path / "chain.bin")
    with open(path, "wb") as file:
        file.write(chain(20_000))
    done = subprocess.run(
        [sys.executable, SCRIPT, *[word.replace("{}", path) for word in mode], path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limited,
    )
    err = done.stderr.decode()
    whole = set(mode) & {"--pickle", "--pprof", "--collapsed", "--speedscope"} or (
        "--json" in mode and "traceback" in mode
    )
    if whole:
        assert done.returncode == 1 and err.count("\n") == 1 and "200010000 frames" in err, err
    elif "type" not in mode:
        assert done.returncode == 0 and len(done.stdout) < 16 << 20, err
    else:
        assert done.returncode == 1 and NO_TYPES in err, err


def test_what_is_allowed_fits(tmp_path: Any) -> None:
    """A million frames of JSON: a piece of a stack that many rows share is one, and text is not kept in pieces."""
    path = str(tmp_path / "chain.bin")
    with open(path, "wb") as file:
        file.write(chain(1000))
    done = subprocess.run(
        [sys.executable, SCRIPT, "--json", "-", "--by", "traceback", "--limit", "0", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)),
    )
    assert done.returncode == 0 and len(done.stdout) > 30 << 20, done.stderr
