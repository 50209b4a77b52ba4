# SPDX-License-Identifier: MIT
"""`mprofile dump` signals a process only where it is sure, and finds the file wherever it goes."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import LIBRARY, RawFile, environment, package, wait_until

KEEP = "import os, sys\nkept = [bytes(1000) for _ in range(3000)]\nprint('ready', flush=True)\nsys.stdin.read()\n"


def dump(python, pid, *words, cwd):
    return subprocess.run([python.path, "-m", "mprofile", "dump", str(pid), *words], cwd=cwd,
                          env=environment({"PYTHONPATH": str(package())}, preload=False), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)


def path_of(done):
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return Path(done.stdout.rstrip("\n"))


def marks(pid):
    return re.findall(r"/memfd:(mprofile\..*) \(deleted\)$", Path("/proc/%d/maps" % pid).read_text(), re.M)


def test_the_mark(python, run, tmp_path):
    """One, of no memory, inherited by fork; none where there is no signal, or no Python."""
    program = run(python, "import os, sys\nif os.fork() == 0:\n print('child %d' % os.getpid(), flush=True); sys.stdin.read()\n"
                          " os._exit(0)\nos.wait()\n")
    child = int(program.line().split()[1])
    expected = ["mprofile.12.%s/mprofile.%%p.%%n.bin" % tmp_path]
    assert marks(program.pid) == marks(child) == expected
    smaps = Path("/proc/%d/smaps" % program.pid).read_text()
    assert re.search(r"memfd:mprofile.*\nSize:.*\n(.*\n){0,3}Rss: +0 kB", smaps)
    path = path_of(dump(python, child, cwd="/"))
    assert path == program.path(1, child) and RawFile(path).head["pid"] == str(child)
    silent = run(python, KEEP, env={"MPROFILESIGNAL": "none"})
    silent.ready()
    cat = run(argv=["cat"])
    assert marks(silent.pid) == marks(cat.pid) == []


@pytest.mark.few
def test_another_programs_handler_is_not_called(python, run, tmp_path):
    """It has the library, but no Python that is profiled; it catches the signal for a purpose of its own."""
    source = "import os, signal, sys\nsignal.signal(signal.SIGUSR2, lambda *_: os._exit(9))\n" + KEEP
    program = run(python, "import ctypes\nctypes.CDLL(%r)\n" % str(LIBRARY) + source, preload=False)
    program.ready()
    assert "libmprofile.so" in Path("/proc/%d/maps" % program.pid).read_text()
    done = dump(python, program.pid, cwd=tmp_path)
    assert done.returncode == 1 and "does not listen to signal %d" % signal.SIGUSR2 in done.stderr
    assert program.finish() == 0


@pytest.mark.few
def test_a_folder_that_is_called_as_the_library(python, run, tmp_path):
    """What is mapped from it does not make a process profiled."""
    folder = tmp_path / "libmprofile.so.d"
    folder.mkdir()
    (folder / "data").write_bytes(bytes(8192))
    program = run(python, "import mmap\nfile = open(%r, 'r+b')\nview = mmap.mmap(file.fileno(), 0)\n" % str(folder / "data") + KEEP,
                  preload=False)
    program.ready()
    done = dump(python, program.pid, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "mprofile: process %d is not profiled\n" % program.pid)
    assert program.finish() == 0


@pytest.mark.few
@pytest.mark.parametrize("out, name", [
    (None, "mprofile.%d.1.bin"), ("snap.bin", "snap.bin"), ("a b%%%p é", "a b%%%d é"), ("[x]*?%n", "[x]*?1"), ("o/", "o/mprofile.%d.1.bin"),
    ("%n.d/x", None), ("l" * 200 + "/%p", "l" * 200 + "/%d")])
def test_the_file_is_found(python, run, tmp_path, out, name):
    """By what the library says, not by where the process is by now, nor by an environment that was set later."""
    start = tmp_path / "100% [start]"
    for folder in ("o", "l" * 200, "1.d", "2.d"):
        (start / folder).mkdir(parents=True)
    env = {} if out is None else {"MPROFILEOUT": out}
    source = "import os\nos.chdir('/')\nos.environ['MPROFILEOUT'] = '/nowhere'\n" + KEEP
    program = run(python, source, env=env, cwd=start)
    program.ready()
    if out is not None and "l" in out:  # the mark has no room for it
        assert marks(program.pid) == ["mprofile.12"]
        program.kill()
        program = run(python, KEEP, env=env, cwd=start)
        program.ready()
    path = path_of(dump(python, program.pid, cwd=tmp_path))
    if name is not None:
        assert path == start / (name.replace("%%", "%") if "%d" not in name else name % program.pid)
    assert RawFile(path).head["pid"] == str(program.pid)
    second = path_of(dump(python, program.pid, cwd=tmp_path))
    assert second != path and RawFile(second).head["number"] == "2"


@pytest.mark.few
def test_others_in_the_folder_are_not_the_answer(python, run, tmp_path):
    """Foreign files, and another process's snapshots under the same pattern."""
    pattern = {"MPROFILEOUT": "%n.bin"}
    one, other = run(python, KEEP, env=pattern), run(python, KEEP, env=pattern, name="other.py")
    one.ready(), other.ready()
    (tmp_path / "1.bin").write_bytes(b"\x89MPROF\r\n")
    (tmp_path / "2.bin").mkdir()
    other.signal()
    wait_until((tmp_path / "3.bin").exists, "the other's")
    path = path_of(dump(python, one.pid, cwd=tmp_path))
    assert path == tmp_path / "4.bin" and RawFile(path).head["pid"] == str(one.pid)


