# SPDX-License-Identifier: MIT
"""Storms: a thousand forks under load, the dump signal a thousand times a second, whatever the program does meanwhile.

Nothing here is about figures: the program does what it does without us, every file under a final name is whole, and
nothing hangs. A signal that meets a program's last moment or its first may be lost; a program may not.
"""
from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import List

import cc
import pytest
from harness import RawFile, Running, wait_until


class Storm:
    """The dump signal to a process, a thousand times a second, until it is gone or the block is left."""

    def __init__(self, pid: int) -> None:
        self.pid, self.sent, self._over = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._blow)

    def _blow(self) -> None:
        while not self._over.is_set():
            try:
                os.kill(self.pid, signal.SIGUSR2)  # a zombie takes it, too; the process id is ours until it is waited for
            except ProcessLookupError:
                return
            self.sent += 1
            self._over.wait(0.001)

    def __enter__(self) -> "Storm":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._over.set()
        self._thread.join()


def whole_files(folder: Path) -> List[Path]:
    """The snapshots in a folder: all of them are whole."""
    files = sorted(folder.glob("mprofile.*.bin"))
    for path in files:
        RawFile(path)
    return files


def ends_well(program: Running) -> None:
    assert program.finish() == 0, program.stderr
    assert program.stderr == ""


FORKS = """\
import os, sys, threading, warnings, zlib
warnings.simplefilter("ignore")
print("ready", flush=True)
sys.setswitchinterval(0.0005)
DATA = os.urandom(20000)
stop = threading.Event()
COUNT = int(sys.argv[1])
turns = iter(range(COUNT))  # next() is one step
forks = []

def fork():
    pid = os.fork()
    if pid == 0:
        kept = [bytes(n) for n in range(0, 3000, 100)]
        zlib.compress(DATA[:500])
        os._exit(7)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    forks.append(pid)

def allocate():
    while not stop.is_set():
        kept = [bytes(n) for n in range(0, 3000, 20)]
        if next(turns, None) is not None:
            fork()

def compress():
    while not stop.is_set():
        zlib.compress(DATA)
        if next(turns, None) is not None:
            fork()

threads = [threading.Thread(target=work) for work in (allocate, compress) * 8]
for thread in threads:
    thread.start()
while len(forks) < COUNT and any(thread.is_alive() for thread in threads):
    stop.wait(0.01)
stop.set()
for thread in threads:
    thread.join()
print(len(forks), flush=True)
"""


@pytest.mark.few
@pytest.mark.parametrize("storm, count", [(False, 1000), (True, 250)], ids=["quiet", "signals"])
def test_a_thousand_forks_from_any_of_sixteen_threads(python, run, storm, count):
    """All sixteen allocate, half of them without the GIL, and each forks: no child hangs, none is lost."""
    program = run(python, FORKS, args=[str(count)], env={"MPROFILERATE": "1k", "MPROFILEKEEP": "1"}).ready()
    with Storm(program.pid) if storm else contextlib.nullcontext():
        assert program.line() == str(count)
    ends_well(program)
    if storm:
        assert whole_files(program.cwd)


