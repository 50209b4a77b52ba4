# SPDX-License-Identifier: MIT
"""Real programs, unchanged, under the profiler: they do what they did, and the report finds their leak."""
from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys

import pytest
from harness import PROGRAMS, RawFile, by_line, reader, wait_until


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.network
def test_pip_download(python, run, tmp_path):
    if not python.pip:
        pytest.skip("no pip")
    config = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    program = run(python, argv=["-m", "pip", "download", "--quiet", "--no-deps", "--dest", "got", "six==1.16.0"],
                  env={**config, "MPROFILEEXIT": "1", "MPROFILERATE": "16k"})
    status = program.finish(limit=300)
    assert status == 0, program.stderr
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["six-1.16.0-py2.py3-none-any.whl"]
    raw = RawFile(program.path(1))
    files = {frame.file for sample in raw.live for frame in sample.stack}
    assert any("/pip/" in file for file in files)
    assert sum(line.size for line in by_line(program.path(1)).values()) > 2 << 20
    assert "pip" in reader(program.path(1)).stdout


@pytest.mark.network
def test_pip_install(python, run, tmp_path):
    if not python.pip:
        pytest.skip("no pip")
    config = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    program = run(python, argv=["-m", "pip", "install", "--quiet", "--no-deps", "--target", "here", "six==1.16.0"],
                  env={**config, "MPROFILERATE": "4k", "MPROFILEEXIT": "1"})
    assert program.finish(limit=300) == 0, program.stderr
    assert (tmp_path / "here" / "six.py").exists()
    RawFile(program.path(1))


@pytest.mark.network
def test_tornado_under_load(python, run, programs):
    """The leaking handler's line is the first of the report, and the others answered as they should."""
    program = run(python, argv=[PROGRAMS / "leaky_server.py"], args=["--port", "0"],
                  env={"PYTHONPATH": str(programs(python)), "MPROFILERATE": "16k"})
    port = int(program.line().split(":")[-1])
    load = subprocess.run([sys.executable, str(PROGRAMS / "load.py"), "--requests", "600", str(port)],
                          stdout=subprocess.PIPE, check=True)
    done = json.loads(load.stdout.decode())
    assert done["requests"] == 600 and done["failed"] == 0
    path = program.dump()
    kept = int(get(port, "/sessions"))
    assert kept > 100
    rows = sorted(by_line(path).items(), key=lambda row: -row[1].size)
    rows = [row for row in rows if not row[0][0].startswith("<")]  # the modules' code, by way of importlib
    leaks = [row for row in rows if row[0][0] == "leaky_server.py"]
    assert rows[0][0][0] == "leaky_server.py"
    source = (PROGRAMS / "leaky_server.py").read_text().splitlines()
    assert "# the leak" in source[leaks[0][0][1] - 1]
    assert leaks[0][1].size == pytest.approx(kept * 20000, rel=0.3)
    report = reader(path).stdout
    assert "leaky_server.py" in "\n".join(report.splitlines()[:30])
    program.signal(15)
    assert program.finish() == 0 and program.stderr == ""


DJANGO = """\
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.template import Context, Engine
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], USE_TZ=True)
PAGE = Engine().from_string("{% for n in numbers %}<li>{{ n }}</li>{% endfor %}")
KEPT = []

def page(request):
    html = PAGE.render(Context({"numbers": range(20)}))
    KEPT.append(html * 50)  # @leak
    return HttpResponse(html)

urlpatterns = [path("", page)]

class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
print(server.server_port, flush=True)
for _ in range(int(sys.argv[1])):
    server.handle_request()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.network
def test_django_under_load(python, run, programs):
    count = 300
    program = run(python, DJANGO, args=[str(count)],
                  env={"PYTHONPATH": str(programs(python)), "MPROFILERATE": "16k"})
    port = int(program.line())
    pages = {get(port, "/") for _ in range(count)}
    assert len(pages) == 1
    program.ready()
    path = program.dump()
    line = [number for number, text in enumerate(DJANGO.splitlines(), 1) if "# @leak" in text][0]
    true = count * (50 * len(pages.pop()) + 49)
    assert by_line(path)["app.py", line].size == pytest.approx(true, rel=0.2)
    names = {frame.name for sample in RawFile(path).live for frame in sample.stack}
    assert "page" in names
    assert any("django" in frame.file for sample in RawFile(path).live for frame in sample.stack)
    assert program.finish() == 0 and program.stderr == ""


@pytest.mark.network
@pytest.mark.few
def test_tornado_again_and_again(python, run, programs):
    """Two snapshots of a server under load: the leak is what grew."""
    program = run(python, argv=[PROGRAMS / "leaky_server.py"], args=["--port", "0"],
                  env={"PYTHONPATH": str(programs(python)), "MPROFILERATE": "16k"})
    port = int(program.line().split(":")[-1])
    sizes = []
    for number in (1, 2):
        subprocess.run([sys.executable, str(PROGRAMS / "load.py"), "--requests", "300", str(port)],
                       stdout=subprocess.DEVNULL, check=True)
        lines = by_line(program.dump(number))
        sizes.append({key: line.size for key, line in lines.items()})
    grown = max(sizes[1], key=lambda key: sizes[1][key] - sizes[0].get(key, 0.0))
    assert grown[0] == "leaky_server.py"
    wait_until(lambda: get(port, "/sessions"), "an answer after all that")
