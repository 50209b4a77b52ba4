# SPDX-License-Identifier: MIT
"""`mprofile run`, `mprofile dump`, `mprofile lib`: what they pass on, what they refuse, and that no process is signalled that
does not listen.
"""
from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest
from harness import LIBRARY, Running, by_line, environment, marks, package, reader, wait_until, write

KEEP = "import sys\nkept = [bytes(1000) for _ in range(3000)]  # @kept\nprint('ready', flush=True)\nsys.stdin.read()\n"
TOOLS = {"PYTHONPATH": str(package())}


def mprofile(python: Any, *words: Any, cwd: Path, env: Dict[str, str] = TOOLS) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([python.path, "-m", "mprofile", *map(str, words)], cwd=cwd, env=environment(env, preload=False),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)


def refused(done: "subprocess.CompletedProcess[str]", *words: str, status: int = 1) -> None:
    """One line that says what was wrong."""
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("mprofile: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_lib(python, tmp_path):
    done = mprofile(python, "lib", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.path.samefile(done.stdout.strip(), LIBRARY)


@pytest.mark.few
@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["dump", "--help"], ["lib", "--help"]])
def test_help_teaches(python, tmp_path, words):
    done = mprofile(python, *words, cwd=tmp_path)
    assert done.returncode == 0 and "usage:" in done.stdout and "mprofile " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 105


