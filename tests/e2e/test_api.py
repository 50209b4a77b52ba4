# SPDX-License-Identifier: MIT
"""`import mprofile` in the process: tracemalloc's functions, with the library preloaded and without."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import pytest
from harness import LIMIT, ROOT, Python, environment, load, package, write

WAYS = ("preloaded", "imported")


def settings(way: str, extra: Optional[Mapping[str, str]] = None) -> "dict[str, str]":
    """The environment of a program that imports mprofile and is not profiled yet."""
    env = {"PYTHONPATH": str(package())}
    if way == "preloaded":
        env["MPROFILERATE"] = "off"
    env.update(extra or {})
    return environment(env, preload=way == "preloaded")


def execute(python: Python, code: str, folder: Path, way: str = "imported", env: Optional[Mapping[str, str]] = None,
            options: Sequence[str] = (), errors: str = "") -> str:
    """Run a program to its end; its standard output. *errors* is its standard error."""
    path = write(folder / "app.py", code)
    done = subprocess.run([python.path, *options, str(path)], env=settings(way, env), cwd=str(folder),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=LIMIT)
    assert done.returncode == 0, "%s\n%s" % (done.returncode, done.stderr)
    assert errors == "any" or done.stderr == errors
    return done.stdout


def said(*args: Any, **keywords: Any) -> Any:
    """The last line of a program's output, as JSON."""
    return json.loads(execute(*args, **keywords).splitlines()[-1])


way_in = pytest.mark.parametrize("way", WAYS)


# Names, arguments, errors: those of the running Python's tracemalloc.


@pytest.mark.few
def test_names_are_tracemallocs(python: Python, tmp_path: Path) -> None:
    execute(python, """
        import inspect, tracemalloc, mprofile

        helpers = {"Iterable", "Sequence", "fnmatch", "linecache", "os", "pickle", "total_ordering", "annotations"}
        for name in set(dir(tracemalloc)) - helpers:
            if name.startswith("_"):
                continue
            ours, stock = getattr(mprofile, name), getattr(tracemalloc, name)
            assert name in mprofile.__all__ and name in dir(mprofile)
            assert ours.__doc__ or ours is stock
            if inspect.isclass(stock):
                assert issubclass(ours, stock), name
                assert {one for one in dir(stock) if not one.startswith("_")} <= set(dir(ours)), name
            wanted = list(inspect.signature(stock).parameters.values())
            got = list(inspect.signature(ours).parameters.values())
            if name != "start":  # whose default is another, and which takes keywords
                for one, mine in zip(wanted, got):
                    assert (one.name, one.default) == (mine.name, mine.default), (name, one, mine)
            assert len(got) >= len(wanted)
            assert all(one.default is not one.empty for one in got[len(wanted):]), name
        assert mprofile.__version__
    """, tmp_path)


@pytest.mark.few
@way_in
def test_errors_are_tracemallocs(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, """
        import sys, tracemalloc, mprofile

        def error(function, *args):
            try:
                function(*args)
            except Exception as error:
                return type(error), str(error).replace("tracemalloc", "mprofile")

        for args in [(0,), (-1,), (2 ** 30,), (2 ** 100,), (1.5,), ("3",), (None,)]:
            got, stock = error(mprofile.start, *args), error(tracemalloc.start, *args)
            assert got is not None and got[0] is stock[0], (args, got, stock)
            if sys.version_info >= (3, 10):  # before, other texts for other types, and another range
                assert got == stock, (args, got, stock)
        assert not mprofile.is_tracing() and not tracemalloc.is_tracing()
        assert error(mprofile.take_snapshot) == error(tracemalloc.take_snapshot)
        for args in [(1, -1), (1, 2 ** 41), (1, "1"), (1, "128k"), (1, 1.5), (1, None)]:
            assert error(mprofile.start, *args)[0] in (ValueError, TypeError), args
        assert error(lambda: mprofile.start(3, max_frames=3))[0] is TypeError
        for function in (mprofile.take_snapshot, mprofile.get_sample_rate, mprofile.dump):
            assert error(function)[0] is RuntimeError
        ours, stock = (module.Snapshot([], 1) for module in (mprofile, tracemalloc))
        for method, args in [("statistics", ("size",)), ("statistics", ("traceback", True)), ("filter_traces", (1,))]:
            assert error(getattr(ours, method), *args) == error(getattr(stock, method), *args)
        assert error(mprofile.Snapshot, [])[0] is TypeError
    """, tmp_path, way)


