# SPDX-License-Identifier: MIT
"""Steering from within while other threads allocate, other tracers come and go, and the process forks."""
from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from harness import Python, RawFile
from test_api import execute, said, way_in

# Sixteen threads that allocate and free until told to stop, by Python's allocators and by C's.
CROWD = """
import sys, threading

sys.setswitchinterval(0.0001)  # what the main thread does is done sooner

class Crowd:
    def __init__(self, count=16):
        self.stopped = False
        self.turns = 0
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        kept = []
        while not self.stopped:
            for size in range(40, 4000, 137):
                kept.append(bytes(size + number))
                kept.append({size: [size]})
            kept.append(bytearray(100000))
            kept[0] = None
            if len(kept) > 500:
                del kept[::2]
            self.turns += 1

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()

def hooked():
    '''Whether all allocations of this thread are seen.'''
    mprofile.start()
    data = bytes(123456)
    where = mprofile.get_object_traceback(data)
    mprofile.stop()
    return where is not None

import mprofile
"""


@pytest.mark.few
@way_in
def test_a_new_rate_is_in_force_in_all_threads(python: Python, tmp_path: Path, way: str) -> None:
    """What threads allocate after a change is sampled at the new rate; nothing once it is off."""
    execute(python, CROWD + """
import time
crowd = Crowd(4)  # more would leave the reader, in the main thread, too little of the processor
mprofile.start(4, 1 << 20)
for rate in (65536, 4096, 262144, 1, 1 << 30, 100000):
    mprofile.start(4, rate)
    seen = crowd.turns
    while crowd.turns < seen + 500:  # each thread has asked for far more than 64 KiB
        time.sleep(0.001)
    snapshot = mprofile.take_snapshot()
    (heap,) = snapshot._parts
    assert snapshot.sample_rate == rate == mprofile.get_sample_rate()
    mprofile.clear_traces()
    seen = crowd.turns
    while crowd.turns < seen + 200:
        time.sleep(0.001)
    (heap,) = mprofile.take_snapshot()._parts
    drawn = {heap.rates[row] for row in heap.live.rate}
    assert drawn <= {rate}, (drawn, rate)
mprofile.stop()
for _ in range(20):
    assert mprofile.get_traced_memory() == (0, 0)
    time.sleep(0.01)
mprofile.start(4, 1 << 30)
time.sleep(0.1)
snapshot = mprofile.take_snapshot()
assert len(snapshot.traces) < 20, len(snapshot.traces)
crowd.stop()
""", tmp_path, way)


@pytest.mark.few
@way_in
def test_started_and_stopped_a_thousand_times(python: Python, tmp_path: Path, way: str) -> None:
    """Under threads that allocate: no crash, the hooks are there after, and our memory does not grow."""
    own = said(python, CROWD + """
import json, random
random.seed(5)
crowd = Crowd()
own = []
for turn in range(1000):
    mprofile.start(random.choice((1, 4, 128)), random.choice((0, 1, 1000, 4096, 131072)))
    if turn % 50 == 0:
        mprofile.take_snapshot()
    mprofile.get_traced_memory()
    mprofile.stop()
    if turn % 100 == 99:
        own.append(mprofile.get_tracemalloc_memory())
crowd.stop()
assert hooked() and hooked()
assert not mprofile.is_tracing() and mprofile.get_traced_memory() == (0, 0)
print(json.dumps(own))
""", tmp_path, way)
    # A table doubles when more stacks were met, or more was alive at once, than ever before, which may be late; but seldom.
    assert own[-1] < 4 << 20, own
    assert statistics.median(after - before for before, after in zip(own, own[1:])) < 100 * 200, "bytes in a hundred starts: %s" % own


@pytest.mark.few
@way_in
def test_the_world_is_stopped_meanwhile(python: Python, tmp_path: Path, way: str) -> None:
    """A free-threaded interpreter stops all threads at each collection, and wherever one traces all: none of the sixteen
    that allocate, record, write or steer waits for what another holds that is stopped. With a lock of its own, it just runs."""
    execute(python, CROWD + """
import gc, os, signal, time

def repeat(what):
    def loop():
        while not done:
            what()
            counts[what] += 1
            time.sleep(0)
    counts[what] = 0
    return threading.Thread(target=loop)

def toggle():
    mprofile.start(4, 1)
    mprofile.stop()

def look():
    mprofile.get_traced_memory()
    mprofile.get_object_traceback(bytearray(3000))

def cycles():
    for _ in range(100):
        one = {}
        one["me"] = one

def trace():
    (threading.setprofile_all_threads if hasattr(threading, "setprofile_all_threads") else threading.setprofile)(None)

def dump():
    os.kill(os.getpid(), signal.SIGUSR2)

mprofile.start(4, 1), mprofile.stop()
crowd, done, counts = Crowd(), False, {}
others = [toggle, gc.collect, look, cycles, trace] + [dump] * (WAY == "preloaded")
threads = [repeat(what) for what in others]
for thread in threads:
    thread.start()
end = time.monotonic() + 3
while time.monotonic() < end or crowd.turns < 500 or min(counts.values()) < 20:
    time.sleep(0.01)
done = True
for thread in threads:
    thread.join()
crowd.stop()
assert hooked()
""".replace("WAY", repr(way)), tmp_path, way, env={"MPROFILEKEEP": "1"})
    assert len(list(tmp_path.glob("mprofile.*.bin"))) == (way == "preloaded")
    for path in tmp_path.glob("mprofile.*.bin"):
        RawFile(path)


