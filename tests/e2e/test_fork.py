# SPDX-License-Identifier: MIT
"""fork: nobody is warned, each process has files of its own, and what was inherited counts once.

From 3.12 on CPython counts the process's threads at os.fork() and warns when there is more than one;
3.15 makes it an exception under -W error. A writer that is at work at that moment would be one.
"""
from __future__ import annotations

import json
import os
import signal
import time

import pytest
from harness import RawFile, by_line, marks, reader, wait_until

STORM = """\
import os, signal, sys
kept = [bytes(1000) for _ in range(20000)]
print("ready", flush=True)
for turn in range(40):
    os.kill(os.getpid(), signal.SIGUSR2)
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    _, status = os.waitpid(pid, 0)
    assert os.WEXITSTATUS(status) == 7, status
print("done", flush=True)
"""


@pytest.mark.parametrize("filters", ["always", "error"])
@pytest.mark.parametrize("rate", ["1", "128k"])
def test_fork_during_a_dump_warns_of_nothing(python, run, filters, rate):
    program = run(python, STORM, options=["-W", filters], env={"MPROFILERATE": rate, "MPROFILEKEEP": "2"})
    program.ready()
    assert program.line() == "done"
    assert program.finish() == 0 and program.stderr == ""
    files = list(program.cwd.glob("mprofile.*.bin"))
    assert files
    for path in files:
        RawFile(path)


FORKED = """\
import os, sys
def inherit():
    return [bytes(1000) for _ in range(3000)]  # @inherited
def own():
    return [bytes(1000) for _ in range(3000)]  # @own
kept = inherit()
pid = os.fork()
if pid == 0:
    more = own()
    print("child", os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
print("parent", os.getpid(), flush=True)
os.waitpid(pid, 0)
sys.stdin.read()
"""


def test_a_child_has_its_own_file(python, run):
    program = run(python, FORKED, options=["-W", "always"], env={"MPROFILERATE": "1"})
    said = dict(program.line().split() for _ in range(2))
    child = int(said["child"])
    assert int(said["parent"]) == program.pid
    os.kill(child, signal.SIGUSR2)
    child_path = program.wait_for(program.path(1, child))
    parent_path = program.dump()
    program.say("")
    assert program.finish() == 0 and program.stderr == ""

    parent, forked = RawFile(parent_path), RawFile(child_path)
    assert forked.head["pid"] == str(child) and forked.head["ppid"] == str(program.pid)
    assert parent.head["uid"] != forked.head["uid"]
    assert [row[1] for row in forked.lineage] == [program.pid, child]
    assert len(parent.lineage) == 1 and forked.lineage[0][0] == parent.lineage[0][0]
    at = marks(FORKED)

    def count(raw: RawFile, mark: str, inherited: bool) -> int:
        return len([one for one in raw.live if one.stack and one.stack[0].line == at[mark] and one.size == size
                    and one.stack[0].file.endswith("app.py")
                    and (one.generation < len(raw.lineage) - 1) == inherited])

    size = max(one.size for one in parent.live if one.stack and one.stack[0].line == at["inherited"]
               and one.size < 1100)
    assert count(parent, "inherited", False) == 3000 and count(parent, "own", False) == 0
    assert count(forked, "inherited", True) == 3000 and count(forked, "inherited", False) == 0
    assert count(forked, "own", False) == 3000 and count(forked, "own", True) == 0


def test_a_signal_that_meets_a_child_being_born(python, run):
    """Sent before the child has run at all: it is pending when fork returns there, and is a dump like any other."""
    program = run(python, """\
import os, signal, sys
kept = [bytes(1000) for _ in range(4000)]
for _ in range(10):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.kill(pid, signal.SIGUSR2)
    print(pid, flush=True)
    sys.stdin.readline()
    os.write(writing, b"x")
    assert os.waitpid(pid, 0)[1] == 0
""", env={"MPROFILERATE": "4k"})
    for _ in range(10):
        child = int(program.line())
        RawFile(program.wait_for(program.path(1, child)))
        program.say("")
    assert program.finish() == 0 and program.stderr == ""


