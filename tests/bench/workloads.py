# SPDX-License-Identifier: MIT
"""Runs inside the interpreter that is measured: one workload under one profiler.

    workloads.py NAME LOOPS WARM       one stretch of LOOPS loops, at once
    workloads.py NAME turns WARM       a stretch whenever it is asked for one: a line of standard input is a number of loops

Most are pyperformance's own functions in a plain loop. What is measured begins after WARM loops, at a mark (inside.c), and ends with
the loops: neither the start nor the end of the process is in it. Prints a line of JSON for each stretch. process.py starts it and says in the
environment what else is needed (BENCH_START, BENCH_INSIDE, BENCH_FOLDER).
"""
from __future__ import annotations

import ctypes
import functools
import gc
import importlib.util
import json
import os
import sys
import threading
import time
from typing import Any, Callable

from loops import THREADS

Loop = Callable[[int], object]
inside = ctypes.CDLL(os.environ["BENCH_INSIDE"])
inside.malloc_loop.argtypes = [ctypes.c_long]
running: list[Any] = []


def start(name: str) -> None:
    """Start what is not there from the first instruction on."""
    if name == "hook":
        inside_python = ctypes.PyDLL(os.environ["BENCH_INSIDE"])  # with the GIL held
        inside_python.hook()
    elif name.startswith("memray"):
        import memray  # type: ignore[import-not-found]
        tracker = memray.Tracker(os.environ["BENCH_FOLDER"] + "/memray.bin", trace_python_allocators=name != "memray")
        tracker.__enter__()
        running.append(tracker)
    elif name == "ddtrace":
        from ddtrace.internal.datadog.profiling import ddup  # type: ignore[import-not-found]
        from ddtrace.profiling.collector.memalloc import MemoryCollector  # type: ignore[import-not-found]
        ddup.config(service="bench", env="bench", version="1", max_nframes=128,
                    output_filename=os.environ["BENCH_FOLDER"] + "/dd")
        ddup.start()
        collector = MemoryCollector(max_nframe=128, heap_sample_size=128 * 1024)
        collector.start()
        running.append(collector)
    elif name == "upstream":
        import mprofile
        mprofile.start(128, 128 * 1024)


def benchmark(name: str) -> Any:
    """A module of pyperformance's."""
    import pyperformance  # type: ignore[import-not-found]
    folder = os.path.join(os.path.dirname(pyperformance.__file__), "data-files", "benchmarks", "bm_" + name)
    spec = importlib.util.spec_from_file_location("bm_" + name, os.path.join(folder, "run_benchmark.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def tornado_http() -> Loop:
    from tornado.httpclient import AsyncHTTPClient
    AsyncHTTPClient.configure(None, defaults={"connect_timeout": 3600.0, "request_timeout": 3600.0})  # cachegrind is slow
    module = benchmark("tornado_http")
    module.CONCURRENCY = 50  # 150 in pyperformance: a third of the work a loop
    loop: Loop = module.bench_tornado
    return loop


def json_both() -> Loop:
    dumps, loads = benchmark("json_dumps"), benchmark("json_loads")
    data = []
    for case in dumps.CASES:
        value, count = getattr(dumps, case)
        data.append((value, range(count // 4)))
    texts = tuple(json.dumps(value) for value in (loads.DICT, loads.TUPLE, loads.DICT_GROUP))

    def loop(count: int) -> None:
        for _ in range(count):
            dumps.bench_json_dumps(data)
            for _ in range(5):
                loads.bench_json_loads(texts)

    return loop


def deepcopy() -> Loop:
    module = benchmark("deepcopy")

    def loop(count: int) -> None:
        module.benchmark(count)
        module.benchmark_reduce(count * 10)
        module.benchmark_memo(count * 2)

    return loop


def async_tree() -> Loop:
    import asyncio
    module = benchmark("async_tree")
    module.NUM_RECURSE_LEVELS = 4  # 6 in pyperformance: 1/36 of the work a loop

    def loop(count: int) -> None:
        for _ in range(count):
            asyncio.run(module.NoneAsyncTree().run())

    return loop


class Pair:
    def __init__(self, one: object, other: object) -> None:
        self.one = one
        self.other = other


def churn_loop(count: int) -> list[object]:
    """The worst case: allocations, and nothing else."""
    keep: list[object] = [None] * 64
    for i in range(count):
        items = [i, i + 1, i + 2]
        table = {"a": i, "b": items}
        text = "x%d" % i
        pair = Pair(items, table)
        both = (text, pair)
        bytes(600)  # more than pymalloc serves: malloc
        keep[i & 63] = both
    return keep


def churn() -> Loop:
    return churn_loop


def churn_threads(number: int) -> Loop:
    """The count is that of all threads together."""
    def loop(count: int) -> None:
        threads = [threading.Thread(target=churn_loop, args=(count // number,)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return loop


def live_heap() -> Loop:
    """2 million live objects, of which some die and are replaced, here and there."""
    live: list[object] = [bytes(20 + i % 60) for i in range(2_000_000)]
    at = 0

    def loop(count: int) -> None:
        nonlocal at
        for i in range(count):
            at = (at + 7919) % 2_000_000
            live[at] = bytes(20 + i % 60)

    return loop


def c_malloc() -> Loop:
    loop: Loop = inside.malloc_loop
    return loop


def c_threads(number: int) -> Loop:
    inside.malloc_threads.argtypes = [ctypes.c_long, ctypes.c_int]
    return lambda count: inside.malloc_threads(count, number)


def numpy_arrays() -> Loop:
    import numpy  # type: ignore[import-not-found]
    column = numpy.arange(2000, dtype=float)

    def loop(count: int) -> None:
        for i in range(count):
            rows = numpy.outer(column[:40], column[:50]) + i
            both = numpy.concatenate([rows.ravel(), column])
            sums = (both * 2.0 - column.mean()).reshape(40, -1).sum(axis=0)
            numpy.sort(sums).tolist()

    return loop


WORKLOADS: dict[str, Callable[[], Loop]] = {
    "tornado_http": tornado_http, "json": json_both, "deepcopy": deepcopy, "async_tree": async_tree, "churn": churn,
    "live_2_million": live_heap, "c_malloc": c_malloc, "numpy": numpy_arrays,
    **{"churn_%d_threads" % number: functools.partial(churn_threads, number) for number in THREADS},
    **{"c_%d_threads" % number: functools.partial(c_threads, number) for number in THREADS},
}


def peak_kib() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def run(loop: Loop, loops: int) -> tuple[float, float]:
    """Short, and called from a short one: a long frame under the workload costs those who search its line table more than usual."""
    cpu, wall = time.process_time(), time.perf_counter()
    loop(loops)
    return time.process_time() - cpu, time.perf_counter() - wall


def stretch(loop: Loop, loops: int) -> None:
    cpu, wall = run(loop, loops)
    told = {"cpu": cpu, "wall": wall, "peak": peak_kib()}
    os.write(1, json.dumps(told).encode() + b"\n")


def measure(name: str, loops: str, warm: int) -> None:
    start(os.environ.get("BENCH_START", ""))
    loop = WORKLOADS[name]()
    loop(warm)
    gc.collect()
    gc.freeze()  # what was there before is not looked through now and then, here in one run and there in another
    if loops == "turns":
        for line in sys.stdin:
            stretch(loop, int(line))
    else:
        inside.mark()
        stretch(loop, int(loops))
    inside.end()


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
