# SPDX-License-Identifier: MIT
"""Servers with workers, unchanged: they answer, they use the dump signal as they always did, and each worker's snapshot
has what that worker keeps.

The applications are tests/programs/more/*_app.py: each visit keeps 20,000 bytes at the line marked `# @kept`,
and /count says which process answers and how many visits it had. tests/PROGRAMS.md has the table of programs.
"""
from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict

import pytest
from harness import LIMIT, PROGRAMS, RawFile, by_line, environment, marks, wait_until, write

MORE = PROGRAMS / "more"
VISITS = 200
PAGE = "".join("<li>%d</li>" % number for number in range(20))


class Local(http.client.HTTPConnection):
    """HTTP over a socket in the file system: no port to be taken by somebody else."""

    def __init__(self, path: Path) -> None:
        super().__init__("local", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


def get(path: Path, page: str) -> str:
    connection = Local(path)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return path.exists() and probe.connect_ex(str(path)) == 0


def counts(path: Path, workers: int) -> Dict[int, int]:
    """How many visits each worker had: asked by several at once, which one of them alone does not get to answer."""
    found: Dict[int, int] = {}

    def asked() -> bool:
        found.update(json.loads(said) for said in pool.map(lambda _: get(path, "/count"), range(4 * workers)))
        return len(found) >= workers
    with ThreadPoolExecutor(2 * workers) as pool:
        wait_until(asked, "%d workers to answer" % workers)
    return found


def visit(path: Path, workers: int) -> Dict[int, int]:
    """Visit until each worker had its share; how many each had."""
    counts(path, workers)

    def busy() -> Dict[int, int]:
        with ThreadPoolExecutor(2 * workers) as pool:
            assert set(pool.map(lambda _: get(path, "/"), range(VISITS))) == {PAGE}
        found = counts(path, workers)
        return found if min(found.values()) >= 10 else {}
    found: Dict[int, int] = wait_until(busy, "each worker to have visits")
    return found


def dump_workers(program, path: Path, app: str, found: Dict[int, int], number: int = 1) -> None:
    """Signal each worker: it writes what it keeps, and answers as before."""
    for pid in found:
        os.kill(pid, signal.SIGUSR2)
    line = marks((MORE / app).read_text())["kept"]
    for pid, count in found.items():
        snapshot = program.wait_for(program.path(number, pid))
        row = by_line(snapshot)[app, line]
        assert abs(row.size - 20033 * count) <= 4 * row.error + 400, (pid, count, row)
        assert not [key for key in RawFile(snapshot).head if key.startswith("lost.")]
    assert set(counts(path, len(found))) == set(found)  # the same processes
    assert get(path, "/") == PAGE


def gone(pid: int) -> bool:
    try:
        return ") Z " in Path("/proc/%d/stat" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.network
@pytest.mark.wheels
@pytest.mark.parametrize("app, worker", [("flask_app", "sync"), ("flask_app", "gthread"), ("flask_app", "gevent"),
                                         ("django_app", "gthread")])
def test_gunicorn(python, run, more, tmp_path, app, worker):
    """A worker dumps; the master dumps too, and does what it does with that signal: it starts its successor."""
    path, note = tmp_path / "socket", tmp_path / "pid"
    command = more(python) / "bin" / "gunicorn"  # not -m: the successor would find gunicorn's http for the library's
    program = run(python, argv=[command, "-w", "2", "-k", worker, "-b", "unix:%s" % path, "--pid", note,
                                "--log-level", "warning", app + ":app"],
                  env={"PYTHONPATH": "%s:%s" % (more(python), MORE), "MPROFILERATE": "16k",
                       "PYTHONDONTWRITEBYTECODE": ""})
    wait_until(lambda: listens(path), "gunicorn to listen")
    found = visit(path, 2)
    dump_workers(program, path, app + ".py", found)
    dump_workers(program, path, app + ".py", counts(path, 2), 2)

    program.dump()
    successor = tmp_path / "pid.2"
    wait_until(lambda: successor.exists() and successor.read_text().endswith("\n"), "the master's successor")
    second = int(successor.read_text())
    assert second != program.pid
    workers = set(counts(path, 4))
    assert set(found) < workers and get(path, "/") == PAGE
    program.signal(signal.SIGTERM)
    assert program.process.wait(LIMIT) == 0  # its successor has its standard output, too
    try:
        wait_until(lambda: note.exists() and int(note.read_text() or 0) == second, "the successor to take over")
        new = counts(path, 2)
        assert set(new) == workers - set(found)
        for pid in new:
            os.kill(pid, signal.SIGUSR2)
            snapshot = program.path(1, pid)
            wait_until(snapshot.exists, "a snapshot of the successor's worker")
            RawFile(snapshot)
    finally:
        os.kill(second, signal.SIGTERM)
    wait_until(lambda: gone(second), "the successor's end")
    assert program.stderr == "" and program.stdout == ""


@pytest.mark.network
@pytest.mark.wheels
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_uvicorn(python, run, more, tmp_path, loop):
    """A supervisor that spawns its workers, on either event loop; it ends by the signal that ended it, as ever."""
    path = tmp_path / "socket"
    program = run(python, argv=["-m", "uvicorn", "--uds", path, "--workers", "2", "--loop", loop,
                                "--log-level", "warning", "bare_app:asgi"],
                  env={"PYTHONPATH": "%s:%s" % (more(python), MORE), "MPROFILERATE": "16k",
                       "PYTHONDONTWRITEBYTECODE": ""})
    wait_until(lambda: listens(path), "uvicorn to listen")
    found = visit(path, 2)
    dump_workers(program, path, "bare_app.py", found)
    RawFile(program.dump())
    program.signal(signal.SIGTERM)
    assert program.finish() == 0
    assert program.stderr == "" and program.stdout == ""


@pytest.mark.network
@pytest.mark.wheels
def test_celery(python, run, more, tmp_path):
    """Prefork, with files for a broker: tasks run and fail as they should, each child of the pool has its snapshot.

    Its workers end on USR2, as on most signals, by a handler of their own; so it is asked by another.
    """
    ask = signal.SIGRTMIN + 3
    env = {"PYTHONPATH": "%s:%s" % (more(python), MORE), "C_FORCE_ROOT": "1", "PYTHONDONTWRITEBYTECODE": ""}
    said, standard_error, status = {}, {}, {}
    for way in ("alone", "profiled"):
        (tmp_path / way).mkdir()
        program = run(python, argv=["-W", "ignore", "-m", "celery", "-A", "celery_app", "worker", "-P", "prefork",
                                    "-c", "2", "--loglevel", "ERROR", "--without-heartbeat", "--without-mingle",
                                    "--without-gossip"],
                      env=dict(env, MPROFILERATE="16k", MPROFILESIGNAL="RTMIN+3"), cwd=tmp_path / way,
                      preload=way == "profiled")
        client = subprocess.run([python.path, str(MORE / "celery_app.py"), "20"], env=environment(env, preload=False),
                                cwd=str(tmp_path / way), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                timeout=LIMIT)
        assert client.returncode == 0, client.stderr + program.stderr
        *results, failed = json.loads(client.stdout)
        found = {pid: max(count for one, count, _ in results if one == pid) for pid, _, _ in results}
        said[way] = [number for _, _, number in results], failed
        if way == "profiled":
            line = marks((MORE / "celery_app.py").read_text())["kept"]
            for pid, count in found.items():
                os.kill(pid, ask)
                row = by_line(program.wait_for(program.path(1, pid)))["celery_app.py", line]
                assert abs(row.size - 200033 * count) <= 4 * row.error + 400
            program.signal(ask)
            RawFile(program.snapshot())
        program.signal(signal.SIGTERM)
        status[way] = program.finish()
        standard_error[way] = normal(program.stderr)
    assert said["alone"] == said["profiled"] and status["alone"] == status["profiled"] == 0
    assert said["alone"] == ([number * number for number in range(20)], "KeyError('nothing there')")
    assert standard_error["profiled"] == standard_error["alone"]


def normal(text: str) -> list:
    """Lines without what differs from run to run: numbers, names, addresses, the order of processes."""
    # Where it was just then.
    text = re.sub(r"\*\*\* backtrace of.*?end of backtrace \*\*\*", "backtrace", text, flags=re.DOTALL)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+", "ID", text)
    return sorted(re.sub(r"[0-9]+", "N", line) for line in text.splitlines())


def test_uwsgi(run, tmp_path):
    """Debian's: a C program that loads libpython with a plugin. Its workers have a handler for the signal: they say
    what they do."""
    assert shutil.which("uwsgi"), "tests/setup installs it"
    said = {}
    for way in ("alone", "profiled"):
        (tmp_path / way).mkdir()
        path = tmp_path / way / "socket"
        program = run(argv=["uwsgi", "--plugins", "python3", "--http-socket", path, "--wsgi-file", MORE / "bare_app.py",
                            "--master", "--processes", "2", "--die-on-term", "--disable-logging", "--need-app"],
                      env={"MPROFILERATE": "16k"}, cwd=tmp_path / way, preload=way == "profiled")
        wait_until(lambda: listens(path), "uwsgi to listen")
        found = visit(path, 2)
        if way == "profiled":
            dump_workers(program, path, "bare_app.py", found)
        else:
            for pid in found:
                os.kill(pid, signal.SIGUSR2)
        wait_until(lambda: program.stderr.count("end of backtrace") >= 2, "both workers to say what they do")
        program.signal(signal.SIGTERM)
        assert program.finish() == 0
        said[way] = [line.replace("/" + way, "") for line in normal(program.stderr)]
    assert said["profiled"] == said["alone"]


def test_a_notebook_kernel(tmp_path):
    """ipykernel in the Python that runs the tests, preloaded: the signal writes a snapshot with the cell's line."""
    from test_api_hosts import settings
    client = write(tmp_path / "client.py", """
        import json, os, signal, sys, time
        from jupyter_client.manager import start_new_kernel

        CELLS = ["import os, threading; print(os.getpid())",
                 "kept = []\\nfor _ in range(500):\\n    kept.append(bytearray(20000))",
                 "1 / 0", "print(threading.active_count() > 1, len(kept))"]
        said = []
        def hook(message):
            said.append(message["content"].get("text") or message["content"].get("ename") or "")
        manager, client = start_new_kernel(kernel_name="python3", env=json.loads(sys.argv[1]),
                                           cwd=sys.argv[2])
        for cell in CELLS:
            client.execute_interactive(cell, output_hook=hook, timeout=60)
        pid = int("".join(said).split()[0])
        os.kill(pid, signal.SIGUSR2)
        path = os.path.join(sys.argv[2], "mprofile.%d.1.bin" % pid)
        end = time.monotonic() + 60
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        client.execute_interactive("print('still', sum(map(len, kept)))", output_hook=hook, timeout=60)
        client.stop_channels()
        manager.shutdown_kernel()
        print(json.dumps(["".join(said), path]))
    """)
    kernel = dict(settings("preloaded"), HOME=str(tmp_path), IPYTHONDIR=str(tmp_path),
                  JUPYTER_RUNTIME_DIR=str(tmp_path), MPROFILERATE="16k")
    done = subprocess.run([sys.executable, str(client), json.dumps(kernel), str(tmp_path)],
                          env=settings("imported"), cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    said, snapshot = json.loads(done.stdout.splitlines()[-1])
    assert "ZeroDivisionError" in said and "True 500" in said and "still 10000000" in said
    rows = by_line(Path(snapshot))
    (cell,) = [row for (file, line), row in rows.items() if line == 3 and row.size > 5e6]
    assert abs(cell.size - 500 * 20033) <= 4 * cell.error + 400