@pytest.mark.few
@way_in
def test_starting_and_stopping(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, """
        import mprofile

        def stopped(limit):
            assert not mprofile.is_tracing()
            assert mprofile.get_traced_memory() == (0, 0)
            assert mprofile._get_traces() == []
            assert mprofile.get_object_traceback(object()) is None
            assert mprofile._get_object_traceback(object()) is None
            assert mprofile.get_traceback_limit() == limit
            mprofile.stop(), mprofile.clear_traces(), mprofile.reset_peak()

        before = mprofile.get_traceback_limit()
        assert before == (128 if WAY == "preloaded" else 1)
        stopped(before)
        mprofile.start()
        assert mprofile.is_tracing()
        assert (mprofile.get_traceback_limit(), mprofile.get_sample_rate()) == (128, 0)
        mprofile.start(5)  # ignored, as tracemalloc does
        mprofile.start(5, 0)
        assert (mprofile.get_traceback_limit(), mprofile.get_sample_rate()) == (128, 0)
        kept = bytearray(100000)
        mprofile.start(5, 4096)  # the rate can be changed
        assert (mprofile.get_traceback_limit(), mprofile.get_sample_rate()) == (128, 4096)
        assert mprofile.get_traced_memory()[0] > 100000  # what was recorded stays
        mprofile.start()
        assert mprofile.get_sample_rate() == 4096
        mprofile.stop()
        stopped(128)
        mprofile.start(max_frames=7, sample_rate=1)
        assert (mprofile.get_traceback_limit(), mprofile.get_sample_rate()) == (7, 1)
        assert mprofile.get_traced_memory()[0] < 100000
        assert mprofile.get_tracemalloc_memory() > 10000
        mprofile.stop()
        stopped(7)
        mprofile.start(65535)
        assert mprofile.get_traceback_limit() == 65535
    """.replace("WAY", repr(way)), tmp_path, way)


# Figures.


@pytest.mark.few
@way_in
def test_traced_memory_is_exact_at_rate_1(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, """
        import sys, mprofile

        def measure():
            mprofile.start()
            mprofile.clear_traces()
            none = mprofile.get_traced_memory()
            data = b"x" * 1000000
            one = mprofile.get_traced_memory()
            del data
            peak = mprofile.get_traced_memory()
            mprofile.reset_peak()
            after = mprofile.get_traced_memory()
            mprofile.stop()
            return none, one, peak, after

        measure()
        none, one, peak, after = measure()
        size = sys.getsizeof(b"") + 1000000
        # What is left may be a number or two that were asked for on the way.
        assert none == (0, 0), none
        assert size <= one[0] <= size + 500 and one[0] <= one[1] <= size + 1000, one
        assert peak[0] < 1000 and peak[1] >= size
        assert after[0] <= after[1] < 2000
    """, tmp_path, way)


