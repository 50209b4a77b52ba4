# SPDX-License-Identifier: MIT
"""Programs that a profiled Python starts and that are not Python: shells, a compiler, make, git, a static program.

They inherit LD_PRELOAD. What they print, and how they end, is the same as without it; they write no snapshot, also
where one is asked of all (MPROFILEEXIT); a Python behind them is profiled.
"""
from __future__ import annotations

import shutil
import subprocess

import pytest
from harness import RawFile, environment

SOURCE = r"""
import os, subprocess, sys

FIXED = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
         "GIT_COMMITTER_EMAIL": "a@b", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
         "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z", "HOME": os.getcwd(), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}

def outcome(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, **FIXED),
                          **more)
    print(command[0], done.returncode, done.stdout, done.stderr)

os.mkdir("work")
os.chdir("work")
outcome("sh", "-c", "echo out; echo err >&2; exit 3")
outcome("bash", "-c", "set -o pipefail; seq 1000 | sort -rn | head -2; f() { return 4; }; f; echo $?; "
                      "cat <(echo sub); exec 3>&1; exit 5")
outcome("sh", "-c", "trap 'echo trapped; exit 6' USR2; kill -USR2 $$; echo not reached")
outcome("sh", "-c", "kill -USR2 $$; echo not reached")
outcome("sh", "-c", "kill -SEGV $$")
outcome("sh", "-c", "ulimit -v 20000; echo small")
outcome("cat", input=b"through" * 100000)
outcome("awk", "BEGIN { for (i = 0; i < 100000; i++) a[i] = i * i; print length(a) }")
with open("main.c", "w") as file:
    file.write("#include <stdio.h>\n#include <stdlib.h>\n"
               "int main(void) { char *p = malloc(100); puts(p ? \"made\" : \"\"); return 7; }\n")
with open("Makefile", "w") as file:
    file.write("all: main static\nmain: main.c\n\t@cc -Wall -O2 -g -o $@ $<\nstatic: main.c\n\t@cc -static -o $@ $<\n")
outcome("make", "-s", "-j2")
outcome("./main")
outcome("./static")
with open("wrong.c", "w") as file:
    file.write("int main(void) { return nothing; }\n")
outcome("cc", "-c", "wrong.c")
outcome("git", "init", "-q", "-b", "main", ".")
outcome("git", "add", "main.c", "Makefile")
outcome("git", "commit", "-q", "-m", "one")
outcome("git", "log", "--format=%H %s", "--stat")
outcome("git", "gc", "-q")
outcome("git", "fsck", "--strict")
outcome("git", "show", "nothing")
outcome("perl", "-e", "my %h = map { $_ => 'x' x 100 } 1 .. 20000; print scalar(keys %h), qq(\n); exit 8")
outcome("sh", "-c", "exec '%s' -c 'import sys; print(sys.version_info[0]); sys.exit(9)'" % sys.executable)
"""


@pytest.mark.few
def test_they_do_what_they_do(python, run, tmp_path):
    for program in ("bash", "cc", "make", "git", "perl", "awk"):
        assert shutil.which(program), "tests/setup brings it"
    folders = {way: tmp_path / way for way in ("alone", "profiled")}
    for folder in folders.values():
        folder.mkdir()
    script = tmp_path / "app.py"
    script.write_text(SOURCE)
    alone = subprocess.run([python.path, str(script)], cwd=str(folders["alone"]), env=environment(preload=False),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           timeout=300)
    assert alone.returncode == 0 and alone.stderr == ""
    program = run(python, argv=[script], cwd=folders["profiled"], env={"MPROFILEEXIT": "1"})
    assert program.finish() == 0
    assert program.stdout == alone.stdout and len(alone.stdout.splitlines()) == 21
    assert program.stderr == ""
    found = [path for path in folders["profiled"].rglob("mprofile*") if path.is_file()]
    assert len(found) == 2, found  # its own, and that of the Python behind a shell
    for path in found:
        assert RawFile(path).head["python"].startswith(python.version)
