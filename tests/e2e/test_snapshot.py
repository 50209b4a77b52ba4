# SPDX-License-Identifier: MIT
"""A snapshot when it is asked for: from a hung interpreter too, whole, private, and never over another file."""
from __future__ import annotations

import os
import re
import signal
import socket
import stat
import time
from pathlib import Path

import pytest
from harness import RawFile, by_line, leftovers, marks, reader, wait_until

KEEP = """\
import os, sys
kept = [bytes(1000) for _ in range(4000)]  # @kept
"""
WAIT = KEEP + "print('ready', flush=True)\nsys.stdin.read()\n"
TRUE_SIZE = 4000 * 1033

HUNG = {
    "loop": "while True:\n    pass\n",
    "regex": "import re\nre.match('(a+)+$', 'a' * 64 + 'b')\n",
    "deadlock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n",
    "join": "import threading\ngate = threading.Event()\nthread = threading.Thread(target=gate.wait)\n"
            "thread.start()\nthread.join()\n",
    "sleep": "import time\ntime.sleep(1000)\n",
    "read": "os.read(os.pipe()[0], 1)\n",
    "allocating": "while True:\n    [bytes(2000) for _ in range(100)]\n",
    "big int": "10 ** 10 ** 9\n",
}


def is_near(size: float) -> bool:
    return abs(size - TRUE_SIZE) < 0.25 * TRUE_SIZE  # at rate 4k its standard error is 2.9 %


@pytest.mark.parametrize("how", HUNG)
def test_of_a_hung_program(python, run, how):
    """Three times: the file comes without any help of the interpreter, and the program hangs on."""
    source = KEEP + "print('ready', flush=True)\n" + HUNG[how]
    program = run(python, source, env={"MPROFILERATE": "4k"})
    program.ready()
    for number in (1, 2, 3):
        lines = by_line(program.dump(number))
        assert is_near(lines["app.py", marks(source)["kept"]].size)
    assert program.process.poll() is None and program.stderr == ""


def test_numbers_mode_and_temporaries(python, run, tmp_path):
    old = os.umask(0)
    try:
        program = run(python, WAIT, env={"MPROFILERATE": "4k"})
    finally:
        os.umask(old)
    program.ready()
    for number in (1, 2, 3):
        path = program.dump(number)
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o600 and stat.S_ISREG(status.st_mode)
        assert RawFile(path).head["number"] == str(number)
    assert program.finish() == 0 and program.stderr == ""
    assert leftovers(tmp_path) == []
    assert len(list(tmp_path.glob("mprofile.*"))) == 3


def test_reader_and_second_reading_agree(python, run):
    program = run(python, WAIT, env={"MPROFILERATE": "4k"})
    program.ready()
    path = program.dump()
    assert is_near(by_line(path)["app.py", marks(WAIT)["kept"]].size)
    table = reader(path).stdout
    assert "app.py" in table and "±" in table
    assert len(reader(path, "--limit", "3").stdout) < len(table)


@pytest.mark.few
def test_many_signals(python, run):
    """A storm of signals, while threads allocate: every file that is there is whole, the program lives."""
    program = run(python, """\
import sys, threading
stop = False
def work():
    while not stop:
        kept = [bytes(i) for i in range(0, 2000, 10)]
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.read()
stop = True
for thread in threads:
    thread.join()
print("done", flush=True)
""", env={"MPROFILERATE": "4k"})
    program.ready()
    for _ in range(500):
        program.signal()
    program.snapshot(1)
    assert program.finish() == 0 and program.stdout == "done\n"
    files = sorted(program.cwd.glob("mprofile.*.bin"))
    for path in files:
        RawFile(path)
    assert leftovers(program.cwd) == []


def test_existing_files_stay(python, run, tmp_path):
    """A name that is taken is passed over."""
    program = run(python, """\
import os, sys
for number in (1, 3):
    with open("mprofile.%d.%d.bin" % (os.getpid(), number), "w") as file:
        file.write("mine")
print("ready", flush=True)
sys.stdin.read()
""")
    program.ready()
    RawFile(program.dump(2))
    RawFile(program.dump(4))
    assert program.path(1).read_text() == "mine" and program.path(3).read_text() == "mine"


@pytest.mark.few
def test_fixed_name_is_not_replaced(python, run, tmp_path):
    (tmp_path / "fixed.bin").write_text("mine")
    program = run(python, WAIT, env={"MPROFILEOUT": "fixed.bin"})
    program.ready().signal()
    assert program.finish() == 0
    assert (tmp_path / "fixed.bin").read_text() == "mine"
    others = [path for path in tmp_path.glob("*fixed*") if path.name != "fixed.bin"]
    for path in others:
        RawFile(path)
    # Under the next free name, or not at all and aloud.
    assert len(others) == 1 or (len(program.stderr.splitlines()) == 1 and "fixed.bin" in program.stderr)
    again = run(python, WAIT, env={"MPROFILEOUT": "other.bin"})
    again.ready().signal()
    RawFile(again.wait_for(tmp_path / "other.bin"))
    first = (tmp_path / "other.bin").read_bytes()
    again.signal()
    assert again.finish() == 0
    assert (tmp_path / "other.bin").read_bytes() == first