@pytest.mark.few
@way_in
def test_the_same_statistics_as_tracemalloc(python: Python, tmp_path: Path, way: str) -> None:
    """One after the other, every allocation: the program's own lines have the same sizes and counts."""
    execute(python, """
        import sys, tracemalloc, mprofile

        class Thing:
            __slots__ = tuple("abcdefghijklmnop")

        class Large(mprofile.BaseFilter):  # what is small may come from free lists
            def _match(self, trace):
                return trace[1] >= 100

        def build():
            kept = []
            for number in range(200):
                kept.append(bytes(number * 10 + 100))
                kept.append(bytearray(number + 100))
                kept.append("x" * (number + 600))
                kept.append(Thing())
                kept.append(lambda: number)
            return kept

        def measure(module):
            module.start(8)
            kept = build()
            snapshot = module.take_snapshot()
            module.stop()
            return snapshot

        build()
        ours, stock = measure(mprofile), measure(tracemalloc)
        for key in "lineno", "traceback":
            found = []
            for snapshot in (ours, stock):
                only = snapshot.filter_traces([tracemalloc.Filter(True, __file__)])
                only = only.filter_traces([mprofile.DomainFilter(True, 0)]).filter_traces([Large(True)])
                found.append([one for one in only.statistics(key) if one.count > 100])
            assert len(found[1]) == 5
            assert list(map(str, found[0])) == list(map(str, found[1])), found
            assert found[0] == found[1]
        assert ours.compare_to(stock, "lineno") and stock.compare_to(ours, "lineno")
    """, tmp_path, way)


@pytest.mark.few
@way_in
def test_samples_are_an_estimate(python: Python, tmp_path: Path, way: str) -> None:
    found = said(python, """
        import json, mprofile

        def build():
            return [bytes(400) for _ in range(50000)]  # 433 bytes each

        mprofile.start(sample_rate=8192)
        kept = build()
        current, peak = mprofile.get_traced_memory()
        snapshot = mprofile.take_snapshot()
        top = snapshot.statistics("lineno")[0]
        print(json.dumps([str(top.traceback), top.size, top.size_error, top.count, top.count_error, current, peak,
                          snapshot.sample_rate, snapshot.traceback_limit, snapshot.trigger, snapshot.traces[0].weight,
                          sum(one.size for one in snapshot.to_tracemalloc().statistics("lineno")[:1])]))
    """, tmp_path, way)
    where, size, error, count, count_error, current, peak, rate, limit, trigger, weight, plain = found
    truth = 433 * 50000
    assert where.endswith("app.py:5")
    assert abs(size - truth) < 5 * error and error < truth / 10
    assert abs(count - 50000) < 5 * count_error
    assert plain == pytest.approx(size, rel=0.001)
    assert size * 0.999 <= current <= peak < 2 * truth
    assert (rate, limit, trigger) == (8192, 128, "api") and weight > 1


@pytest.mark.few
def test_domains(python: Python, tmp_path: Path) -> None:
    code = """
        import ctypes, json, mmap, mprofile
        malloc = ctypes.CDLL(None).malloc
        malloc.restype = ctypes.c_void_p
        mprofile.start()
        one = malloc(1234567)
        two = bytes(2345678)
        three = mmap.mmap(-1, 3456789)
        found = {}
        for trace in mprofile.take_snapshot().traces:
            if trace.size > 1000000:
                found[trace.size // 1000000] = [trace.domain, trace.domain_name]
        print(json.dumps(found))
    """
    python_only = {"2": [0, "obj"]}
    assert said(python, code, tmp_path, "preloaded") == {"1": [1, "malloc"], "3": [2, "mmap"], **python_only}
    assert said(python, code, tmp_path, "imported") == python_only