def test_merged_once(python, run, tmp_path):
    """Both files together: what the child inherited is counted once."""
    program = run(python, FORKED, env={"MPROFILERATE": "1"})
    said = dict(program.line().split() for _ in range(2))
    child = int(said["child"])
    os.kill(child, signal.SIGUSR2)
    child_path = program.wait_for(program.path(1, child))
    parent_path = program.dump()
    program.kill()
    alone = by_line(parent_path)
    for order in ([parent_path, child_path], [child_path, parent_path]):
        rows = json_lines(reader("--limit", "0", "--json", "-", *order).stdout)
        for mark in ("inherited", "own"):
            line = marks(FORKED)[mark]
            true = alone["app.py", marks(FORKED)["inherited"]].size
            # Each line made 3,000 blocks, one of them in the parent only, one in the child only.
            assert rows["app.py", line] == pytest.approx(true, rel=0.01), mark


def json_lines(text: str) -> dict:
    """(base name, line) to live bytes, from the reader's --json."""
    found: dict = {}
    for row in json.loads(text)["rows"]:
        key = os.path.basename(row["file"]), row["line"]
        found[key] = max(found.get(key, 0), row["bytes"])
    return found


@pytest.mark.few
def test_children_draw_different_samples(python, run):
    """Each child has seeds of its own: 8 children that do the same do not sample the same blocks."""
    program = run(python, """\
import os, sys
go = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        kept = [bytes(200 + n % 800) for n in range(20000)]
        print("child", os.getpid(), flush=True)
        os.read(go[0], 1)
        os._exit(0)
print("parent", os.getpid(), flush=True)
sys.stdin.readline()
os.write(go[1], b"x" * 8)
for _ in range(8):
    os.wait()
""", env={"MPROFILERATE": "64k"})
    pids = [int(pid) for who, pid in (program.line().split() for _ in range(9)) if who == "child"]
    drawn = []
    for pid in pids:
        os.kill(pid, signal.SIGUSR2)
        raw = RawFile(program.wait_for(program.path(1, pid)))
        own = [one for one in raw.live if one.generation == len(raw.lineage) - 1 and one.stack
               and one.stack[0].file.endswith("app.py")]
        assert len(own) > 20
        drawn.append(tuple(one.size for one in own))
    assert len(set(drawn)) == 8
    program.say("")
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(python, run, method):
    program = run(python, """\
import multiprocessing, os, sys
def work(pipe):
    kept = [bytes(1000) for _ in range(3000)]  # @work
    pipe.send(os.getpid())
    pipe.recv()
def main():
    context = multiprocessing.get_context(sys.argv[1])
    pairs = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,))
        process.start()
        pairs.append((process, ours))
    print(*[pipe.recv() for _, pipe in pairs], flush=True)
    sys.stdin.readline()
    for process, pipe in pairs:
        pipe.send(None)
        process.join()
    print(*[process.exitcode for process, _ in pairs], flush=True)
if __name__ == "__main__":
    main()
""", args=[method], env={"MPROFILERATE": "4k"}, options=["-W", "always"])
    pids = [int(word) for word in program.line().split()]
    for pid in pids:
        os.kill(pid, signal.SIGUSR2)
        lines = by_line(program.wait_for(program.path(1, pid)))
        assert lines["app.py", 3].size == pytest.approx(3000 * 1033, rel=0.3)
    program.say("")
    assert program.line() == "0 0"
    assert program.finish() == 0 and program.stderr == ""