def test_run_a_script_and_dump_it(python, run, tmp_path):
    """All of it as a person would: a script under run, dump by its process id, the reader."""
    write(tmp_path / "app.py", KEEP)
    program = run(python, argv=["-m", "mprofile", "run", "--rate", "4k", "app.py", "x", "-y"], env=TOOLS, preload=False)
    program.ready()
    done = mprofile(python, "dump", program.pid, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    path = Path(done.stdout.strip())
    assert path == tmp_path / ("mprofile.%d.1.bin" % program.pid)
    assert abs(by_line(path)["app.py", marks(KEEP)["kept"]].size - 3000 * 1033) < 0.3 * 3000 * 1033
    assert "app.py x -y" in reader(path).stdout
    again = mprofile(python, "dump", program.pid, cwd=tmp_path)
    assert again.stdout.strip().endswith(".2.bin")
    assert program.finish() == 0


SHOW = "import os, sys; print(sys.argv[1:], sorted(k for k in os.environ if k.startswith(('MPROFILE', 'LD_', 'PYTHONP'))))"


def test_run_passes_on(python, tmp_path):
    """Arguments as they are, the environment but for what was asked, the exit status, the signal that ended it."""
    env = {**TOOLS, "LD_PRELOAD": ""}
    done = mprofile(python, "run", "--rate", "off", "--exit", "--out=s.%p.bin", "-c", SHOW, "--", "a b", "", "-x", cwd=tmp_path, env=env)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == "%r %r\n" % (["--", "a b", "", "-x"], ["LD_PRELOAD", "MPROFILEEXIT", "MPROFILEOUT", "MPROFILERATE",
                                                                 "PYTHONPATH"])
    assert len(list(tmp_path.glob("s.*.bin"))) == 1
    assert mprofile(python, "run", "sh", "-c", "exit 7", cwd=tmp_path).returncode == 7
    assert mprofile(python, "run", "--", "sh", "-c", "kill -TERM $$", cwd=tmp_path).returncode == -signal.SIGTERM
    first = "/nowhere/other.so"
    done = mprofile(python, "run", "sh", "-c", "echo $LD_PRELOAD", cwd=tmp_path, env={**TOOLS, "LD_PRELOAD": first})
    assert done.stdout.strip().endswith("libmprofile.so:" + first)


@pytest.mark.few
def test_run_modules_and_shells_that_start_python_later(python, tmp_path):
    write(tmp_path / "mod.py", "import sys\nkept = bytes(10 ** 6)\nprint(sys.argv[0].endswith('mod.py'), sys.argv[1:])\n")
    done = mprofile(python, "run", "--exit", "-m", "mod", "a", cwd=tmp_path)
    assert done.stdout == "True ['a']\n" and len(list(tmp_path.glob("*.bin"))) == 1
    script = "cd / && cd - >/dev/null; for n in 1 2; do %s -c 'kept = bytes(10 ** 6)'; done" % python.path
    mprofile(python, "run", "--exit", "bash", "-c", script, cwd=tmp_path)
    assert len(list(tmp_path.glob("*.bin"))) == 3


@pytest.mark.few
@pytest.mark.parametrize("words, status, said", [
    (["run"], 1, ["expected a program"]),
    (["run", "--rate", "fast", "x.py"], 1, ["--rate fast", "bytes from 0 to 1024g"]),
    (["run", "--rate", "2048g", "x.py"], 1, ["--rate 2048g"]),
    (["run", "--frames", "0", "x.py"], 1, ["--frames 0", "1 to 65535"]),
    (["run", "--out", "%q", "x.py"], 1, ["--out %q"]),
    (["run", "--interval", "0s", "x.py"], 1, ["--interval 0s"]),
    (["run", "--keep"], 1, ["--keep", "expected a value"]),
    (["run", "--nonsense", "x.py"], 1, ["--nonsense", "see mprofile run --help"]),
    (["run", "--rates=16k", "x.py"], 1, ["--rates", "did you mean --rate?"]),
    (["run", "--exit=1", "x.py"], 1, ["--exit takes no value"]),
    (["run", "-u", "x.py"], 1, ["unknown option -u", "mprofile run python3 -u"]),
    (["run", "-m"], 1, ["-m", "a module"]),
    (["run", "-x"], 1, ["-x"]),
    (["run", "no-such-program"], 127, ["no-such-program", "No such file"]),
    (["run", "./folder"], 126, ["./folder", "Permission denied"]),
    (["dump"], 1, ["expected the number of a process"]),
    (["dump", "x"], 1, ["not x"]),
    (["dump", "99999999"], 1, ["no process 99999999"]),
    (["dump", "1", "--wait", "soon"], 1, ["--wait soon"]),
    (["lib", "x"], 1, ["no arguments"]),
    (["fly"], 1, ["'fly'", "expected run, dump or lib"]),
    ([], 1, ["no command"]),
])
def test_what_makes_no_sense(python, tmp_path, words, status, said):
    (tmp_path / "folder").mkdir()
    refused(mprofile(python, *words, cwd=tmp_path), *said, status=status)


@pytest.mark.few
def test_a_process_that_does_not_listen_lives_on(python, run, tmp_path):
    """Not profiled; profiled without a signal; the library in a program without Python; ended."""
    plain = run(python, KEEP, preload=False)
    plain.ready()
    refused(mprofile(python, "dump", plain.pid, cwd=tmp_path), "is not profiled")
    silent = run(python, KEEP, env={"MPROFILESIGNAL": "none"})
    silent.ready()
    refused(mprofile(python, "dump", silent.pid, cwd=tmp_path), "MPROFILESIGNAL is none")
    shell = run(argv=["cat"])
    refused(mprofile(python, "dump", shell.pid, cwd=tmp_path), "does not listen to signal %d" % signal.SIGUSR2)
    for program in (plain, silent, shell):
        assert program.finish() == 0
    zombie = subprocess.Popen(["true"])
    wait_until(lambda: "Z" in Path("/proc/%d/stat" % zombie.pid).read_text(), "a zombie")
    refused(mprofile(python, "dump", zombie.pid, cwd=tmp_path), "has ended")
    zombie.wait()


@pytest.mark.few
@pytest.mark.parametrize("env", [{"MPROFILEOUT": "sub/"}, {"MPROFILEOUT": "a.%t.bin"}, {"MPROFILEOUT": "a.bin"},
                                 {"MPROFILEOUT": "%h-%p.%n"}, {"MPROFILESIGNAL": "SIGUSR1"},
                                 {"MPROFILESIGNAL": "RTMIN+3"}], ids=str)
def test_dump_finds_the_file(python, run, tmp_path, env):
    """Wherever it goes, from another folder, after the program has gone to another folder, twice."""
    (tmp_path / "sub").mkdir()
    away = tmp_path / "away"
    away.mkdir()
    program = run(python, "import os\nos.chdir('/')\n" + KEEP, env={"PWD": str(tmp_path), **env})
    program.ready()
    first, second = (Path(mprofile(python, "dump", program.pid, cwd=away).stdout.strip()) for _ in range(2))
    assert first != second and first.is_file() and second.is_file()
    for path in (first, second):
        assert any(place[0] == "app.py" for place in by_line(path))


@pytest.mark.few
def test_a_program_that_imports_it_listens_too(python, run, tmp_path):
    source = "import mprofile\nmprofile.start(sample_rate=4096)\n" + KEEP
    program = run(python, source, env=TOOLS, preload=False)
    program.ready()
    done = mprofile(python, "dump", program.pid, cwd=tmp_path)
    assert done.returncode == 0 and ("app.py", marks(source)["kept"]) in by_line(Path(done.stdout.strip()))