@pytest.mark.few
@way_in
def test_snapshots_are_dumped_and_loaded(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, """
        import os, tracemalloc, mprofile

        mprofile.start(3, 512)
        kept = [bytes(300) for _ in range(5000)]
        snapshot = mprofile.take_snapshot()
        assert isinstance(snapshot, mprofile.Snapshot) and isinstance(snapshot, tracemalloc.Snapshot)
        snapshot.extra = "kept"
        snapshot.dump("a.pickle")
        again = mprofile.Snapshot.load("a.pickle")
        assert again.statistics("traceback") == snapshot.statistics("traceback")
        assert again.traces == snapshot.traces and again.traces[0].weight == snapshot.traces[0].weight
        assert (again.extra, again.sample_rate) == ("kept", 512)
        snapshot.to_tracemalloc().dump("stock.pickle")
        assert type(tracemalloc.Snapshot.load("stock.pickle")) is tracemalloc.Snapshot
        # The file that the library writes says the same.
        path = mprofile.dump("b.bin")
        assert path == os.path.abspath("b.bin")
        file = mprofile.Snapshot.load(path)
        here = [one for one in file.statistics("lineno") if one.traceback[0].filename == __file__][0]
        same = [one for one in snapshot.statistics("lineno") if one.traceback[0].filename == __file__][0]
        assert here == same and here.size_error == same.size_error
        assert file.trigger == snapshot.trigger == "api"
    """, tmp_path, way)


@pytest.mark.few
@way_in
def test_dump_names(python: Python, tmp_path: Path, way: str) -> None:
    (tmp_path / "out").mkdir()
    paths = said(python, """
        import errno, json, os, pathlib, mprofile

        mprofile.start(sample_rate=1024)
        paths = [mprofile.dump(), mprofile.dump(), mprofile.dump("x%p.bin"), mprofile.dump(pathlib.Path("x%p.bin"))]
        os.chdir("out")
        paths.append(mprofile.dump("y.bin"))
        for bad, number in [("no/such.bin", errno.ENOENT), ("z" * 300, errno.ENAMETOOLONG)]:
            try:
                mprofile.dump(bad)
            except OSError as error:
                assert error.errno == number and error.filename == bad, error
            else:
                raise AssertionError(bad)
        for bad, kind in [("a\\0b", ValueError), (7.5, TypeError)]:
            try:
                mprofile.dump(bad)
            except kind:
                pass
            else:
                raise AssertionError(bad)
        print(json.dumps([os.getpid()] + paths))
    """, tmp_path, way, env={"MPROFILEOUT": str(tmp_path / "at.%p.%n.bin")})
    pid, *paths = paths
    names = ["at.%d.1.bin" % pid, "at.%d.2.bin" % pid, "x%p.bin", "x%p.2.bin", "out/y.bin"]
    assert paths == [str(tmp_path / name) for name in names]
    for path in paths:
        assert load(Path(path)).pid == pid
        assert Path(path).stat().st_mode & 0o777 == 0o600


# Where one object was allocated.