def test_daemon(python, run, tmp_path):
    """Forks twice, starts a session, moves to another folder, closes everything: still listens."""
    note = tmp_path / "daemon.pid"
    program = run(python, """\
import os, signal, sys
kept = [bytes(1000) for _ in range(4000)]  # @kept
if os.fork():
    os.wait()
    sys.exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
note = os.open(sys.argv[1] + ".part", os.O_WRONLY | os.O_CREAT, 0o600)
os.write(note, str(os.getpid()).encode())
os.rename(sys.argv[1] + ".part", sys.argv[1])
os.closerange(0, 64)
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 1); os.dup2(null, 2)
while True:
    signal.pause()
""", args=[str(tmp_path / "daemon.pid")], env={"MPROFILERATE": "4k"})
    assert program.finish() == 0 and program.stderr == ""
    pid = int(wait_until(lambda: note.exists() and note.read_text(), "the daemon's note"))
    try:
        path = program.path(1, pid)
        for number in (1, 2):
            os.kill(pid, signal.SIGUSR2)
            path = program.path(number, pid)
            wait_until(path.exists, str(path))
        assert by_line(path)["app.py", 2].size == pytest.approx(4000 * 1033, rel=0.3)
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.few
def test_programs_that_are_not_python(python, run):
    """A shell and git, started by a profiled program, do what they do without us."""
    program = run(python, """\
import subprocess, sys
def outcome(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    print(done.returncode, done.stdout, done.stderr, flush=True)
outcome("sh", "-c", "echo out; echo err >&2; exit 3")
outcome("sh", "-c", "kill -USR2 $$; echo not reached")
outcome("git", "--version")
outcome("cat", input=b"through")
""")
    assert program.line() == "3 b'out\\n' b'err\\n'"
    assert program.line() == "-12 b'' b''"
    version = program.line()
    assert version.startswith("0 b'git version") and version.endswith("b''")
    assert program.line() == "0 b'through' b''"
    assert program.finish() == 0 and program.stderr == ""
    assert list(program.cwd.glob("mprofile.*")) == []


@pytest.mark.few
def test_fork_from_a_thread_under_load(python, run):
    """Other threads allocate, with the GIL and without it, while one forks: no child hangs."""
    program = run(python, """\
import os, sys, threading, warnings, zlib
warnings.simplefilter("ignore")
stop = False
def allocate():
    while not stop:
        kept = [bytes(n) for n in range(0, 3000, 20)]
def compress():
    data = os.urandom(40000)
    while not stop:
        zlib.compress(data)
threads = [threading.Thread(target=one) for one in (allocate, allocate, compress, compress)]
for thread in threads:
    thread.start()
def fork():
    for _ in range(150):
        pid = os.fork()
        if pid == 0:
            kept = [bytes(1000) for _ in range(100)]
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
forker = threading.Thread(target=fork)
forker.start()
forker.join()
stop = True
for thread in threads:
    thread.join()
print("done", flush=True)
""", env={"MPROFILERATE": "1k"})
    assert program.line() == "done"
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_generations_of_forks(python, run):
    """A child of a child of a child: the lineage names them all, each block its own."""
    program = run(python, """\
import os, sys
kept = []
def one(depth):
    kept.append(bytes(100000 + 1000 * depth))
    if depth == 3:
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        one(depth + 1)
    os.waitpid(pid, 0)
    os._exit(0)
one(0)
""", env={"MPROFILERATE": "1"})
    last = int(program.line())
    os.kill(last, signal.SIGUSR2)
    raw = RawFile(program.wait_for(program.path(1, last)))
    assert len(raw.lineage) == 4 and raw.lineage[0][1] == program.pid and raw.lineage[3][1] == last
    for depth in range(4):
        (sample,) = [one for one in raw.live if 100000 + depth * 1000 < one.size < 100100 + depth * 1000]
        assert sample.generation == depth
    program.say("")
    assert program.finish() == 0


@pytest.mark.few
def test_forks_under_signals_that_do_not_end(python, run):
    """A dump on a thread of the program's is one: signals that keep coming until it is done are not waited for."""
    program = run(python, """\
import os, threading, time
kept = [bytes(100) for _ in range(100000)]
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("ready", flush=True)
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print("done", flush=True)
os._exit(0)
""", options=["-W", "ignore"], env={"MPROFILERATE": "1", "MPROFILEKEEP": "1"})
    program.ready()
    while program.process.poll() is None:
        os.kill(program.pid, signal.SIGUSR2)
        time.sleep(0.002)
    assert program.line() == "done"
    assert program.finish() == 0 and program.stderr == ""
