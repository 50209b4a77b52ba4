# SPDX-License-Identifier: MIT
"""Nonsense in a variable, a folder that cannot be written, a full disk: one clear line, and the program runs on."""
from __future__ import annotations

import os
import subprocess

import pytest
from harness import RawFile, leftovers

PROGRAM = """\
import sys
kept = [bytes(1000) for _ in range(1000)]
print("ready", flush=True)
sys.stdin.read()
print("fine", flush=True)
sys.exit(7)
"""
NONSENSE = [
    ("MPROFILERATE", "banana"), ("MPROFILERATE", "-1"), ("MPROFILERATE", "12q"), ("MPROFILERATE", "1.5.2"),
    ("MPROFILERATE", "99999999999999999999999k"), ("MPROFILERATE", "k"), ("MPROFILERATE", "1 2"),
    ("MPROFILEFRAMES", "many"), ("MPROFILEFRAMES", "-3"),
    ("MPROFILESIGNAL", "NOSUCH"), ("MPROFILESIGNAL", "KILL"), ("MPROFILESIGNAL", "STOP"), ("MPROFILESIGNAL", "999"),
    ("MPROFILESIGNAL", "RTMIN+99"), ("MPROFILESIGNAL", "-1"),
    ("MPROFILEEXIT", "perhaps"), ("MPROFILEEXIT", "2"),
    ("MPROFILEINTERVAL", "often"), ("MPROFILEINTERVAL", "5 parsecs"), ("MPROFILEINTERVAL", "-5s"),
    ("MPROFILEKEEP", "none of it"), ("MPROFILEKEEP", "-3"),
    ("MPROFILECHILDREN", "three"), ("MPROFILEARGV", "x"), ("MPROFILENATIVE", "y es"),
    ("MPROFILEMEMORY", "1k"),
    ("MPROFILEOUT", "x%q.bin"), ("MPROFILEOUT", "x%"),
]


@pytest.mark.parametrize("variable, value", NONSENSE)
@pytest.mark.few
def test_nonsense(python, run, variable, value):
    """The line names the variable, the value and what was expected; the default holds."""
    program = run(python, PROGRAM, env={variable: value})
    program.ready()
    head = RawFile(program.dump()).head  # so the signal, the name and the rest are the defaults
    assert head["rate"] == "131072" and head["frames"] == "128" and "cmdline" in head
    assert program.finish() == 7 and program.stdout == "fine\n"
    assert [path.name for path in program.cwd.glob("mprofile*")] == [program.path(1).name]
    lines = program.stderr.splitlines()
    assert len(lines) == 1, program.stderr
    assert variable in lines[0] and value in lines[0]
    said_beyond = lines[0].replace(variable, "", 1).replace(value, "", 1)
    assert len(said_beyond) > 20  # what was expected, in whatever words


@pytest.mark.few
def test_two_nonsenses(python, run):
    program = run(python, PROGRAM, env={"MPROFILERATE": "banana", "MPROFILEKEEP": "some"})
    program.ready()
    assert program.finish() == 7
    lines = program.stderr.splitlines()
    assert [line.rpartition("; using ")[2] for line in lines] == ["128k", "all"]


@pytest.mark.few
def test_strange_values_are_printed_safely(python, run):
    """A value of thousands of letters, or with a newline or escape in it, is still one line, and says why."""
    for value in ("x" * 5000, "two\nlines", "\x1b[31mred"):
        program = run(python, PROGRAM, env={"MPROFILERATE": value})
        program.ready()
        assert program.finish() == 7
        assert len(program.stderr.splitlines()) == 1 and "\x1b" not in program.stderr
        assert "MPROFILERATE" in program.stderr and len(program.stderr) < 3000
        assert value[-1] != program.stderr.rstrip("\n")[-1]  # what was expected is still behind it


@pytest.mark.few
def test_an_empty_value_is_no_value(python, run):
    empty = {variable: "" for variable, _ in NONSENSE}
    program = run(python, PROGRAM, env=empty)
    program.ready()
    RawFile(program.dump())
    assert program.finish() == 7 and program.stderr == ""


@pytest.mark.parametrize("where", ["missing/x.bin", "file/x.bin", "/proc/x.bin", "/dev/null/x.bin", "missing/"])
@pytest.mark.few
def test_folder_that_cannot_be_written(python, run, tmp_path, where):
    (tmp_path / "file").write_text("")
    program = run(python, PROGRAM, env={"MPROFILEOUT": where, "MPROFILEEXIT": "1"})
    program.ready()
    assert program.finish() == 7 and program.stdout == "fine\n"
    lines = program.stderr.splitlines()
    assert len(lines) == 1 and "mprofile" in lines[0], program.stderr
    assert where.rstrip("/").split("/")[0] in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("stderr")) == ["app.py", "file"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
@pytest.mark.few
def test_folder_without_permission(python, run, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    program = run(python, PROGRAM, env={"MPROFILEOUT": "closed", "MPROFILEEXIT": "1"})
    program.ready()
    assert program.finish() == 7
    assert len(program.stderr.splitlines()) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB, where that may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)],
                                          stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FULL = PROGRAM.replace("range(1000)]", "range(20000)]")


@pytest.mark.few
def test_full_disk(python, run, small_disk):
    """No half a file under any name; and when there is room again the next snapshot is whole."""
    (small_disk / "ballast").write_bytes(bytes(60 * 1024))
    program = run(python, FULL, env={"MPROFILERATE": "1", "MPROFILEOUT": "disk/%n.bin", "MPROFILEEXIT": "1"})
    program.ready()
    assert program.finish() == 7 and program.stdout == "fine\n"
    assert len(program.stderr.splitlines()) == 1 and "mprofile" in program.stderr
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


@pytest.mark.few
def test_file_size_limit(python, run, tmp_path):
    """The same where the limit is the process's: and SIGXFSZ does not end it."""
    program = run(python, "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n" + FULL,
                  env={"MPROFILERATE": "1", "MPROFILEEXIT": "1"})
    program.ready()
    assert program.finish() == 7 and program.stdout == "fine\n"
    assert list(tmp_path.glob("mprofile.*")) == [] and leftovers(tmp_path) == []
    assert len(program.stderr.splitlines()) == 1


@pytest.mark.few
def test_no_descriptors_left(python, run, tmp_path):
    """A program at its limit of open files: it is the program that has them, the dump may fail, nothing else does."""
    program = run(python, """\
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
os.kill(os.getpid(), 12)
os.close(held.pop())
os.close(os.open("/dev/null", os.O_RDONLY))
print("fine", flush=True)
""")
    assert program.line() == "fine"
    assert program.finish() == 0
    assert leftovers(tmp_path) == []