@pytest.mark.few
def test_symbolic_link_is_not_followed(python, run, tmp_path):
    target = tmp_path / "target"
    (tmp_path / "link.bin").symlink_to(target)
    program = run(python, WAIT, env={"MPROFILEOUT": "link.bin"})
    program.ready().signal()
    assert program.finish() == 0
    assert not target.exists()


@pytest.mark.parametrize("template, pattern", [
    ("heap.%p.%n", r"heap\.{pid}\.1"),
    ("%n-%p.bin", r"1-{pid}\.bin"),
    ("t%t.bin", r"t(\d+)\.bin"),
    ("on-%h.bin", r"on-{host}\.bin"),
    ("100%%.bin", r"100%\.bin"),
    ("sub", r"sub/mprofile\.{pid}\.1\.bin"),
    ("sub/", r"sub/mprofile\.{pid}\.1\.bin"),
    ("sub/x%p.bin", r"sub/x{pid}\.bin"),
    ("{folder}/sub/x.bin", r"sub/x\.bin"),
    ("caf\u00e9.bin", "caf\u00e9\\.bin"),
])
@pytest.mark.few
def test_name_templates(python, run, tmp_path, template, pattern):
    """Relative to the working folder at start, wherever the program goes."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "elsewhere").mkdir()
    before = int(time.time())
    program = run(python, "import os\nos.chdir('elsewhere')\n" + WAIT,
                  env={"MPROFILEOUT": template.replace("{folder}", str(tmp_path))})
    program.ready().signal()
    expected = re.compile(pattern.format(pid=program.pid, host=re.escape(socket.gethostname())))

    def found() -> list:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return [path for path in files if expected.fullmatch(str(path.relative_to(tmp_path)))]

    (path,) = wait_until(found, pattern)
    RawFile(path)
    if "%t" in template:
        assert before <= int(expected.fullmatch(path.name).group(1)) <= time.time()
    assert program.finish() == 0 and program.stderr == ""
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("value, number", [("USR1", signal.SIGUSR1), ("SIGUSR1", signal.SIGUSR1), ("10", 10),
                                           ("RTMIN+3", signal.SIGRTMIN + 3), ("HUP", signal.SIGHUP)])
@pytest.mark.few
def test_other_signals(python, run, value, number):
    program = run(python, WAIT, env={"MPROFILESIGNAL": value})
    program.ready().signal(number)
    RawFile(program.snapshot())
    program.signal(signal.SIGUSR2)  # which is the program's own now: the default action ends it
    assert program.finish() == -signal.SIGUSR2


@pytest.mark.few
def test_no_signal(python, run):
    program = run(python, WAIT, env={"MPROFILESIGNAL": "none"})
    program.ready().signal()
    assert program.finish() == -signal.SIGUSR2
    assert list(program.cwd.glob("mprofile.*")) == []


ENDS = {"falls off": ("", 0), "sys.exit": ("sys.exit(3)\n", 3), "exception": ("raise LookupError('mine')\n", 1),
        "os._exit": ("os._exit(5)\n", 5), "SystemExit text": ("raise SystemExit\n", 0)}


@pytest.mark.parametrize("how", ENDS)
def test_exit(python, run, how):
    """One more snapshot when the process ends, with what was live at its end."""
    code, status = ENDS[how]
    program = run(python, KEEP + code, env={"MPROFILEEXIT": "1", "MPROFILERATE": "4k"})
    assert program.finish() == status
    raw = RawFile(program.path(1))
    assert raw.head["trigger"] == "exit"
    assert is_near(by_line(program.path(1))["app.py", 2].size)
    assert not program.path(2).exists() and leftovers(program.cwd) == []
    assert "mprofile" not in program.stderr


@pytest.mark.few
def test_exit_is_off_at_first(python, run):
    program = run(python, KEEP)
    assert program.finish() == 0 and program.stderr == ""
    assert list(program.cwd.glob("mprofile.*")) == []


@pytest.mark.few
def test_end_during_a_dump(python, run):
    """A process that ends right after the signal still leaves a whole file (_exit: nothing is freed meanwhile)."""
    program = run(python, KEEP + "import signal\nkept2 = [bytes(100) for _ in range(200000)]\n"
                                 "os.kill(os.getpid(), signal.SIGUSR2)\nos._exit(4)\n", env={"MPROFILERATE": "1"})
    assert program.finish() == 4
    assert len(RawFile(program.path(1)).live) > 200000
    assert leftovers(program.cwd) == []


@pytest.mark.few
def test_interval(python, run):
    """Taken with the first sample after it is due: no timer, no thread."""
    program = run(python, """\