@way_in
@pytest.mark.parametrize("allocator", ["", "debug", "malloc"])
def test_object_tracebacks(python: Python, tmp_path: Path, way: str, allocator: str) -> None:
    """Objects of all shapes: with the collector's header, with dictionaries and weak references managed by CPython."""
    if allocator and python.free_threaded and allocator == "malloc":
        pytest.skip("a free-threaded Python has no PYTHONMALLOC=malloc")
    execute(python, """
        import ctypes, mprofile, sys

        class Plain: pass
        class Slots: __slots__ = ("a",)
        class WeakSlots: __slots__ = ("a", "__weakref__")
        class DictSlots: __slots__ = ("a", "__dict__")
        class Bare: __slots__ = ()
        class List(list): pass
        class Dict(dict): __slots__ = ()
        class Tuple(tuple): pass
        class Int(int): pass
        class Str(str): pass
        class Bytes(bytes): __slots__ = ()
        class Error(Exception): pass
        class Meta(type):
            __flags__ = 0
        class Liar(metaclass=Meta): __flags__ = 3
        class Structure(ctypes.Structure): _fields_ = [("x", ctypes.c_int)]

        N = 1
        def generator(): yield
        async def coroutine(): pass
        def closure(x): return lambda: x

        MAKERS = [Plain, Slots, WeakSlots, DictSlots, Bare, List, Dict, lambda: Tuple((1, 2)), lambda: Int(7),
                  lambda: Str("a"), lambda: Bytes(b"a"), Error, Liar, Structure, generator, lambda: closure(1),
                  lambda: type("New", (), {}), lambda: bytes(1000 * N), lambda: "a" * 5000 * N, lambda: 3 ** (500 * N),
                  lambda: bytearray(10), lambda: memoryview(b"a" * 100 * N), lambda: frozenset([N]), lambda: {1, 2},
                  lambda: iter([1]), lambda: property(len), lambda: classmethod(len), lambda: object(),
                  lambda: tuple(range(100)), lambda: type(sys)("module"), lambda: range(10 ** 30 * N),
                  lambda: slice(10 ** 30 * N, N), lambda: zip(), lambda: compile("1", "x", "eval")]
        FREE_LISTS = ("dict", "list", "slice", "list_iterator", "range")
        for rate in (0, 1):
            mprofile.start(2, rate)
            for number, make in enumerate(MAKERS):
                made = make()
                where = mprofile.get_object_traceback(made)
                if where is None or where[-1].filename != __file__:
                    # A free list, from which CPython takes it without an allocation.
                    assert type(made).__name__ in FREE_LISTS, (number, made, where)
                    continue
                frame = where[-1]
                assert frame.filename == __file__ and frame.lineno > 0, (number, frame)
                assert mprofile._get_object_traceback(made)[0] == (frame.filename, frame.lineno)
            for foreign in (None, 5, len, int, sys, "", ()):
                mprofile.get_object_traceback(foreign)
            frame = mprofile.get_object_traceback(Plain())[-1]
            first = sys._getframe().f_code.co_firstlineno
            assert (frame.name, frame.firstlineno) == ("<module>", first) and isinstance(frame, mprofile.Frame)
            mprofile.stop()
    """, tmp_path, way, env={"PYTHONMALLOC": allocator} if allocator else None)


@pytest.mark.few
@way_in
@pytest.mark.parametrize("rate", [0, 200, 5000])
def test_an_address_that_comes_back_is_another_block(python: Python, tmp_path: Path, way: str, rate: int) -> None:
    found = said(python, """
        import json, mprofile

        class Thing:
            __slots__ = ("a",)

        def first(size):
            return [Thing(), bytes(size)]
        def second(size):
            return [Thing(), bytes(size)]

        mprofile.start(4, RATE)
        known = again = 0
        addresses = set()
        for turn in range(3000):
            for make in (first, second):
                made = make(turn % 1000)
                for one in made:
                    again += id(one) in addresses
                    addresses.add(id(one))
                    where = mprofile.get_object_traceback(one)
                    if where is not None:
                        names = [frame.name for frame in where]
                        assert make.__name__ in names, (names, make)
                        known += 1
                del made, one
        print(json.dumps([known, again]))
    """.replace("RATE", str(rate)), tmp_path, way)
    known, again = found
    assert known > (11000 if rate == 0 else 10) and again > 5000


@pytest.mark.few
def test_deep_stacks_and_odd_names(python: Python, tmp_path: Path) -> None:
    execute(python, r"""
        import sys, mprofile

        sys.setrecursionlimit(3000)
        def deep(n):
            return bytes(1000) if n == 0 else deep(n - 1)

        mprofile.start(1000)
        data = deep(2000)
        where = mprofile.get_object_traceback(data)
        assert len(where) == 1000 and {frame.name for frame in where} == {"deep"}
        trace = [trace for trace in mprofile.take_snapshot().traces if trace.size > 1000 and len(trace.traceback) > 900]
        assert len(trace) == 1 and len(trace[0].traceback) == 1000
        total = getattr(trace[0].traceback, "total_nframe")
        assert total == 2002, total
        scope = {}
        exec(compile("def \u00e4\u4e2d(): return bytes(1000)", "/x/\udcff\u20ac.py", "exec"), scope)
        data = scope["\u00e4\u4e2d"]()
        frame = mprofile.get_object_traceback(data)[-1]
        assert (frame.filename, frame.lineno, frame.name) == ("/x/\udcff\u20ac.py", 1, "\u00e4\u4e2d"), ascii(frame)
    """, tmp_path)


