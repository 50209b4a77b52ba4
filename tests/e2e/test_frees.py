# SPDX-License-Identifier: MIT
"""What is freed is forgotten: no samples stay behind, and the profiler itself does not grow.

With pymalloc and a coarse rate the free of Python objects is not hooked at all, so it is this that
shows that a sampled block's free is still seen.
"""
from __future__ import annotations

import pytest
from harness import RawFile, marks

CHURN = r"""
import sys
def churn(count):
    for i in range(count):
        object()  # @objects
        bytes(40 + i % 400)  # @bytes
        bytes(600 + i % 100)  # @large
        [i, i]  # @lists
        (i, i, i)  # @tuples
        {i: i}  # @dicts
        float(i)  # @floats
        "%d text" % i  # @strings
        one = bytearray(600); del one[100:]  # @shrunk
def turn():
    print("ready", flush=True)
    return input()
turn()
churn(int(sys.argv[1]))
turn()
churn(int(sys.argv[1]))
turn()
"""
# How many blocks CPython's freelists and free variables can keep of each line: the largest over
# all versions (lists and dicts 80, with their tables; tuples 2,000 of a length; floats 100; ints of 3.14 100).
FREELISTS = {"objects": 1, "bytes": 2, "large": 2, "lists": 400, "tuples": 2400, "dicts": 400, "floats": 400,
             "strings": 2, "shrunk": 4}


@pytest.mark.parametrize("mode", ["pymalloc", "malloc"])
@pytest.mark.parametrize("rate", ["1", "16k"])
def test_churn_leaves_nothing(python, run, rate, mode):
    """A million and more small blocks a turn."""
    if mode == "malloc" and python.free_threaded:
        pytest.skip("a free-threaded interpreter has no PYTHONMALLOC=malloc")
    env = {"MPROFILERATE": rate}
    if mode == "malloc":
        env["PYTHONMALLOC"] = "malloc"
    program = run(python, CHURN, args=["120000"], env=env)
    files = []
    for number in (1, 2, 3):
        program.ready()
        files.append(RawFile(program.dump(number)))
        program.say("")
    assert program.finish() == 0 and program.stderr == ""
    before, after, last = files

    for raw in (after, last):
        for name, line in marks(CHURN).items():
            left = [one for one in raw.live if one.stack and one.stack[0].line == line
                    and one.stack[0].file.endswith("app.py")]
            assert len(left) <= FREELISTS[name], name
        taken = sum(site.alloc_samples for site in raw.sites if site.stack and site.stack[0].file.endswith("app.py"))
        assert taken >= (1000000 if rate == "1" else 1000), "the churn was seen"
    assert len(after.live) - len(before.live) <= sum(FREELISTS.values()) + 1000
    assert abs(len(last.live) - len(after.live)) <= 1000
    assert int(last.head["own_bytes"]) - int(after.head["own_bytes"]) <= 512 * 1024


@pytest.mark.few
def test_short_threads_leave_nothing(python, run):
    """5,000 threads, each of which allocates: what the profiler keeps of a thread goes with it."""
    program = run(python, r"""
import threading
def work():
    kept = [bytes(100) for _ in range(10)]
def turn():
    print("ready", flush=True)
    return input()
for _ in range(3):
    for _ in range(2500):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    turn()
""", env={"MPROFILERATE": "4k"})
    files = []
    for number in (1, 2, 3):
        program.ready()
        files.append(RawFile(program.dump(number)))
        program.say("")
    assert program.finish() == 0 and program.stderr == ""
    growth = int(files[2].head["own_bytes"]) - int(files[1].head["own_bytes"])
    assert growth <= 512 * 1024
    assert len(files[2].live) - len(files[1].live) <= 500