import os, sys, select
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    kept = [bytes(1000) for _ in range(1000)]
""", env={"MPROFILEINTERVAL": "1s"})
    program.ready()
    for number in (1, 2):
        raw = RawFile(program.snapshot(number))
        assert raw.head["trigger"] == "interval"
    assert len(os.listdir("/proc/%d/task" % program.pid)) <= 2  # itself, and perhaps a writer at work
    program.say("enough")
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_keep(python, run):
    program = run(python, WAIT, env={"MPROFILEKEEP": "2"})
    program.ready()
    for number in (1, 2, 3, 4):
        program.dump(number)
    left = [program.path(3), program.path(4)]
    wait_until(lambda: sorted(program.cwd.glob("mprofile.*")) == left, "the oldest to go")
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_command_line(python, run):
    program = run(python, WAIT, args=["--flag", "a secret word", "\u00fc%\n"])
    program.ready()
    raw = RawFile(program.dump())
    arguments = raw.head["cmdline"].split("\0")
    assert [word for word in arguments if word] == program.command


@pytest.mark.few
def test_command_line_stays_out(python, run):
    program = run(python, WAIT, args=["xyzzysecretxyzzy"], env={"MPROFILEARGV": "0"})
    program.ready()
    path = program.dump()
    assert "cmdline" not in RawFile(path).head
    assert b"xyzzysecretxyzzy" not in path.read_bytes()


CHILD = """\
import subprocess, sys, os, signal
child = '''
import os, sys
print("libmprofile" in open("/proc/self/maps").read(), flush=True)
sys.stdin.read()
'''
process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(process.stdout.readline().decode().strip(), process.pid, flush=True)
sys.stdin.readline()
process.stdin.close()
print(process.wait(), flush=True)
"""


@pytest.mark.parametrize("value", ["0", "1", None])
@pytest.mark.few
def test_children(python, run, value):
    """Programs started by exec are profiled, or not; their standard streams are untouched either way."""
    program = run(python, CHILD, env={} if value is None else {"MPROFILECHILDREN": value})
    loaded, pid = program.line().split()
    if value == "0":
        assert loaded == "False"
    else:
        assert loaded == "True"
        os.kill(int(pid), signal.SIGUSR2)
        raw = RawFile(program.wait_for(program.path(1, int(pid))))
        assert raw.head["pid"] == pid and raw.head["ppid"] == str(program.pid)
    program.say("")
    assert program.line() == "0"
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_forked_children_are_profiled_all_the_same(python, run):
    program = run(python, KEEP + """\
pid = os.fork()
if pid == 0:
    sys.stdin.read()
    os._exit(0)