# mprofile 0.0.15's ways.


@pytest.mark.few
def test_importing_starts_where_mprofilerate_is_set(python: Python, tmp_path: Path) -> None:
    code = """
        import sys
        import mprofile
        assert "mprofile.snapshot" not in sys.modules
        import json
        rate = mprofile.get_sample_rate() if mprofile.is_tracing() else "off"
        print(json.dumps([rate, mprofile.get_traceback_limit()]))
    """
    for value, rate in [("0", 0), ("1", 1), ("4096", 4096), ("64k", 65536), ("2M", 2 << 20), ("off", "off"),
                        ("OFF", "off"), ("", "off")]:
        limit = 1 if rate == "off" else 128
        assert said(python, code, tmp_path, env={"MPROFILERATE": value}) == [rate, limit], value
        for more in ("7", "65535"):
            env = {"MPROFILERATE": value, "MPROFILEFRAMES": more}
            assert said(python, code, tmp_path, env=env) == [rate, 1 if rate == "off" else int(more)]
    assert said(python, code, tmp_path) == ["off", 1]
    # Preloaded it runs already, or was told not to.
    assert said(python, code, tmp_path, "preloaded", env={"MPROFILERATE": "8k"}) == [8192, 128]
    assert said(python, code, tmp_path, "preloaded") == ["off", 128]


