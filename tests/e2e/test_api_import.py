# SPDX-License-Identifier: MIT
"""What importing mprofile does by itself: with MPROFILERATE, in the commands, without the library; and 0.0.15's ways."""
from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from harness import LIMIT, ROOT, Python, environment, write
from test_api import execute, said, settings, way_in

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
