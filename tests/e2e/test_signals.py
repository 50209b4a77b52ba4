# SPDX-License-Identifier: MIT
"""The dump signal is shared: the program sees a disposition of its own, the kernel keeps ours.

gunicorn's worker resets USR2 to SIG_DFL, and with a handler set by plain sigaction the next USR2
killed it.
"""
from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import cc
import pytest
from harness import RawFile, wait_until

READY = "print('ready', flush=True)\nsys.stdin.readline()\nprint('alive', calls, flush=True)\n"
DISPOSITIONS = {
    "at first": "calls = signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL\n",
    "SIG_DFL": "signal.signal(signal.SIGUSR2, signal.SIG_DFL)\ncalls = None\n",
    "SIG_IGN": "signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
               "calls = signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN\n",
    "reset": "old = signal.signal(signal.SIGUSR2, lambda *_: None)\nassert old is signal.SIG_DFL\n"
             "calls = signal.signal(signal.SIGUSR2, old) is not old\n",
    "siginterrupt": "calls = signal.siginterrupt(signal.SIGUSR2, False)\n",
    "faulthandler unregistered": "import faulthandler\nfaulthandler.register(signal.SIGUSR2)\n"
                                 "calls = faulthandler.unregister(signal.SIGUSR2)\n",
}
EXPECTED = {"at first": "True", "SIG_DFL": "None", "SIG_IGN": "True", "reset": "True", "siginterrupt": "None",
            "faulthandler unregistered": "True"}


@pytest.mark.parametrize("what", DISPOSITIONS)
def test_without_a_handler(python, run, what):
    """Default and ignored: dump, and live."""
    program = run(python, "import signal, sys\n" + DISPOSITIONS[what] + READY)
    program.ready()
    for number in (1, 2):
        RawFile(program.dump(number))
    program.say("")
    assert program.line() == "alive " + EXPECTED[what]
    assert program.finish() == 0 and program.stderr == ""


def test_with_a_handler(python, run):
    """Dump, then call it, as often as the signal came."""
    program = run(python, """\
import os, signal, sys
def handler(number, frame):  # which may come in the middle of a print
    os.write(1, b"called %d %d\\n" % (number, frame is not None))
signal.signal(signal.SIGUSR2, handler)
assert signal.getsignal(signal.SIGUSR2) is handler
print("ready", flush=True)
while True:
    if not sys.stdin.readline():
        break
""")
    program.ready()
    for number in (1, 2, 3):
        program.signal()
        assert program.line() == "called 12 1"
        RawFile(program.snapshot(number))
    assert program.finish() == 0 and program.stderr == ""


def test_faulthandler(python, run):
    """faulthandler.register: its traceback is written, and the dump."""
    program = run(python, """\
import faulthandler, signal, sys
faulthandler.register(signal.SIGUSR2, file=sys.__stdout__, all_threads=False)
def waiting():
    print("ready", flush=True)
    sys.stdin.readline()
waiting()
""")
    program.ready()
    RawFile(program.dump())
    while "in waiting" not in program.line():
        pass
    program.say("")
    assert program.finish() == 0


def test_faulthandler_chain(python, run):
    """With chain=True the disposition before it, which was the default, must not end the program."""
    program = run(python, """\
import faulthandler, signal, sys
faulthandler.register(signal.SIGUSR2, file=sys.__stderr__, chain=True)
print("ready", flush=True)
sys.stdin.readline()
print("alive", flush=True)
""")
    program.ready()
    RawFile(program.dump())
    program.say("")
    assert program.line() == "alive"
    assert program.finish() == 0


@pytest.mark.few
def test_blocked_signal(python, run):
    """Blocked in every Python thread: it waits, as any signal does, and is a dump when it is let in."""
    program = run(python, """\
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
print("ready", flush=True)
sys.stdin.readline()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
print("alive", flush=True)
sys.stdin.readline()
""")
    program.ready()
    program.signal()
    program.say("")
    assert program.line() == "alive"
    RawFile(program.snapshot())
    program.say("")
    assert program.finish() == 0 and program.stderr == ""