#: What is set is what is read, and each handler has what it was set for.
DISPOSITIONS = """
#include <signal.h>
#include <string.h>

static void plain(int number) { (void)number; }
static void with_info(int number, siginfo_t *info, void *context)
{
    if (info == NULL || info->si_signo != number || context == NULL) {
        __builtin_trap();
    }
}

int change(void)
{
    static const int flags[] = {0, SA_RESTART, SA_NODEFER, SA_RESETHAND, SA_SIGINFO, SA_SIGINFO | SA_RESETHAND | SA_NODEFER};
    void (*const words[])(int) = {SIG_DFL, SIG_IGN, plain};
    int wrong = 0;
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        for (unsigned j = 0; j < 3; j++) {
            struct sigaction wish, now;
            memset(&wish, 0, sizeof wish);
            wish.sa_flags = flags[i];
            if (j == 2 && flags[i] & SA_SIGINFO) {
                wish.sa_sigaction = with_info;
            } else {
                wish.sa_handler = words[j];
                wish.sa_flags &= ~SA_SIGINFO;
            }
            wrong += sigaction(SIGUSR2, &wish, NULL) != 0 || sigaction(SIGUSR2, NULL, &now) != 0;
            /* A signal may have come in between: then SA_RESETHAND has done its work. */
            wrong += now.sa_handler != wish.sa_handler && !(flags[i] & SA_RESETHAND && now.sa_handler == SIG_DFL);
            wrong += signal(SIGUSR2, plain) == SIG_ERR || signal(SIGUSR2, SIG_DFL) != plain;
        }
    }
    return wrong;
}
"""
SET_AND_FORK = """\
import ctypes, os, signal, threading, warnings
warnings.simplefilter("ignore")
dispositions = ctypes.CDLL("./dispositions.so")
stop = False
def change():
    while not stop:
        dispositions.change()  # without the GIL
threads = [threading.Thread(target=change) for _ in range(3)]
for thread in threads:
    thread.start()
print("ready", flush=True)
for _ in range(300):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        dispositions.change()
        os._exit(7)
    assert os.waitpid(pid, 0)[1] == 7 << 8
stop = True
for thread in threads:
    thread.join()
print("done", flush=True)
"""


@pytest.mark.few
def test_forks_while_other_threads_set_the_disposition(python, run, tmp_path):
    """Whatever lock they are in the middle of, no child waits for it."""
    cc.library(DISPOSITIONS, tmp_path / "dispositions.so")
    program = run(python, SET_AND_FORK).ready()
    assert program.line() == "done"
    ends_well(program)


#: glibc runs the handlers of one fork while another thread is between those of its own.
FORKER = r"""
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* How long the longest took, in milliseconds. */
int fork_often(int count)
{
    long longest = 0;
    for (int i = 0; i < count; i++) {
        int status = -1;
        long start = now_ms();
        pid_t pid = fork();
        if (pid == 0) {
            free(malloc(5000));
            _exit(9);
        }
        longest = now_ms() - start > longest ? now_ms() - start : longest;
        while (waitpid(pid, &status, 0) < 0) {
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 9) {
            return 1000000;
        }
    }
    return (int)longest;
}
"""
FORK_AT_ONCE = """\
import ctypes, signal, threading
forker = ctypes.CDLL("./forker.so")
longest = []
threads = [threading.Thread(target=lambda: longest.append(forker.fork_often(150))) for _ in range(5)]
print("ready", flush=True)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(longest), max(longest), flush=True)
"""


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
def test_forks_at_once_without_the_gil(python, run, tmp_path, native):
    """Under signals: while one thread forks no other begins a snapshot, however many of the forks have ended."""
    cc.library(FORKER, tmp_path / "forker.so")
    program = run(python, FORK_AT_ONCE, env={"MPROFILERATE": "1k", "MPROFILEKEEP": "1", "MPROFILENATIVE": native}).ready()
    with Storm(program.pid):
        threads, longest = map(int, program.line().split())
    assert threads == 5 and longest < 9000, "a fork waited for a writer until it gave up"
    ends_well(program)
    assert whole_files(tmp_path)


