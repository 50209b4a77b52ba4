# SPDX-License-Identifier: MIT
"""What the system refuses: each mapping of our own, each system call of ours, a container's filter, no /proc, no home.

The program runs on as if alone, with at most a few lines on standard error; no half a file gets a final name; what was
lost is counted and shown.
"""
from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List

import cc
import pytest
from harness import LIBRARY, RawFile, Running, environment, reader, wait_until

#: Preloaded after us, so its constructor runs before ours. Refuses what the environment says, to calls that come out of
#: our library's own code only: the program's are left alone.
FAULT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static uintptr_t base, code, code_end;

static int find(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    if (strstr(info->dlpi_name, name) == NULL) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X) {
            base = info->dlpi_addr;
            code = base + part->p_vaddr;
            code_end = code + part->p_memsz;
        }
    }
    return 1;
}

/* The next `successes` mappings of ours succeed, all later ones fail; negative: none fails. */
void refuse_mappings(long successes)
{
    ((void (*)(long))(base + FAIL_AFTER))(successes);
}

static void refuse_call(uint32_t number, uint32_t error)
{
    enum { LOW = offsetof(struct seccomp_data, instruction_pointer), HIGH = LOW + 4 };
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, HIGH),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(code >> 32), 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)code, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)code_end, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    if (code >> 32 != code_end >> 32 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) {
        _exit(97);
    }
}

static __attribute__((constructor)) void come(void)
{
    const char *mappings = getenv("FAULT_MAPPINGS"), *call = getenv("FAULT_CALL"), *error = getenv("FAULT_ERRNO");
    if (dl_iterate_phdr(find, "libmprofile") == 0) {
        _exit(98);
    }
    if (mappings != NULL) {
        refuse_mappings(atol(mappings));
    }
    if (call != NULL) {
        refuse_call((uint32_t)atol(call), (uint32_t)atol(error));
    }
}
"""


@pytest.fixture(scope="session")
def fault(tmp_path_factory) -> Path:
    listing = subprocess.run(["nm", str(LIBRARY)], stdout=subprocess.PIPE, check=True, text=True).stdout
    (where,) = re.findall(r"^([0-9a-f]+) t mp_sys_map_fail_after$", listing, re.M)
    return cc.library(FAULT, tmp_path_factory.mktemp("fault") / "fault.so", "-DFAIL_AFTER=0x" + where)


def with_fault(fault: Path, **refused: object) -> Dict[str, str]:
    """A faulty system, and all that writes: the signal, the end, a child, the types of objects, stacks of threads."""
    return {"LD_PRELOAD": "%s:%s" % (LIBRARY, fault), "MPROFILERATE": "1", "MPROFILEEXIT": "1", "MPROFILEKEEP": "2",
            **{"FAULT_" + key.upper(): str(value) for key, value in refused.items()}}


PROGRAM = """\
import ctypes, os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
class Kind:
    pass
signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a dump all the same; and where we stand aside nothing
kept = []
def work(mine):
    for n in range(3000):
        mine.append([Kind(), bytes(n), {n: str(n)}])
        if n % 2:
            mine.pop()
    kept.extend(mine)
