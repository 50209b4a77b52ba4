# SPDX-License-Identifier: MIT
"""Daemon threads that allocate raw memory without the GIL while the interpreter finalizes.

Walking such a thread's frames crashed 3.12 in 6 of 6 runs with freed memory poisoned: from the moment
finalization begins only a thread that holds the GIL may be walked, and nobody is in the middle of one.
"""
from __future__ import annotations

import pytest

SOURCE = r"""
import bz2, hashlib, os, sys, threading, zlib
DATA = os.urandom(20000)
started = threading.Barrier(7)

def deflate(depth=12):
    if depth:
        return deflate(depth - 1)
    started.wait()
    while True:
        one = zlib.compressobj(9)
        one.compress(DATA)
        one.flush()

def bunzip():
    packed = bz2.compress(DATA)
    started.wait()
    while True:
        bz2.decompress(packed)

def digest():
    started.wait()
    while True:
        hashlib.sha256(DATA).hexdigest()

for work in (deflate, deflate, deflate, bunzip, bunzip, digest):
    threading.Thread(target=work, daemon=True).start()
started.wait()
kept = [bytes(1000) for _ in range(2000)]
print("done", flush=True)
"""


@pytest.mark.parametrize("rate", ["1", "1k"])
def test_finalizing_under_load(python, run, rate):
    for _ in range(10):
        program = run(python, SOURCE, env={"MPROFILERATE": rate, "MALLOC_PERTURB_": "165", "MPROFILEEXIT": "1"})
        assert program.finish() == 0, program.stderr
        assert program.stdout == "done\n" and program.stderr == ""
