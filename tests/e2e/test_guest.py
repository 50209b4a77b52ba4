# SPDX-License-Identifier: MIT
"""In a program without Python: nothing at all. No file, no handler, no message, the same exit status."""
from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import LIBRARY, ROOT, Running, environment, wait_until

C_PROGRAM = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sigaction action;
	void *kept[1000];

	if (sigaction(SIGUSR2, NULL, &action) != 0 || action.sa_handler != SIG_DFL)
		return 2;
	for (int i = 0; i < 1000; i++)
		kept[i] = malloc(100000);
	for (int i = 0; i < 1000; i++)
		kept[i] = realloc(kept[i], 1000);
	for (int i = 0; i < 1000; i++)
		free(kept[i]);
	puts("ready");
	fflush(stdout);
	if (argc > 1 && strcmp(argv[1], "wait") == 0)
		pause();
	return 42;
}
"""
# What an interpreter has, but is none: the names are there, the version is nobody's.
FAKE_INTERPRETER = r"""
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct allocator { void *ctx, *malloc, *calloc, *realloc, *free; };
const unsigned long Py_Version = 0x03630000;
const char *Py_GetVersion(void) { return "3.99.0 (main, Jan  1 2040, 00:00:00) [GCC 99]"; }
void PyMem_SetAllocator(int domain, struct allocator *allocator) { (void)domain; (void)allocator; abort(); }
void PyMem_GetAllocator(int domain, struct allocator *allocator) { (void)domain; *allocator = (struct allocator){0}; }
int Py_IsInitialized(void) { return 0; }
char _PyRuntime[4096];

int main(void)
{
	setlocale(LC_CTYPE, "C");
	setlocale(LC_CTYPE, "");
	puts("ready");
	return 9;
}
"""


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory):
    """Compiles a C program; without a compiler the test is skipped."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")

    def compile_one(source: str, *flags: str) -> Path:
        folder = tmp_path_factory.mktemp("c")
        (folder / "program.c").write_text(source)
        subprocess.run(["cc", "-O1", "-o", str(folder / "program"), str(folder / "program.c"), *flags], check=True)
        return folder / "program"

    return compile_one


NOISY = {"MPROFILEEXIT": "1", "MPROFILEINTERVAL": "1s", "MPROFILERATE": "1"}
NONSENSE = {"MPROFILERATE": "banana", "MPROFILESIGNAL": "nothing", "MPROFILEOUT": "/no/such/folder/%q"}
COMMANDS = {
    "true": (["/bin/true"], 0), "false": (["/bin/false"], 1), "sh": (["sh", "-c", "exit 7"], 7),
    "pipe": (["sh", "-c", "echo a b | tr a-z A-Z | cat; exit 5"], 5), "git": (["git", "--version"], 0),
    "sh error": (["sh", "-c", "nosuchcommand"], 127), "killed": (["sh", "-c", "kill -TERM $$"], -15),
}


@pytest.mark.parametrize("env", [{}, NOISY, NONSENSE], ids=["plain", "all on", "nonsense"])
@pytest.mark.parametrize("name", COMMANDS)
def test_same_as_without(tmp_path, name, env):
    command, status = COMMANDS[name]
    outcomes = []
    for preload in (True, False):
        done = subprocess.run(command, env=environment(env, preload), cwd=str(tmp_path), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        outcomes.append((done.returncode, done.stdout, done.stderr))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == status
    assert list(tmp_path.iterdir()) == []


def test_the_signal_still_kills(tmp_path):
    process = subprocess.Popen(["sleep", "1000"], env=environment(), cwd=str(tmp_path))
    wait_until(lambda: "sleep" in Path("/proc/%d/comm" % process.pid).read_text(), "sleep to start")
    wait_until(lambda: Path("/proc/%d/stat" % process.pid).read_text().rpartition(")")[2].split()[0] == "S",
               "sleep to sleep")
    process.send_signal(signal.SIGUSR2)
    assert process.wait(60) == -signal.SIGUSR2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("env", [{}, NOISY], ids=["plain", "all on"])
def test_c_program(tmp_path, compile_c, env):
    program = Running(argv=[compile_c(C_PROGRAM)], cwd=tmp_path, env=env)
    program.ready()
    assert program.finish() == 42 and program.stderr == ""
    waiting = Running(argv=[compile_c(C_PROGRAM), "wait"], cwd=tmp_path, env=env)
    waiting.ready()
    assert "libmprofile" in Path("/proc/%d/maps" % waiting.pid).read_text()
    assert len(list(Path("/proc/%d/task" % waiting.pid).iterdir())) == 1
    waiting.signal()
    assert waiting.finish() == -signal.SIGUSR2
    assert list(tmp_path.glob("mprofile*")) == []


def test_static_program(tmp_path, compile_c):
    """The loader never sees the library: it must not matter that it is asked for."""
    program = Running(argv=[compile_c(C_PROGRAM, "-static")], cwd=tmp_path)
    program.ready()
    assert program.finish() == 42 and program.stderr == ""


def test_unknown_interpreter_is_left_alone(tmp_path, compile_c):
    """At most one line, with the reason; nothing of the interpreter is touched (its SetAllocator aborts)."""
    path = compile_c(FAKE_INTERPRETER, "-rdynamic", "-Wl,--export-dynamic")
    program = Running(argv=[path], cwd=tmp_path, env=NOISY)
    program.ready()
    assert program.finish() == 9
    lines = program.stderr.splitlines()
    assert len(lines) == 1 and "mprofile" in lines[0] and "3.99" in lines[0]


def test_nothing_exported_but_what_is_meant():
    """No undefined Py* symbol, and nothing exported but mprofile_* and interposed libc names."""
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    listing = subprocess.run(["nm", "-D", str(LIBRARY)], stdout=subprocess.PIPE, check=True).stdout.decode()
    rows = [line.split()[-2:] for line in listing.splitlines()]
    undefined = [name for kind, name in rows if kind in "Uw"]
    assert not [name for name in undefined if name.startswith(("Py", "_Py"))]
    defined = [name.split("@")[0] for kind, name in rows if kind not in "Uw"]
    meant = re.findall(r"(\w+);", (ROOT / "preload" / "exports.map").read_text())
    assert sorted(set(defined)) == sorted(meant)