OTHER_SIGNALS = """\
import signal, sys
print(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
      signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN,
      flush=True)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.few
def test_other_signals_are_untouched(python, run):
    """As without us: SIGINT is ignored where the tests run in the background."""
    bare = subprocess.run([python.path, "-c", OTHER_SIGNALS], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    program = run(python, OTHER_SIGNALS)
    assert program.line() == bare.stdout.splitlines()[0] and program.line() == "ready"
    program.signal(signal.SIGTERM)
    assert program.finish() == -signal.SIGTERM


#: How much of an alternate stack a signal takes, beyond what the kernel itself puts there.
ALTERNATE = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
KERNEL_FRAME
static char memory[65536] __attribute__((aligned(64)));

int taken(void)
{
    size_t of_the_kernels = of_the_kernel();
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory}, none = {.ss_flags = SS_DISABLE};
    memset(memory, 0x5A, sizeof memory);
    sigaltstack(&stack, NULL);
    raise(SIGUSR2);
    size_t left = 0;
    while (left < sizeof memory && memory[left] == 0x5A) {
        left++;
    }
    sigaltstack(&none, NULL);
    return (int)(sizeof memory - left) - (int)of_the_kernels;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("out", ["%p.%n.bin", "missing/%p.bin"])
def test_small_alternate_stacks(python, run, tmp_path, out):
    """A handler has a kilobyte where the program gave the least it could; a snapshot on the program's thread is not written there."""
    cc.library(ALTERNATE.replace("KERNEL_FRAME", cc.KERNEL_FRAME), tmp_path / "alternate.so")
    program = run(python, """\
import ctypes, os, warnings
warnings.simplefilter("ignore")
taken = ctypes.CDLL("./alternate.so").taken
print(taken(), flush=True)
pid = os.fork()
if pid == 0:  # just after a fork the thread that the signal met writes
    print(taken(), flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""", env={"MPROFILEOUT": out})
    for _ in range(2):
        assert int(program.line()) < 1024
    assert program.finish() == 0
    if out.startswith("%p"):
        assert len([RawFile(path) for path in tmp_path.glob("*.bin")]) == 2


APPLICATION = """\
KEPT = []
def application(environ, start_response):
    KEPT.append(bytes(1000000))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""


def children(pid: int) -> list:
    found = []
    for path in Path("/proc/%d/task" % pid).glob("*/children"):
        found += [int(word) for word in path.read_text().split()]
    return found


@pytest.mark.network
def test_gunicorn(python, run, tmp_path, programs):
    """A sync worker dumps on USR2 and lives: it is the same worker that answers afterwards."""
    import http.client
    import socket

    (tmp_path / "application.py").write_text(APPLICATION)
    address = socket.socket()
    address.bind(("127.0.0.1", 0))
    port = address.getsockname()[1]
    address.close()
    program = run(python, argv=["-m", "gunicorn", "--workers", "1", "--bind", "127.0.0.1:%d" % port,
                                "--worker-tmp-dir", str(tmp_path), "application:application"],
                  env={"PYTHONPATH": str(programs(python)), "MPROFILERATE": "16k"})

    def answer() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read() == b"fine"
        except OSError:
            assert program.process.poll() is None, program.stderr
            return False
        finally:
            connection.close()

    wait_until(answer, "gunicorn to answer")
    (worker,) = children(program.pid)
    for number in (1, 2):
        os.kill(worker, signal.SIGUSR2)
        raw = RawFile(program.wait_for(program.path(number, worker)))
        kept = [one for one in raw.live if one.stack and one.stack[0].file.endswith("application.py")]
        assert "application" in {one.stack[0].name for one in kept}
        assert answer()
    assert children(program.pid) == [worker]
    program.signal(signal.SIGTERM)
    assert program.finish() == 0
