# SPDX-License-Identifier: MIT
"""The exports in the tools that people use: `go tool pprof`, and speedscope's own schema.

tests/setup installs go and npm where they are missing; without them these tests fail, for then
nobody knows whether the exports can be read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from typing import Any, Dict, List

import pytest

from helpers import GOLDEN, HOUR, leaky, read, save

SPEEDSCOPE = "1.22.2"
CACHE = os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mprofile", "viewers"
)

SOURCE = """\
def leak(kept):
    kept.append(bytes(3000))


def cache():
    return {n: bytes(60000) for n in range(200)}
"""


@pytest.fixture
def profiles(tmp_path: Any) -> List[str]:
    """An old profile and a new one of a program whose source is there."""
    app = tmp_path / "ways.py"
    app.write_text(SOURCE)
    os.utime(str(app), (1, 1))
    paths = []
    for number in (1, 2):
        program = leaky(number * HOUR)
        # The same lines, in a file that pprof finds.
        name = program.string("app/ways.py")
        program.strings[name] = str(app).encode()
        for function, line in (("leak", 2), ("cache", 6)):
            text = program.string(function)
            for at, (parent, func, _) in enumerate(program.nodes):
                if program.functions[func][0] == text:
                    program.nodes[at] = (parent, func, line)
                    program.functions[func] = (text, name, line - 1)
        snapshot = save(tmp_path / ("%d.bin" % number), program.bytes())
        paths.append(str(tmp_path / ("%d.pb.gz" % number)))
        assert read(snapshot, "--pprof", paths[-1]) == (0, "", "")
    return paths


def pprof(tmp_path: Any, *arguments: str) -> str:
    """What `go tool pprof` prints. The first time go may have to build it."""
    environment = dict(
        os.environ, PPROF_TMPDIR=str(tmp_path), GOFLAGS="-mod=mod", GOTOOLCHAIN="local"
    )
    done = subprocess.run(
        ["go", "tool", "pprof", *arguments],
        env=environment,
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=600,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def top(text: str) -> Dict[str, str]:
    """Flat figures of a -top table by function."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*(-?[0-9.]+\w*)\s+-?\S+%\s+-?\S+%\s+\S+\s+-?\S+%\s+(.+)", line)
        if match:
            found[match.group(2)] = match.group(1)
    return found


def number(text: str) -> float:
    match = re.fullmatch(r"(-?[0-9.]+)(B|kB|MB|GB)?", text)
    assert match, text
    return float(match.group(1)) * {"kB": 1024, "MB": 1 << 20, "GB": 1 << 30}.get(match.group(2), 1)


def test_top_has_the_reports_figures(profiles: List[str], tmp_path: Any) -> None:
    rows = json.loads(read(str(tmp_path / "2.bin"), "--by", "function", "--json", "-")[1])["rows"]
    for index, name in (("inuse_space", "bytes"), ("inuse_objects", "blocks")):
        options = ["-top", "-unit=B", "-nodefraction=0", "-sample_index=" + index]
        said = pprof(tmp_path, *options, profiles[1])
        shown = top(said)
        for row in rows:
            assert number(shown[row["function"]]) == pytest.approx(row[name], rel=0.001, abs=1)
    assert "Type: inuse_space" in pprof(tmp_path, "-top", profiles[1])
    ever = top(pprof(tmp_path, "-top", "-sample_index=alloc_space", profiles[1]))
    assert list(ever)[0] == "busy"


def test_diff_base(profiles: List[str], tmp_path: Any) -> None:
    changes = top(pprof(tmp_path, "-top", "-unit=B", "-nodefraction=0", "-diff_base", *profiles))
    document = json.loads(
        read(str(tmp_path / "2.bin"), "--diff", str(tmp_path / "1.bin"), "--json", "-")[1]
    )
    for row in document["rows"]:
        truth = row["change"]["bytes"]
        if abs(truth) > 1:
            assert number(changes[row["function"]]) == pytest.approx(truth, rel=0.001, abs=1)
    assert "cache" not in changes or number(changes["cache"]) == 0


def test_list_and_peek(profiles: List[str], tmp_path: Any) -> None:
    listed = pprof(tmp_path, "-list", "^leak$", profiles[1])
    (line,) = [line for line in listed.splitlines() if "kept.append" in line]
    assert re.match(r"\s*3\d\d(\.\d+)?kB\s+3\d\d(\.\d+)?kB\s+2:", line), line
    peeked = pprof(tmp_path, "-peek", "^leak$", profiles[1])
    assert "<module> (main.py)" in peeked


def test_raw_and_tags(profiles: List[str], tmp_path: Any) -> None:
    raw = pprof(tmp_path, "-raw", profiles[1])
    assert (
        "inuse_space/bytes[dflt]" in raw
        and "Period: 4096" in raw
        and "PeriodType: space bytes" in raw
    )
    assert "one every 4 KiB on average" in pprof(tmp_path, "-comments", profiles[1])
    assert "obj" in pprof(tmp_path, "-tags", profiles[1])
    # What -web shows is the graph that -dot prints.
    assert "digraph" in pprof(tmp_path, "-dot", profiles[1])


def test_native_frames_are_kept_as_they_are(tmp_path: Any) -> None:
    out = str(tmp_path / "mixed.pb.gz")
    assert read(os.path.join(GOLDEN, "mixed.bin"), "--pprof", out) == (0, "", "")
    shown = top(pprof(tmp_path, "-top", "-nodefraction=0", out))
    assert number(shown["keep_one"]) == pytest.approx(127_003, rel=0.01)
    raw = pprof(tmp_path, "-raw", out)
    assert "keeper.so 00112233445566778899aabbccddeeff00112233" in raw


@pytest.fixture(scope="session")
def schema() -> Any:
    """The schema of its file format that speedscope's package has."""
    folder = os.path.join(CACHE, "speedscope-" + SPEEDSCOPE)
    path = os.path.join(folder, "package", "dist", "release", "file-format-schema.json")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        wanted = ["npm", "pack", "--silent", "speedscope@" + SPEEDSCOPE]
        done = subprocess.run(wanted, cwd=folder, stdout=subprocess.PIPE, check=True, text=True)
        with tarfile.open(os.path.join(folder, done.stdout.split()[-1])) as archive:
            member = archive.getmember("package/dist/release/file-format-schema.json")
            archive.extract(member, folder)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


@pytest.mark.parametrize("name", ["leaky", "mixed", "hostile", "sampled", "empty", "lossy"])
def test_speedscope_takes_it(schema: Any, name: str) -> None:
    import jsonschema

    status, out, _ = read(os.path.join(GOLDEN, name + ".bin"), "--speedscope", "-")
    document = json.loads(out)
    assert status == 0
    jsonschema.validate(document, schema)
    frames = len(document["shared"]["frames"])
    for profile in document["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= frame < frames for sample in profile["samples"] for frame in sample)
        assert profile["endValue"] == sum(profile["weights"])