@pytest.mark.few
def test_a_thread_is_no_process(python, run, tmp_path):
    program = run(python, "import threading, sys\nthreading.Thread(target=sys.stdin.read).start()\n" + KEEP.replace("sys.stdin.read()", ""))
    program.ready()
    (thread,) = [int(tid) for tid in os.listdir("/proc/%d/task" % program.pid) if int(tid) != program.pid]
    done = dump(python, thread, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "mprofile: %d is a thread of process %d\n" % (thread, program.pid))


@pytest.mark.few
def test_no_answer(python, run, tmp_path):
    """It cannot write; it ends instead of answering."""
    program = run(python, KEEP, env={"MPROFILEOUT": "missing/"})
    program.ready()
    done = dump(python, program.pid, "--wait", "0.3", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "%s/missing" % tmp_path in done.stderr and "standard error" in done.stderr
    assert program.finish() == 0
    ending = run(python, "import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\nimport threading\n"
                 + KEEP + "os._exit(0)\n", env={"MPROFILEOUT": "missing/"})
    ending.ready()
    asked = subprocess.Popen([python.path, "-m", "mprofile", "dump", str(ending.pid)], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                             env=environment({"PYTHONPATH": str(package())}, preload=False))
    pending = "SigPnd|ShdPnd"
    wait_until(lambda: any(int(bits, 16) for bits in re.findall(r"(?:%s):\t(\w+)" % pending,
                                                                Path("/proc/%d/status" % ending.pid).read_text())), "the signal")
    assert ending.finish() == 0
    assert asked.communicate(timeout=60)[1] == "mprofile: process %d ended before it had written a snapshot\n" % ending.pid


@pytest.mark.few
def test_why_there_is_no_answer(python, run, tmp_path):
    """It is stopped, or blocks the signal: that is said, and it writes later."""
    stopped = run(python, KEEP)
    stopped.ready()
    os.kill(stopped.pid, signal.SIGSTOP)
    wait_until(lambda: "\nState:\tT" in Path("/proc/%d/status" % stopped.pid).read_text(), "the stop")
    done = dump(python, stopped.pid, "--wait=0.3", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("; it is stopped, and writes when it goes on: kill -CONT %d\n" % stopped.pid)
    os.kill(stopped.pid, signal.SIGCONT)
    wait_until(stopped.path().exists, "the snapshot")
    assert stopped.finish() == 0
    blocking = run(python, "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n" + KEEP)
    blocking.ready()
    done = dump(python, blocking.pid, "--wait=0.3", cwd=tmp_path)
    assert "; all its threads block signal 12, and it writes when one does not" in done.stderr
    assert blocking.finish() == 0


@pytest.mark.few
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be somebody else")
def test_another_users_process(python, run, tmp_path):
    program = run(python, KEEP)
    program.ready()
    tmp_path.chmod(0o755)
    code = ("import os, sys; sys.path.insert(0, %r); import mprofile.commands, mprofile._dumping\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(mprofile.commands.main(['dump', '%d']))"
            % (str(package()), program.pid))
    done = subprocess.run([sys.executable, "-c", code], env=environment(preload=False), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == (
        "mprofile: process %d cannot be looked into: expected one of yours, or to be root\n" % program.pid), done.stderr
    assert program.finish() == 0