print(pid, flush=True)
os.waitpid(pid, 0)
""", env={"MPROFILECHILDREN": "0"})
    pid = int(program.line())
    os.kill(pid, signal.SIGUSR2)
    RawFile(program.wait_for(program.path(1, pid)))
    assert program.finish() == 0


def test_head(python, run):
    """What a reader needs to explain the file without the process."""
    before = time.time()
    program = run(python, WAIT, args=["one", "two"], env={"MPROFILERATE": "32k", "MPROFILEFRAMES": "50"})
    program.ready()
    path = program.dump()
    head = RawFile(path).head
    assert head["pid"] == str(program.pid) and head["ppid"] == str(os.getpid())
    assert head["python"] == python.version or head["python"].startswith(python.version)
    assert head["python.abi"] == ("t" if python.free_threaded else "")
    assert head["python.stacks"] == "1"
    assert head["rate"] == "32768" and head["frames"] == "50"
    assert head["trigger"] == "signal" and head["number"] == "1"
    assert before - 2 <= float(head["start"]) <= float(head["time"]) <= time.time() + 2
    assert 0 <= int(head["clock_ms"]) <= 1000 * (time.time() - before) + 2000
    assert head["cwd"] == os.path.realpath(str(program.cwd)) or head["cwd"] == str(program.cwd)
    assert head["host"] == socket.gethostname()
    assert head["machine"] == os.uname().machine
    assert os.path.realpath(head["exe"]) == os.path.realpath(python.path)
    assert re.fullmatch("[0-9a-f]{16}", head["uid"])
    assert int(head["samples"]) > 0 and int(head["own_bytes"]) > 0
    assert not [key for key in head if key.startswith("lost.")]
    assert float(head["peak_bytes"]) >= 0.75 * TRUE_SIZE
    status = RawFile(path).proc["/proc/self/status"]
    assert re.search(r"^VmRSS:\s+\d+ kB$", status, re.M)
    report = reader(path).stdout
    assert str(program.pid) in report and python.version in report


@pytest.mark.few
def test_idle_dumps_are_the_same(python, run):
    """Looking does not change what is seen: two dumps of an idle program hold the same samples."""
    program = run(python, WAIT, env={"MPROFILERATE": "1"})
    program.ready()
    first, second = RawFile(program.dump(1)), RawFile(program.dump(2))
    key = [(one.address, one.size, one.time, one.stack) for one in first.live]
    assert sorted(key) == sorted((one.address, one.size, one.time, one.stack) for one in second.live)


@pytest.mark.few
def test_two_hundred_dumps_take_no_more_than_two(python, run):
    """Of the same heap each file is as large as the second, but for digits in its head; nothing of ours grows."""
    program = run(python, WAIT, env={"MPROFILERATE": "1", "MPROFILEOUT": "%n.bin"})
    program.ready()
    sizes, own = [], []
    for number in range(1, 201):
        program.signal()
        path = program.wait_for(program.cwd / ("%d.bin" % number))
        sizes.append(path.stat().st_size)
        if number % 50 == 2:
            own.append(RawFile(path).head["own_bytes"])
    assert max(sizes[1:]) - min(sizes[1:]) <= 64, (min(sizes[1:]), max(sizes[1:]))
    assert len(own) == 4 and len(set(own)) == 1
    assert program.finish() == 0 and program.stderr == ""


BLOCKED = """\
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
reading, writing = os.pipe()
buffer = ctypes.create_string_buffer(1)
print("ready", flush=True)
got = libc.read(0, buffer, 1)
print(got, ctypes.get_errno() if got < 0 else 0, flush=True)
"""


def blocked(pid: int) -> bool:
    """Whether its main thread sleeps in the kernel."""
    fields = Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    return fields[0] == "S"


@pytest.mark.few
def test_blocking_calls_are_not_interrupted(python, run):
    """A plain read(2) that the signal meets goes on: no EINTR reaches the program."""
    program = run(python, BLOCKED)
    program.ready()
    for number in (1, 2, 3):
        wait_until(lambda: blocked(program.pid), "the read to block")
        program.dump(number)
    program.say("x")
    assert program.line() == "1 0"
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_sleep_is_as_long_as_it_was(python, run):
    program = run(python, """\
import time
print("ready", flush=True)
start = time.monotonic()
time.sleep(1.0)
print(time.monotonic() - start >= 1.0, flush=True)
""")
    program.ready()
    program.signal()
    assert program.line() == "True"
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_closed_descriptors(python, run):
    """A program that closes all it did not open and opens a file meanwhile never finds us in it."""
    program = run(python, """\
import os, sys
kept = [bytes(100) for _ in range(100000)]
print("ready", flush=True)
for _ in range(200):
    os.closerange(3, 64)
    with open("database", "wb") as file:
        os.kill(os.getpid(), 12)
        file.write(b"mine")
    with open("database", "rb") as file:
        assert file.read() == b"mine"
print("done", flush=True)
""", env={"MPROFILERATE": "1", "MPROFILEKEEP": "3"})
    program.ready()
    assert program.line() == "done"
    assert program.finish() == 0 and program.stderr == ""
    for path in program.cwd.glob("mprofile.*.bin"):
        RawFile(path)


@pytest.mark.few
def test_cut_and_foreign_files(python, run, tmp_path):
    """One clear line with the reason, and status 2."""
    program = run(python, WAIT)
    program.ready()
    whole = program.dump().read_bytes()
    for name, data in [("cut", whole[:len(whole) // 2]), ("empty", b""), ("foreign", b"\x7fELF" + bytes(500)),
                       ("changed", whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])]:
        (tmp_path / name).write_bytes(data)
        done = reader(tmp_path / name, check=False)
        assert done.returncode == 2, name
        assert len(done.stderr.splitlines()) == 1 and name in done.stderr
    assert reader(tmp_path / "not there", check=False).returncode == 2
    assert reader("--no-such-option", check=False).returncode == 1


@pytest.mark.few
def test_keep_removes_only_what_we_wrote(python, run, tmp_path):
    """The name of a snapshot that was moved away may be another file's by now."""
    program = run(python, "print('ready', flush=True); input()\n", env={"MPROFILEKEEP": "1"})
    program.ready()
    first = program.dump()
    first.rename(tmp_path / "saved.bin")
    first.write_text("somebody else's")
    program.dump()
    assert first.read_text() == "somebody else's"
    program.say("")
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.few
def test_no_file_beside_a_device(python, run):
    program = run(python, "print('ready', flush=True); input()\n", env={"MPROFILEOUT": "/dev/null"})
    program.ready()
    program.say("")
    assert program.finish() == 0
    assert program.stderr.count("\n") == 1 and "MPROFILEOUT=/dev/null" in program.stderr