#: Each way of work goes on until a line comes, and comes around at least once.
WORK = """\
import ctypes, _ctypes, os, signal, sys, threading, time, zlib
DATA = os.urandom(20000)
counts = {}
dispositions = ctypes.CDLL("./dispositions.so")

def allocate():
    kept = [bytes(n) for n in range(0, 3000, 20)]
    one = list(range(100))
    one.extend(kept)

def compress():
    zlib.compress(DATA)

def load():
    library = ctypes.CDLL("./loaded.so")  # its constructor allocates
    _ctypes.dlclose(library._handle)

def start_threads():
    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()

def dispose():
    assert dispositions.change() == 0

def watch():  # to unregister it under signals is a crash of its own (its handler chains to itself)
    import faulthandler
    faulthandler.register(signal.SIGUSR2, file=sys.__stdout__, all_threads=False)
    allocate()

def mask():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    allocate()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])

over = threading.Event()

def wait_for_the_end():
    sys.stdin.readline()
    over.set()

def go_on(work):
    while True:
        work()
        counts[work.__name__] = counts.get(work.__name__, 0) + 1
        if over.is_set():
            break

large = [bytes(10) for _ in range(100000 if sys.argv[1] == "large" else 100)]
names = sys.argv[2:]
threads = [threading.Thread(target=go_on, args=(globals()[name],)) for name in names[1:]]
threads.append(threading.Thread(target=wait_for_the_end))
print("ready", flush=True)
for thread in threads:
    thread.start()
go_on(globals()[names[0]])
for thread in threads:
    thread.join()
assert all(counts[name] for name in names), counts
print("\\ndone", flush=True)
"""
LOADED = """
#include <stdlib.h>
static void *block;
static __attribute__((constructor)) void in(void) { for (int i = 0; i < 100; i++) { free(block); block = malloc(3000 + i); } }
static __attribute__((destructor)) void out(void) { free(block); }
"""
STORMS = {
    "allocation": "small allocate allocate allocate compress compress",
    "dlopen": "small load load allocate",
    "another dump": "large allocate compress",
    "threads": "small start_threads start_threads start_threads",
    "dispositions": "small dispose allocate compress",
    "faulthandler": "small allocate watch",
    "masks": "small mask mask mask",
}


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("work", STORMS)
def test_a_thousand_signals_a_second(python, run, tmp_path, work, native):
    """Meanwhile the program allocates, loads libraries, starts threads, changes what the signal is to it."""
    cc.library(LOADED, tmp_path / "loaded.so")
    cc.library(DISPOSITIONS, tmp_path / "dispositions.so")
    program = run(python, WORK, args=STORMS[work].split(),
                  env={"MPROFILERATE": "1" if "large" in STORMS[work] else "512", "MPROFILEKEEP": "3", "MPROFILENATIVE": native})
    program.ready()
    with Storm(program.pid) as storm:
        wait_until(lambda: storm.sent >= 1000, "a thousand signals")
        program.say("end")
        while program.line() != "done":  # before it comes what faulthandler writes
            pass
    ends_well(program)
    assert whole_files(tmp_path)


#: Each ends the process, most of them in its own way; `again` begins it anew as another program.
ENDS = {
    "falls off": ("", 0), "sys.exit": ("sys.exit(3)", 3), "os._exit": ("os._exit(4)", 4), "raise": ("raise LookupError", 1),
    "exit": ("libc.exit(5)", 5), "quick_exit": ("libc.quick_exit(6)", 6), "_Exit": ("libc._Exit(7)", 7),
    "abort": ("os.abort()", -signal.SIGABRT), "killed": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "execve": ("os.execv('/bin/sh', ['sh', '-c', 'trap \"\" USR2; exit 8'])", (8, -signal.SIGUSR2)),
    "daemon threads": ("[threading.Thread(target=allocate, daemon=True).start() for _ in range(4)]", 0),
    "exit by a thread": ("threading.Thread(target=lambda: os._exit(9)).start(); threading.Event().wait()", 9),
}
ENDING = """\
import ctypes, os, signal, sys, threading
libc = ctypes.CDLL(None)
def allocate():
    while True:
        kept = [bytes(n) for n in range(0, 3000, 20)]
kept = [bytes(30) for _ in range(20000)]
print("ready", flush=True)
os.read(0, 1)
"""


