# SPDX-License-Identifier: MIT
"""Where people work: in pytest, in a notebook's kernel, under a debugger."""
from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness import LIMIT, Python, write
from test_api import execute, settings, way_in


@way_in
def test_in_pytest(tmp_path: Path, way: str) -> None:
    """Starting, asking and stopping in tests, and pytest's own rewriting of assertions."""
    write(tmp_path / "test_app.py", """
        import mprofile, pytest

        @pytest.fixture
        def profile():
            mprofile.start(sample_rate=1)
            yield mprofile
            mprofile.stop()

        def test_one(profile):
            kept = bytes(100000)
            assert profile.get_object_traceback(kept)[-1].name == "test_one"
            assert profile.get_traced_memory()[0] >= 100000

        def test_two(profile):
            first = profile.take_snapshot()
            kept = [bytes(1000) for _ in range(100)]
            top = profile.take_snapshot().compare_to(first, "lineno")
            assert any(one.traceback[0].filename == __file__ and one.size_diff >= 100000 for one in top)

        def test_three():
            assert not mprofile.is_tracing()
            with pytest.raises(RuntimeError):
                mprofile.take_snapshot()
    """)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_app.py"],
                          env=settings(way), cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=LIMIT)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


@pytest.mark.few
@way_in
def test_under_a_debugger(python: Python, tmp_path: Path, way: str) -> None:
    """settrace, monitoring and pdb are the program's: stacks are the same, and nothing is disturbed."""
    execute(python, """
        import bdb, io, pdb, sys, mprofile

        def work():
            kept = [bytes(2000) for _ in range(50)]
            where = mprofile.get_object_traceback(kept[7])
            return kept, [frame.name for frame in where if frame.filename == __file__]

        class Tracer(bdb.Bdb):
            lines = 0
            def user_line(self, frame):
                self.lines += 1
                self.set_step()

        mprofile.start()
        kept, plain = work()
        tracer = Tracer()
        result = []
        tracer.runcall(lambda: result.append(work()))
        assert tracer.lines > 50
        assert [name for name in result[0][1] if name != "<lambda>"] == plain, (result[0][1], plain)
        events = []
        def trace(frame, event, arg):
            events.append(event)
            return trace
        sys.settrace(trace)
        again = work()[1]
        sys.settrace(None)
        assert again == plain and "line" in events
        said = io.StringIO()
        typed = ["break work", "continue", "where", "next", "next", "print(mprofile.is_tracing())", "continue", ""]
        debugger = pdb.Pdb(stdin=io.StringIO("\\n".join(typed)), stdout=said, nosigint=True)
        debugger.use_rawinput = False
        debugger.runcall(work)
        assert "True" in said.getvalue(), said.getvalue()
        statistics = mprofile.take_snapshot().statistics("lineno")
        assert [one for one in statistics if one.traceback[0].filename == __file__]
    """, tmp_path, way)


@pytest.mark.few
@way_in
def test_in_an_interactive_session(python: Python, tmp_path: Path, way: str) -> None:
    """Lines that are typed, of files that are none, one of which fails."""
    execute(python, """
        import code, contextlib, io, sys

        lines = ["import mprofile", "mprofile.start()", "kept = [bytes(5000) for _ in range(10)]", "1 / 0",
                 "rows = mprofile.take_snapshot().statistics('lineno')",
                 "row = [one for one in rows if one.traceback[0].filename == '<console>'][0]",
                 "where = mprofile.get_object_traceback(kept[3])", "print(where[-1], len(where.format()))",
                 "print('size', row.size)", "mprofile.stop()"]
        console = code.InteractiveConsole()
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            for line in lines:
                assert not console.push(line)
        assert "ZeroDivisionError" in out.getvalue()
        assert "<console>:1" in out.getvalue() and "size 5" in out.getvalue(), out.getvalue()
    """, tmp_path, way)


@way_in
def test_in_a_notebook_kernel(tmp_path: Path, way: str) -> None:
    """ipykernel in the Python that runs the tests, if it is there: cells, threads of the kernel, an error."""
    for name in ("ipykernel", "jupyter_client"):
        if importlib.util.find_spec(name) is None:
            pytest.skip("no %s in the Python that runs the tests" % name)
    client = write(tmp_path / "client.py", """
        import json, sys
        from jupyter_client.manager import start_new_kernel

        CELLS = ["import mprofile; mprofile.start(sample_rate=1)",
                 "kept = [bytes(5000) for _ in range(100)]",
                 "1 / 0",
                 "snapshot = mprofile.take_snapshot()",
                 "where = mprofile.get_object_traceback(kept[3])",
                 "top = snapshot.statistics('lineno')[0]",
                 "print('size', top.size, where[-1].lineno, where[-1].name in ('<module>', '<listcomp>'))",
                 "mprofile.stop(); print('stopped', mprofile.is_tracing())"]
        manager, client = start_new_kernel(kernel_name="python3", env=json.loads(sys.argv[1]))
        said = []
        def hook(message):
            said.append(message["content"].get("text") or message["content"].get("ename") or "")
        for cell in CELLS:
            client.execute_interactive(cell, output_hook=hook, timeout=60)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        print(json.dumps(said))
    """)
    kernel = dict(settings(way), HOME=str(tmp_path), IPYTHONDIR=str(tmp_path), JUPYTER_RUNTIME_DIR=str(tmp_path))
    done = subprocess.run([sys.executable, str(client), json.dumps(kernel)], env=settings("imported"),
                          cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    said = "".join(json.loads(done.stdout.splitlines()[-1]))
    assert "ZeroDivisionError" in said and "stopped False" in said and " 1 True" in said, said
    assert int(said.split("size ")[1].split()[0]) >= 500000