@pytest.mark.few
@way_in
def test_values_that_make_no_sense_cost_one_line(python: Python, tmp_path: Path, way: str) -> None:
    code = """
        import mprofile
        print([mprofile.get_sample_rate(), mprofile.get_traceback_limit()])
    """
    path = write(tmp_path / "app.py", code)
    for variable in ("MPROFILERATE", "MPROFILEFRAMES"):
        for value in ("-5", "junk", "99999999999999999999"):
            env = settings(way, {"MPROFILERATE": "128k", variable: value})
            done = subprocess.run([python.path, str(path)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=LIMIT)
            assert (done.returncode, done.stdout) == (0, "[131072, 128]\n"), done
            assert len(done.stderr.splitlines()) == 1 and variable in done.stderr and value in done.stderr


@pytest.mark.few
def test_the_commands_are_not_profiled(python: Python, tmp_path: Path) -> None:
    """With MPROFILEEXIT whatever was profiled leaves a snapshot behind."""
    folder = tmp_path / "work"
    folder.mkdir()
    env = settings("imported", {"MPROFILERATE": "1", "MPROFILEEXIT": "1", "MPROFILEOUT": str(folder)})
    golden = ROOT / "tests" / "tools" / "golden" / "sampled.bin"
    entry = write(tmp_path / "mprofile", """
        import mprofile
        assert not mprofile.is_tracing()
    """)
    app = tmp_path / "package"
    app.mkdir()
    write(app / "__init__.py", "import mprofile\n")
    write(app / "__main__.py", "import mprofile; assert mprofile.is_tracing()\n")

    def run(*command: str) -> int:
        done = subprocess.run([python.path, *command], env=env, cwd=str(tmp_path), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        assert done.returncode == 0, done.stderr
        left = list(folder.iterdir())
        for path in left:
            path.unlink()
        return len(left)

    assert run(str(ROOT / "tools" / "mprofile-read"), str(golden)) == 0
    assert run(str(entry)) == 0
    assert run("-m", "mprofile.cli") == 0
    assert run("-Wignore", "-Bm", "mprofile.cli") == 0
    assert run("-m", "package") == 1
    assert run("-c", "import mprofile") == 1
    assert run("-c", "import mprofile.cli") == 1


@pytest.mark.few
def test_reading_starts_nothing(python: Python, tmp_path: Path) -> None:
    golden = ROOT / "tests" / "tools" / "golden" / "sampled.bin"
    execute(python, """
        import mprofile, sys
        mprofile.Snapshot.load(%r).statistics("lineno")
        assert "mprofile._library" not in sys.modules
        assert not mprofile.is_tracing()
        assert "libmprofile" not in open("/proc/self/maps").read()
    """ % str(golden), tmp_path)


@pytest.mark.few
@way_in
def test_what_0_0_15_was_tested_for(python: Python, tmp_path: Path, way: str) -> None:
    execute(python, """
        import sys, threading, time
        import mprofile

        ONE = sys.version_info >= (3, 11)  # before, frames of functions that are called first are allocated

        def mine(snapshot):
            near = [(one, one.traceback[-1]) for one in snapshot.traces]
            return [one for one, frame in near if (frame.filename, frame.lineno) == (__file__, 13)]

        def one_object(*args):
            mprofile.start(*args)
            kept = object()
            snapshot = mprofile.take_snapshot()
            mprofile.stop()
            return snapshot

        # One object is one trace; its frame has the function and its first line, and stays after stop().
        snapshot = one_object()
        assert len(mine(snapshot)) == 1 and (not ONE or len(snapshot.traces) == 1)
        frame = mine(snapshot)[0].traceback[-1]
        assert (frame.name, frame.firstlineno, frame.lineno) == ("one_object", 11, 13), frame.lineno
        snapshot = one_object(1)
        assert [len(one.traceback) for one in mine(snapshot)] == [1]
        assert snapshot.traceback_limit == 1

        # Threads that allocate while a snapshot is taken.
        def allocate():
            kept = [(object(), time.sleep(0.0001)) for _ in range(1000)]
        mprofile.start()
        threads = [threading.Thread(target=allocate) for _ in range(2)]
        for thread in threads:
            thread.start()
        names = set()
        while "allocate" not in names:
            names.update(frame.name for one in mprofile.take_snapshot().traces for frame in one.traceback)
            assert any(thread.is_alive() for thread in threads) or "allocate" in names
        threads[0].join()
        mprofile.stop()
        threads[1].join()

        # Samples, by position: frames and rate.
        mprofile.start(128, 1024)
        kept = [object() for _ in range(100000)]
        snapshot = mprofile.take_snapshot()
        mprofile.stop()
        assert 0 < len(snapshot.traces) < 20000
        assert snapshot.sample_rate == 1024
    """.replace("<listcomp>", ""), tmp_path, way)


# Where there is no library, or another's.


def bare_package(tmp_path: Path) -> Path:
    folder = tmp_path / "bare" / "mprofile"
    shutil.copytree(str(ROOT / "tools" / "mprofile"), str(folder))
    return folder


def test_without_the_library(tmp_path: Path) -> None:
    folder = bare_package(tmp_path)
    code = textwrap.dedent("""
        import sys
        import mprofile
        assert not mprofile.is_tracing() and mprofile.get_traced_memory() == (0, 0)
        mprofile.stop()
        try:
            mprofile.start()
        except RuntimeError as error:
            print(error)
    """)

    def run(**more: str) -> "subprocess.CompletedProcess[str]":
        env = environment({"PYTHONPATH": str(folder.parent), **more}, preload=False)
        return subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=LIMIT)

    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "libmprofile.so is not beside the package" in done.stdout
    done = run(MPROFILERATE="1")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1 and "libmprofile.so is not beside" in done.stderr
    (folder / "libmprofile.so").write_bytes(b"no library")
    assert "cannot be loaded" in run().stdout
    other = tmp_path / "other.c"
    other.write_text("unsigned mprofile_interface(void) { return 99; }\n")
    compiled = str(folder / "libmprofile.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", compiled, str(other)], check=True)
    assert "interface 99" in run().stdout
    assert "interface 99" in run(LD_PRELOAD=compiled).stdout
    other.write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", compiled, str(other)], check=True)
    assert "is not mprofile's library" in run().stdout