@pytest.mark.few
@pytest.mark.parametrize("at_exit", ["0", "1"])
@pytest.mark.parametrize("how", ENDS)
def test_ends_under_signals(python, run, tmp_path, how, at_exit):
    """A thousand a second from before the end until after it: the same status as ever, and no half a file."""
    words, status = ENDS[how]
    for _ in range(3):
        program = run(python, ENDING + words + "\n", env={"MPROFILERATE": "1", "MPROFILEEXIT": at_exit, "MPROFILEKEEP": "1",
                                                         "MALLOC_PERTURB_": "165"})
        with Storm(program.ready().pid):
            wait_until(lambda: any(tmp_path.glob("mprofile.%d.*.bin" % program.pid)), "a snapshot")  # the newest: it keeps one
            program.say("")
            wait_until(lambda: ended(program.pid), "the end")
        found = program.finish()
        assert found == status or (isinstance(status, tuple) and found in status), program.stderr
        assert "mprofile" not in program.stderr
    whole_files(tmp_path)


def ended(pid: int) -> bool:
    """It waits for us to ask how: its process id is still its own."""
    return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.few
def test_killed_while_it_writes(python, run, tmp_path):
    """SIGKILL at any moment of a dump: a file under its final name is whole, or it is not there."""
    chance = random.Random(7)
    source = "import sys\nkept = [bytes(30) for _ in range(100000)]\nprint('ready', flush=True)\nsys.stdin.read()\n"
    took, cut = 0.0, 0
    for turn in range(17):
        final = tmp_path / ("turn%d.1.bin" % turn)
        program = run(python, source, env={"MPROFILERATE": "1", "MPROFILEOUT": "turn%d.%%n.bin" % turn})
        program.ready().signal()
        start = time.monotonic()
        if turn == 0:
            program.wait_for(final)
            took = time.monotonic() - start
        time.sleep(chance.random() * took)
        program.kill()
        cut += not final.exists()
        for path in tmp_path.glob("turn%d.*" % turn):
            RawFile(path)
    assert cut > 0
    assert len(list(tmp_path.glob(".mprofile-*.tmp"))) <= cut


#: Databases that are opened again and again, and descriptors that are closed, without the GIL, while snapshots are written on the
#: program's own thread, which shares them.
USER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* How many databases held anything but what was written to them. */
int use(const volatile int *stop)
{
    int wrong = 0; /* thousands: a descriptor was closed */
    while (!*stop) {
        for (int fd = 3; fd < 20; fd++) {
            close(fd);
        }
        int opened[3];
        for (int i = 0; i < 3; i++) {
            char name[20];
            snprintf(name, sizeof name, "database%d", i);
            opened[i] = open(name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
            wrong += opened[i] < 0 || write(opened[i], "mine", 4) != 4 ? 1000000 : 0; /* it was closed */
        }
        usleep(200); /* so long they are open, for somebody else to close */
        for (int i = 0; i < 3; i++) {
            struct stat now;
            if (fstat(opened[i], &now) != 0) {
                wrong += 1000; /* likewise */
            } else {
                wrong += now.st_size != 4; /* it was written to */
            }
        }
    }
    return wrong;
}
"""
DATABASE = """\
import ctypes, os, signal, threading, time
kept = [bytes(20) for _ in range(60000)]
user = ctypes.CDLL("./user.so")
stop, wrong = ctypes.c_int(0), []
thread = threading.Thread(target=lambda: wrong.append(user.use(ctypes.byref(stop))))
thread.start()
print("ready", flush=True)
end = time.monotonic() + 3
while time.monotonic() < end:
    os.kill(os.getpid(), signal.SIGUSR2)
    time.sleep(0.001)
stop.value = 1
thread.join()
print("done", wrong, flush=True)
"""


@pytest.mark.few
def test_descriptors_of_the_program_while_its_own_thread_writes(python, run, tmp_path, no_thread):
    """Not one byte of ours is in what it opens under the number that we had."""
    cc.library(USER, tmp_path / "user.so")
    program = run(argv=[no_thread, python.path, "-c", DATABASE], env={"MPROFILERATE": "1", "MPROFILEKEEP": "2"}).ready()
    wrong = int(program.line().split("[")[1].rstrip("]"))
    assert wrong % 1000 == 0, "%d were written to" % wrong
    assert wrong <= 1000, "more than the one that may meet the moment between our last look and our close"
    assert program.finish() == 0
    assert all(line.startswith("mprofile: cannot write a snapshot: ") for line in program.stderr.splitlines()), program.stderr
    whole_files(tmp_path)


#: Refuses a thread that does not share its descriptors: ours alone.
NO_THREAD = r"""
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, CLONE_THREAD | CLONE_FILES),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CLONE_THREAD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) {
        return 97;
    }
    execv(argv[1], argv + 1);
    return 98;
}
"""


@pytest.fixture(scope="session")
def no_thread(tmp_path_factory) -> Path:
    return cc.program(NO_THREAD, tmp_path_factory.mktemp("no_thread") / "no_thread")


#: From C, without the GIL, while other threads allocate and the signal comes: each way gives the program that was started.
STARTERS = r"""
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *const words[] = {"sh", "-c", "exit 9", NULL};