threads = [threading.Thread(target=work, args=([],)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for turn in range(40):  # a hundred functions and files of their own
    exec(compile("def f(): return bytes(100)\\nkept.append(f())", "file%d.py" % turn, "exec"))
os.kill(os.getpid(), signal.SIGUSR2)
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGUSR2)
    more = [bytes(n) for n in range(1000)]
    os._exit(7)
assert os.waitpid(pid, 0)[1] == 7 << 8
total = sum(len(one[1]) if isinstance(one, list) else len(one) for one in kept)
print(total, len(kept), flush=True)
sys.exit(5)
"""


def runs_as_alone(program: Running, folder: Path, lines: int) -> List[RawFile]:
    """Its output, its status; what snapshots there are are whole; not many lines, all of them ours."""
    assert program.finish() == 5, program.stderr
    assert program.stdout == "6749500 4540\n"
    said = program.stderr.splitlines()
    assert len(said) <= lines and all(line.startswith("mprofile: ") for line in said), program.stderr
    return [RawFile(path) for path in sorted(folder.glob("mprofile.*.bin"))]


@pytest.mark.few
def test_each_mapping_refused(python, run, tmp_path, fault):
    """The first n of our own mappings are given, none after: for each n until all that were wanted are there."""
    counted, n, refused = 0, 0, True
    while refused:
        folder = tmp_path / str(n)
        folder.mkdir()
        program = run(python, PROGRAM, env=with_fault(fault, mappings=n), cwd=folder)
        files = runs_as_alone(program, folder, 2)
        refused = not files or any(key.startswith("lost.") for raw in files for key in raw.head)
        if files and refused:
            counted += 1
            shown = reader(*sorted(folder.glob("mprofile.*.bin"))).stdout
            assert "LOST" in shown, shown
        n += 1 if n < 12 else 5
        assert n < 400
    assert n > 5 and counted > 3, (n, counted)


@pytest.mark.few
def test_memory_that_comes_back(python, run, tmp_path, fault):
    """Refused for a while, under threads: what was lost meanwhile is counted, and what comes after is recorded again."""
    program = run(python, """\
import ctypes, sys, threading
refuse = ctypes.CDLL(sys.argv[1]).refuse_mappings
def work(kept):
    for n in range(20000):
        kept.append(bytes(100 + n % 7))
before, during, after = [], [], []
work(before)
refuse(0)
threads = [threading.Thread(target=work, args=(during,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
refuse(-1)
work(after)  # @after
print("ready", flush=True)
sys.stdin.read()
""", args=[fault], env={**with_fault(fault), "MPROFILEEXIT": "0"})
    path = program.ready().dump()
    raw = RawFile(path)
    assert int(raw.head["lost.memory"]) > 10000
    kept = [one for one in raw.live if len(one.stack) == 2 and one.stack[0].line == 5 and 100 < one.size < 200]
    assert len(kept) >= 20000, len(kept)
    assert re.search(r"LOST +\d+ samples were dropped: the profiler got no memory", reader(path).stdout)
    assert program.finish() == 0 and program.stderr == ""


#: Every system call that core and preload make themselves, but for those without which there is no process, and mmap and munmap, which
#: the program's own calls pass through.
CALLS = {
    "openat": (257, (errno.EACCES, errno.EMFILE, errno.EROFS, errno.ENOSPC)), "write": (1, (errno.ENOSPC, errno.EIO, errno.EDQUOT)),
    "read": (0, (errno.EIO,)), "close": (3, (errno.EIO,)), "fstat": (5, (errno.EIO,)), "newfstatat": (262, (errno.EACCES,)),
    "renameat2": (316, (errno.ENOSYS, errno.EROFS, errno.EPERM)), "unlinkat": (263, (errno.EROFS,)), "fchmod": (91, (errno.EPERM,)),
    "getdents64": (217, (errno.EIO,)), "uname": (63, (errno.EPERM,)), "clone": (56, (errno.EAGAIN, errno.EPERM)),
    "close_range": (436, (errno.ENOSYS, errno.EPERM)), "prctl": (157, (errno.EPERM,)), "process_vm_readv": (310, (errno.EPERM, errno.ENOSYS)),
    "pread64": (17, (errno.EIO, errno.EPERM)), "sigaltstack": (131, (errno.EPERM,)), "rt_sigprocmask": (14, (errno.EPERM,)), "get_robust_list": (274, (errno.EPERM,)), "getrandom": (318, (errno.ENOSYS,)),
    "readlinkat": (267, (errno.EACCES,)), "getcwd": (79, (errno.ENOENT,)), "prlimit64": (302, (errno.EPERM,)),
    "memfd_create": (319, (errno.EPERM,)), "kill": (62, (errno.EPERM,)), "tgkill": (234, (errno.EPERM,)), "pipe2": (293, (errno.EMFILE,)),
    "futex": (202, (errno.EINTR,)), "clock_gettime": (228, (errno.EINVAL,)), "rt_sigtimedwait": (128, (errno.EINTR,)),
    "fcntl": (72, (errno.EINVAL, errno.EMFILE)), "getppid": (110, (errno.EPERM,)), "gettid": (186, (errno.EPERM,)),
}
#: Without these there is no file at all; each that could not be written is one line.
NEEDED = {"openat", "write", "close", "fstat", "renameat2", "newfstatat"}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_refused(some_python, run, tmp_path, fault, call):
    number, errors = CALLS[call]
    for error in errors:
        folder = tmp_path / str(error)
        folder.mkdir()
        program = run(some_python, PROGRAM, env=with_fault(fault, call=number, errno=error), cwd=folder)
        files = runs_as_alone(program, folder, 4)
        assert files or call in NEEDED, (call, error, program.stderr)
        if call != "unlinkat":
            assert not list(folder.glob(".mprofile-*")), (call, error)


@pytest.mark.few
def test_a_snapshot_that_was_lost_is_shown_by_the_next(python, run, tmp_path):
    """RLIMIT_FSIZE refuses the first; the one after says that it did."""
    program = run(python, """\
import os, resource, signal, sys
kept = [bytes(1000) for _ in range(3000)]
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
print("ready", flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print("ready", flush=True)
sys.stdin.readline()
""", env={"MPROFILERATE": "1"})
    program.ready().signal()
    wait_until(lambda: "File too large" in program.stderr, "the line")
    program.say("")
    path = program.ready().dump()
    assert RawFile(path).head["lost.snapshots"] == "1"
    assert re.search(r"LOST +1 ", reader(path).stdout)
    program.say("")
    assert program.finish() == 0
    assert len(program.stderr.splitlines()) == 1


@pytest.mark.few
def test_address_space_that_is_used_up(python, run, tmp_path):
    """RLIMIT_AS: the program gets its MemoryError, and lives on; so do we."""
    program = run(python, """\
import resource, sys
kept = [bytes(100) for _ in range(20000)]
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * 4096
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), hard))
refused = 0
for size in (1 << 24, 1 << 20, 1 << 16, 1 << 12, 1 << 8):
    try:
        while True:
            kept.append(bytes(size))
    except MemoryError:
        refused += 1
kept.clear()
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
kept = [bytes(5000) for _ in range(1000)]
print("ready", refused, flush=True)
sys.stdin.read()
""", env={"MPROFILERATE": "1"})
    program.ready("ready 5")
    raw = RawFile(program.dump())
    assert len([one for one in raw.live if 5000 < one.size < 5060 and one.stack]) >= 1000
    assert program.finish() == 0, program.stderr
    assert program.stderr == ""


#: What a container's default filter refuses, and what kernels of 2018 do not know: for the whole program, ours and its own calls.
CONTAINER = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct { uint32_t number, error; } refused[] = {
    {101, EPERM} /* ptrace */, {310, EPERM}, {311, EPERM} /* process_vm_readv, writev */, {135, EPERM} /* personality */,
    {298, EPERM} /* perf_event_open */, {312, EPERM} /* kcmp */, {272, EPERM} /* unshare */, {165, EPERM} /* mount */,
    {321, EPERM} /* bpf */, {274, EPERM} /* get_robust_list */, {323, EPERM} /* userfaultfd */,
    {436, ENOSYS} /* close_range */, {435, ENOSYS} /* clone3 */, {439, ENOSYS} /* faccessat2 */, {334, ENOSYS} /* rseq */,
    {316, ENOSYS} /* renameat2 */, {319, ENOSYS} /* memfd_create */, {318, ENOSYS} /* getrandom */, {332, ENOSYS} /* statx */,
};

int main(int argc, char **argv)
{
    enum { COUNT = sizeof refused / sizeof *refused };
    struct sock_filter program[2 + 2 * COUNT];
    unsigned at = 0;
    program[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < COUNT; i++) {
        program[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i].number, 0, 1);
        program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | refused[i].error);
    }
    program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {(unsigned short)at, program};
    if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) {
        return 97;
    }
    execv(argv[1], argv + 1);
    return 98;
}
"""


@pytest.fixture(scope="session")
def container(tmp_path_factory) -> Path:
    return cc.program(CONTAINER, tmp_path_factory.mktemp("container") / "container")


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
def test_in_a_container(python, run, tmp_path, container, native):
    """All of it works but types of objects and the mark: stacks, the writer's thread, numbers, names that are taken."""
    (tmp_path / "mprofile.taken.1.bin").write_text("mine")
    program = run(argv=[container, python.path, "-c", PROGRAM],
                  env={"MPROFILERATE": "1", "MPROFILEEXIT": "1", "MPROFILEOUT": "mprofile.taken.%n.bin", "MPROFILENATIVE": native})
    assert program.finish() == 5 and program.stdout == "6749500 4540\n" and program.stderr == "", program.stderr
    assert (tmp_path / "mprofile.taken.1.bin").read_text() == "mine"
    files = [path for path in tmp_path.glob("mprofile.taken.*.bin") if path.name != "mprofile.taken.1.bin"]
    assert len(files) == 4
    for path in files:
        raw = RawFile(path)
        assert not [key for key in raw.head if key.startswith("lost.")] and raw.head["python.stacks"] == "1"
        assert [one for one in raw.live if any(frame.name == "work" for frame in one.stack)]


def apart(*preparations: str) -> List[str]:
    """The beginning of a command that runs in a mount namespace of its own, prepared by a shell."""
    kind = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*kind, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("the kernel gives no mount namespace")
    return [*kind, "sh", "-c", " && ".join(["set -e", *preparations, 'exec "$@"']), "sh"]


def plain(folder: Path, **more: str) -> Dict[str, str]:
    """The library is preloaded into the program alone, not into what prepares its world."""
    return {"MPROFILERATE": "1", "MPROFILEEXIT": "1", **more}


@pytest.mark.few
def test_without_proc(python, run, tmp_path):
    program = run(argv=[*apart("mount -t tmpfs none /proc"), "env", "LD_PRELOAD=%s" % LIBRARY, python.path, "-c", PROGRAM],
                  env=plain(tmp_path), preload=False)
    files = runs_as_alone(program, tmp_path, 0)
    assert len(files) == 4 and all(not raw.proc.get("/proc/self/status") for raw in files)
    for path in tmp_path.glob("mprofile.*.bin"):
        shown = reader("--rss", path).stdout
        assert "live" in shown and "work" in reader(path, "--by", "function").stdout


@pytest.mark.few
@pytest.mark.parametrize("out", [None, "/dev/shm/%p.%n.bin"], ids=["nowhere", "a writable folder"])
def test_on_a_read_only_root(python, run, tmp_path, out):
    """One line for each that could not be written; or none, where the name says where it may."""
    world = apart("mount --make-rprivate /", "mount -t tmpfs none /dev/shm", "mount -o bind %s %s" % (tmp_path, tmp_path),
                  "mount -o remount,bind,ro %s" % tmp_path, "mount -o remount,bind,ro /", "cd %s" % tmp_path)
    ending = "" if out is None else "; s=$?; ls /dev/shm >&2; exit $s"
    program = run(argv=[*world, "sh", "-c", '"$@"' + ending, "sh", "env", "LD_PRELOAD=%s" % LIBRARY, python.path, "-c", PROGRAM],
                  env=plain(tmp_path, **({} if out is None else {"MPROFILEOUT": out})), preload=False)
    assert program.finish() == 5 and program.stdout == "6749500 4540\n", program.stderr
    said = program.stderr.splitlines()
    if out is None:
        assert len(said) == 4 and all("Read-only file system" in line for line in said)
    else:
        assert len(said) == 4 and all(re.fullmatch(r"\d+\.[12]\.bin", line) for line in said), said
    assert not list(tmp_path.glob("mprofile.*"))


@pytest.mark.few
def test_without_a_home(python, run, tmp_path):
    """Nothing but a path to the interpreter in the environment."""
    program = run(argv=["env", "-i", "LD_PRELOAD=%s" % LIBRARY, "MPROFILEEXIT=1", "MPROFILERATE=1", python.path, "-c", PROGRAM],
                  preload=False)
    assert len(runs_as_alone(program, tmp_path, 0)) == 4
    done = subprocess.run(["env", "-i", sys.executable, str(Path(LIBRARY).with_name("mprofile-read")),
                           *map(str, tmp_path.glob("mprofile.*.bin"))], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr == b""


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that every user may read and write, on a file system that honours setuid."""
    folder = Path(tempfile.mkdtemp(prefix="mprofile-", dir="/var/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


#: Runs a program as nobody.
NOBODY = "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to make a setuid program")
@pytest.mark.parametrize("mode", [0o755, 0o4755], ids=["as it is", "setuid"])
def test_a_setuid_program(everybodys, mode):
    """The library is part of it (the loader itself ignores LD_PRELOAD there), and the environment somebody else's: it is inert."""
    library = shutil.copy(str(LIBRARY), str(everybodys))
    program = everybodys / "python"
    shutil.copy(os.path.realpath("/usr/bin/python3"), str(program))
    subprocess.run(["patchelf", "--add-needed", library, str(program)], check=True)
    program.chmod(mode)
    code = "import os, signal; os.geteuid() or os.umask(0); print('ready', flush=True); os.kill(os.getpid(), signal.SIGUSR2)"
    done = subprocess.run([sys.executable, "-c", NOBODY, str(program), "-c", code], cwd=str(everybodys), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          env=environment({"MPROFILEEXIT": "1", "MPROFILEDEBUG": "1", "PYTHONHOME": "/usr"}, preload=False))
    snapshots = list(everybodys.glob("mprofile.*"))
    assert done.stdout == "ready\n", done.stderr
    if mode & 0o4000:
        assert (done.returncode, done.stderr, snapshots) == (-signal.SIGUSR2, "", [])
    else:  # else the test would say nothing
        assert done.returncode == 0 and "profiling Python" in done.stderr and len(snapshots) == 2
