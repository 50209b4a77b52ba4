# SPDX-License-Identifier: MIT
"""Whatever serves Python's memory, and at whatever rate, the picture is the same.

PYTHONMALLOC and -X dev put their own allocators in place after the library is there; it has to come
back on top of them, and the sizes it counts are those that were asked, without the debug layer's own.
"""
from __future__ import annotations

import subprocess

import known
import pytest
from harness import RawFile, by_line, environment, raw_by_line

MODES = {
    "malloc": ({"PYTHONMALLOC": "malloc"}, []),
    "debug": ({"PYTHONMALLOC": "debug"}, []),
    "malloc_debug": ({"PYTHONMALLOC": "malloc_debug"}, []),
    "pymalloc": ({"PYTHONMALLOC": "pymalloc"}, []),
    "pymalloc_debug": ({"PYTHONMALLOC": "pymalloc_debug"}, []),
    "dev": ({}, ["-X", "dev"]),
    "isolated": ({}, ["-I"]),
    "utf8": ({}, ["-X", "utf8"]),
    "tracemalloc": ({}, ["-X", "tracemalloc=1"]),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(python, run, mode):
    env, options = MODES[mode]
    alone = subprocess.run([python.path, *options, "-c", ""], env=environment(env, preload=False),
                           stderr=subprocess.PIPE)
    if alone.returncode != 0:
        pytest.skip("this interpreter refuses %s" % mode)
    for rate, number in (("1", 1), ("16k", 16 * 1024)):
        program, truths = known.start(run, python, rate, scale=8, env=env, options=options)
        path = program.dump()
        assert program.finish() == 0 and program.stderr == ""
        # tracemalloc's own tables, a record for each block, are raw memory of the line that makes them grow.
        lines = by_line(path) if mode != "tracemalloc" else raw_by_line(RawFile(path), domains=(1, 2))
        for truth in truths:
            estimate = lines[truth.key].size if truth.key in lines else 0.0
            truth.check(estimate, number)
        assert RawFile(path).head["rate"] == str(number)


@pytest.mark.parametrize("rate, number", [("0", 0), ("1", 1), ("4k", 4096), ("4096", 4096), ("128k", 131072),
                                          ("1m", 1 << 20), ("64K", 65536)])
@pytest.mark.few
def test_rates(python, run, rate, number):
    program, truths = known.start(run, python, rate, scale=2)
    path = program.dump()
    assert program.finish() == 0 and program.stderr == ""
    raw = RawFile(path)
    assert raw.head["rate"] == str(number)
    lines = by_line(path)
    for truth in truths:
        truth.check(lines[truth.key].size if truth.key in lines else 0.0, number)


@pytest.mark.few
def test_default_rate(python, run):
    program = run(python, "print('ready', flush=True); input()\n")
    program.ready()
    raw = RawFile(program.dump())
    assert raw.head["rate"] == str(128 * 1024) and raw.head["frames"] == "128"


@pytest.mark.parametrize("rate, allocator, free", [("128k", None, "unhooked"), ("16k", None, "unhooked"),
                                                   ("4k", None, "hooked"), ("128k", "debug", "hooked")])
def test_free_of_python_objects(python, run, rate, allocator, free):
    """Where pymalloc serves, and the rate is not fine, the most frequent event in the process costs nothing."""
    env = {"MPROFILERATE": rate, **({"PYTHONMALLOC": allocator} if allocator else {})}
    program = run(python, "print('ready', flush=True); input()\n", env=env)
    program.ready()
    head = RawFile(program.dump()).head
    if python.free_threaded:
        assert head["python.alloc"].startswith("mimalloc") and head["python.free"] == "hooked"
    else:
        assert head["python.alloc"] == ("pymalloc_debug" if allocator else "pymalloc")
        assert head["python.free"] == free


@pytest.mark.few
def test_off_records_nothing(python, run):
    """`off` waits for mprofile.start(); the program runs as if alone."""
    program, _ = known.start(run, python, "off", scale=8)
    program.say("")
    assert program.finish() == 0 and program.stderr == ""