static int wait_for(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 9 ? 0 : 1;
}

int by_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve("/bin/sh", words, environ);
        _exit(96);
    }
    return wait_for(pid);
}

int by_vfork_that_fails(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve("/nowhere/sh", words, environ);
        _exit(9);
    }
    return wait_for(pid);
}

int by_spawn(void)
{
    pid_t pid;
    return posix_spawn(&pid, "/bin/sh", NULL, NULL, words, environ) != 0 || wait_for(pid);
}

int by_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        free(malloc(5000));
        execve("/bin/sh", words, environ);
        _exit(96);
    }
    return wait_for(pid);
}

int by_system(void) { return WEXITSTATUS(system("exit 9")) == 9 ? 0 : 1; }

int by_popen(void)
{
    char text[10] = "";
    FILE *pipe = popen("echo hello", "r");
    int failed = pipe == NULL || fgets(text, sizeof text, pipe) == NULL || strcmp(text, "hello\n") != 0;
    return pclose(pipe) != 0 || failed;
}
"""
STARTING = """\
import ctypes, os, signal, subprocess, sys, threading, time, warnings, zlib
warnings.simplefilter("ignore")
starters = ctypes.CDLL("./starters.so")
# Between a start and Python's first line the signal has its default action: started programs ignore it.
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
DATA = os.urandom(20000)
end = time.monotonic() + 2.5
def going():  # long enough, and often enough where the machine is slow
    return time.monotonic() < end or len(turns) < 60 and not failed
def allocate():
    while going():
        kept = [bytes(n) for n in range(0, 3000, 20)]
        zlib.compress(DATA[:2000])
def start():
    while going():
        for name in ("by_vfork", "by_vfork_that_fails", "by_spawn", "by_fork", "by_system", "by_popen"):
            assert starters[name]() == 0, name
            turns.append(name)
        assert subprocess.call(["sh", "-c", "exit 9"]) == 9
        assert subprocess.call(["sh", "-c", "exit 9"], close_fds=False) == 9
turns, failed = [], []
threading.excepthook = lambda args: failed.append(args.exc_value)
threads = [threading.Thread(target=work) for work in (allocate, allocate, allocate, start, start)]
print("ready", flush=True)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done", failed, len(turns) >= 60, flush=True)
"""


@pytest.mark.few
def test_every_way_to_start_a_program(python, run, tmp_path):
    """vfork shares our memory with the child, posix_spawn and system pass fork's handlers by: all of it under signals."""
    cc.library(STARTERS, tmp_path / "starters.so")
    program = run(python, STARTING, env={"MPROFILERATE": "1k", "MPROFILEKEEP": "2"}).ready()
    with Storm(program.pid):
        assert program.line() == "done [] True"
    ends_well(program)
    assert whole_files(tmp_path)
