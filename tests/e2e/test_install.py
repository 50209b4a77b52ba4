# SPDX-License-Identifier: MIT
"""The wheel, built and installed as a user would, in the oldest interpreter and the newest; the prefix that cmake installs to; what
the portable library needs of glibc. (tests/wheel tries all interpreters.)
"""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, environment, reader

FLOOR = (2, 28)


def run(*words: str, cwd: Path, env=None) -> str:
    done = subprocess.run(words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_wheel(tmp_path):
    from conftest import PYTHONS, representative

    pythons = [python.path for python in representative(PYTHONS)]
    out = run(sys.executable, str(ROOT / "tests" / "wheel"), "--keep", str(tmp_path), *pythons, cwd=tmp_path)
    assert out.count("passed") == len(pythons)
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "zipfile", "-e", str(wheel), "out", cwd=tmp_path)
    symbols = run("objdump", "-T", "out/mprofile/libmprofile.so", cwd=tmp_path)
    needed = {tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([0-9.]+)", symbols)}
    assert needed and max(needed) <= FLOOR, sorted(needed)
    assert not re.search(r"\*UND\*.*\b_?Py[A-Z_]", symbols)


@pytest.mark.few
def test_prefix(python, tmp_path):
    run("cmake", "-S", str(ROOT), "-B", "build", cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    run("cmake", "--install", "build", "--prefix", str(tmp_path / "there"), cwd=tmp_path)
    prefix = tmp_path / "there"
    command = [python.path, str(prefix / "bin" / "mprofile")]
    env = environment(preload=False)
    assert run(*command, "lib", cwd=tmp_path, env=env).strip() == str(prefix / "lib" / "mprofile" / "mprofile" / "libmprofile.so")
    run(*command, "run", "--exit", "-c", "kept = bytes(10 ** 7)", cwd=tmp_path, env=env)
    (snapshot,) = tmp_path.glob("*.bin")
    assert "<string>:1" in run(python.path, str(prefix / "bin" / "mprofile-read"), str(snapshot), cwd=tmp_path, env=env)
    assert reader(snapshot).returncode == 0