@pytest.mark.few
@way_in
@pytest.mark.parametrize("order", ["inner first", "outer first"])
@pytest.mark.parametrize("first", ["tracemalloc", "mprofile"])
def test_beside_tracemalloc(python: Python, tmp_path: Path, way: str, order: str, first: str) -> None:
    """Either starts first, either stops first; both see what is allocated while they run."""
    execute(python, CROWD + """
import tracemalloc
FIRST, ORDER = %r, %r
for turn in range(30):
    inner, outer = (tracemalloc, mprofile) if FIRST == "tracemalloc" else (mprofile, tracemalloc)
    inner.start(3)
    before = bytes(1111)
    outer.start(3)
    both = bytes(2222)
    for module in (mprofile, tracemalloc):
        where = module.get_object_traceback(both)
        assert where is not None and where[-1].filename == __file__, (turn, module)
    stopped, left = (inner, outer) if ORDER == "inner first" else (outer, inner)
    stopped.stop()
    assert not stopped.is_tracing() and left.is_tracing()
    after = bytes(3333)
    left.get_traced_memory()  # mprofile notices here if its hooks were taken away
    seen = bytes(4444)
    assert left.get_object_traceback(seen) is not None, turn
    # Nothing that is freed meanwhile is taken for alive.
    address = id(both)
    del before, both, after, seen
    snapshot = left.take_snapshot()
    sizes = {trace.size for trace in snapshot.traces if trace.traceback[-1].filename == __file__}
    header = sys.getsizeof(b"")
    assert not sizes & {1111 + header, 2222 + header, 3333 + header, 4444 + header}, (turn, sizes)
    left.stop()
assert hooked()
""" % (first, order), tmp_path, way)


@pytest.mark.few
@way_in
def test_in_forked_children(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, """
        import os, sys, mprofile

        mprofile.start(8, 1)
        kept = bytes(123456)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                assert mprofile.is_tracing() and mprofile.get_object_traceback(kept) is not None
                more = bytes(234567)
                snapshot = mprofile.take_snapshot()
                sizes = {trace.size for trace in snapshot.traces}
                assert {sys.getsizeof(kept), sys.getsizeof(more)} <= sizes and snapshot.pid == os.getpid()
                mprofile.stop()
                assert not mprofile.is_tracing()
                mprofile.start()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert mprofile.is_tracing() and mprofile.get_object_traceback(kept) is not None
    """, tmp_path, way)


@pytest.mark.few
def test_a_fork_while_another_thread_starts_and_stops(python: Python, tmp_path: Path) -> None:
    """The lock that the other thread may hold is not held in the child."""
    execute(python, """
        import os, threading, mprofile

        mprofile.start(), mprofile.stop()  # modules are loaded: a fork in the middle of that is CPython's affair
        stopped = False
        def toggle():
            while not stopped:
                mprofile.start(1, 100000)
                mprofile.stop()
        thread = threading.Thread(target=toggle)
        thread.start()
        for _ in range(50):
            pid = os.fork()
            if pid == 0:
                mprofile.start()
                mprofile.stop()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stopped = True
        thread.join()
    """, tmp_path, options=["-W", "ignore"])


@pytest.mark.few
@way_in
def test_snapshots_from_many_threads(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, CROWD + """
mprofile.start(8, 20000)
crowd = Crowd(4)
failed = []

def snapshots():
    try:
        for turn in range(5):
            mprofile.take_snapshot().statistics("lineno")
            current, peak = mprofile.get_traced_memory()
            assert 0 <= current <= peak
            mprofile.get_object_traceback(bytearray(10))
            if turn == 2:
                mprofile.clear_traces()
    except BaseException as error:
        failed.append(error)
        raise

threads = [threading.Thread(target=snapshots) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
crowd.stop()
assert not failed
""", tmp_path, way)


@pytest.mark.few
def test_a_fork_waits_for_what_is_being_loaded(python: Python, tmp_path: Path) -> None:
    """A child that is forked while another thread's first start() loads the package can start, too."""
    execute(python, """
import os, sys, threading, time
import mprofile
for delay in range(25):
    middle = os.fork()
    if middle == 0:
        threading.Thread(target=lambda: mprofile.start()).start()
        time.sleep(0.0008 * delay)
        child = os.fork()
        if child == 0:
            mprofile.start()
            os._exit(0 if mprofile.is_tracing() else 1)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                os._exit(status != 0)
            time.sleep(0.005)
        os.kill(child, 9)
        os._exit(2)
    assert os.waitpid(middle, 0)[1] == 0, delay
""", tmp_path, "imported", errors="any")  # 3.12 and later warn of forks among threads


@pytest.mark.few
def test_a_fork_while_others_steer(python: Python, tmp_path: Path) -> None:
    """A child that is forked while another thread changes the rate, without the GIL as on a free-threaded interpreter, can change it, too."""
    execute(python, """
import ctypes, os, threading, time
import mprofile
mprofile.start(4, 1 << 20)
free = ctypes.CDLL(None)
free.mprofile_set_rate.argtypes = [ctypes.c_uint64]
stopped = False

def steer():
    while not stopped:
        for rate in (65536, 1 << 20):
            free.mprofile_set_rate(rate)

threads = [threading.Thread(target=steer) for _ in range(3)]
for thread in threads:
    thread.start()
hung = 0
for turn in range(300):
    child = os.fork()
    if child == 0:
        os._exit(free.mprofile_set_rate(4096))
    end = time.monotonic() + 60
    done = 0
    while not done and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.0002)
    if not done:
        os.kill(child, 9)
        hung = 1
        break
    assert status == 0, status
stopped = True
for thread in threads:
    thread.join()
assert not hung, turn
""", tmp_path, "preloaded", errors="any")  # 3.12 and later warn of forks among threads
