# SPDX-License-Identifier: MIT
"""The whole of it under valgrind: no byte is read that is not ours to read, or that nobody has written.

Valgrind takes libc's malloc in, behind ours, so that each object of PYTHONMALLOC=malloc is a block that it watches. It knows no
clone but libc's: the snapshot is the one at the end, which is written on the program's own thread, and a child's.
"""
from __future__ import annotations

import shutil

from harness import RawFile

PROGRAM = """\
import os, threading, zlib
kept = [bytes(n) for n in range(500)]
class Node:
    def __init__(self, n):
        self.n, self.other = n, {n: [n]}
def work(depth):
    if depth:
        return work(depth - 1)
    for n in range(60):
        zlib.compress(bytes(n * 10))
        kept.append(Node(n))
        exec(compile("def f(): return [bytes(30)]\\nkept.append(f())", "file%d.py" % n, "exec"))
threads = [threading.Thread(target=work, args=(20,)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
del kept[::3]
pid = os.fork()
if pid == 0:
    more = [bytes(100) for _ in range(100)]
    os._exit(0)
print(os.waitpid(pid, 0)[1], len(kept), flush=True)
"""


def test_no_byte_that_is_not_ours(some_python, run, tmp_path):
    valgrind = shutil.which("valgrind")
    assert valgrind, "tests/setup --tests installs it"
    (tmp_path / "app.py").write_text(PROGRAM)
    malloc = "default" if some_python.free_threaded else "malloc"  # without a GIL there is mimalloc only: the blocks of C are watched
    program = run(argv=[valgrind, "--quiet", "--soname-synonyms=somalloc=nouserintercepts", "--log-file=log.%p", some_python.path,
                        "-S", "app.py"],
                  env={"MPROFILESIGNAL": "none", "MPROFILEEXIT": "1", "MPROFILERATE": "256", "PYTHONMALLOC": malloc})
    assert program.line(600) == "0 493"
    assert program.finish(600) == 0 and program.stderr == ""
    logs = [path.read_text() for path in tmp_path.glob("log.*")]
    assert len(logs) == 2 and not any("libmprofile" in log or "mp_" in log for log in logs), logs
    files = [RawFile(path) for path in tmp_path.glob("mprofile.*.bin")]
    assert len(files) == 2 and all(len(raw.live) > 100 for raw in files)
