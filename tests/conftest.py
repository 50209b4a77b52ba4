# SPDX-License-Identifier: MIT
"""Which interpreters a test runs on, where the build is, and what the summary says of both.

A test that takes `python` runs once for each interpreter that tests/pythons/find.py finds; one that is
marked `few` only for the oldest, the system's, the newest and the free-threaded; one marked `wheels` for
those that all packages of requirements-more.txt have wheels for. `--pythons` narrows each. The
interpreters of 3.8 to 3.15 that are not there are named at the end of the run, so that a green run
never says more than it tested.
"""
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "pythons"), str(HERE / "e2e"), str(HERE.parent / "tools")]
for name in [name for name in os.environ if name.startswith("MPROFILE")
             and name not in ("MPROFILE_BUILD", "MPROFILE_PYTHONS", "MPROFILE_TEST_PYTHONS", "MPROFILE_PROGRAMS",
                              "MPROFILE_TEST_LIMIT")]:
    del os.environ[name]

import find  # noqa: E402
import harness  # noqa: E402

PYTHONS: List[harness.Python] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pythons", default="all", metavar="all|few|VERSION,...",
                     help="all (each its tests say), few (a representative few for every test), or versions"
                          " as 3.11, 3.13.0, 3.13t")


def representative(pythons: List[harness.Python]) -> List[harness.Python]:
    """The oldest, the system's, the newest, and a free-threaded one: few, and unlike each other."""
    with_gil = [python for python in pythons if not python.free_threaded]
    chosen = with_gil[:1] + [python for python in pythons if python.path.startswith("/usr/bin/")][:1]
    chosen += with_gil[-1:] + [python for python in pythons if python.free_threaded][:1]
    return [python for python in pythons if python in chosen]


def with_wheels(pythons: List[harness.Python]) -> List[harness.Python]:
    """The oldest and the newest that all packages of requirements-more.txt have wheels for, one build of each."""
    chosen = {}
    for python in pythons:
        if python.minor_name in ("3.11", "3.14") and not python.facts["debug"]:
            if python.minor not in chosen or python.path.startswith("/usr/bin/"):
                chosen[python.minor] = python
    return list(chosen.values())


def pytest_configure(config: pytest.Config) -> None:
    builds = {}  # of one build that was unpacked twice, the one with a shared library to embed
    for facts in find.find():
        build = facts["build"], facts["shared"], facts["free_threaded"], facts["debug"]
        if build not in builds or (facts["shared_library"] and not builds[build]["shared_library"]):
            builds[build] = facts
    PYTHONS[:] = [harness.Python.from_facts(facts) for facts in builds.values()]
    asked = config.getoption("--pythons")
    if asked == "few":
        PYTHONS[:] = representative(PYTHONS)
    elif asked != "all":
        wanted = asked.split(",")
        PYTHONS[:] = [python for python in PYTHONS
                      if any(python.version == word or python.minor_name == word for word in wanted)]
    if not PYTHONS:
        raise pytest.UsageError("no interpreter found: see tests/pythons/find.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "python" not in metafunc.fixturenames:
        return
    pythons = PYTHONS
    if metafunc.definition.get_closest_marker("few") is not None:
        pythons = representative(PYTHONS)
    if metafunc.definition.get_closest_marker("wheels") is not None:
        pythons = with_wheels(PYTHONS)
    metafunc.parametrize("python", pythons, ids=[python.name for python in pythons], scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    of_the_build = any("e2e" in item.path.parts for item in items)
    if config.getoption("--collect-only") or not of_the_build:
        return
    for path in (harness.LIBRARY, harness.READER):
        if not path.exists():
            raise pytest.UsageError("%s is not there: build first, or say where in MPROFILE_BUILD" % path)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:  # type: ignore[name-defined]
    terminalreporter.section("interpreters")
    for python in PYTHONS:
        terminalreporter.line("tested: " + find.describe(python.facts))
    there = {python.minor_name for python in PYTHONS}
    for version in find.WANTED:
        if version not in there:
            terminalreporter.line("not tested: %s (no interpreter found)" % version)
    if not any(python.free_threaded for python in PYTHONS):
        terminalreporter.line("not tested: free-threaded (no interpreter found)")


@pytest.fixture(scope="session")
def some_python() -> harness.Python:
    """One interpreter, for what does not depend on which: the system's, else the newest."""
    return ([python for python in PYTHONS if python.path.startswith("/usr/bin/")] or PYTHONS)[-1]


@pytest.fixture
def run(tmp_path: Path) -> "Callable[..., harness.Running]":
    """Starts programs under the profiler, in a folder of their own, and ends those that are left."""
    started: List[harness.Running] = []

    def start(*args: object, **keywords: object) -> harness.Running:
        keywords.setdefault("cwd", tmp_path)
        program = harness.Running(*args, **keywords)  # type: ignore[arg-type]
        started.append(program)
        return program

    yield start  # type: ignore[misc]
    for program in started:
        program.kill()


def installed(python: harness.Python, requirements: str) -> Path:
    """A folder of the packages of a file of requirements for an interpreter; made once, kept in the cache.

    One pip, that of the Python that runs pytest, installs for all of them: Debian's newer interpreters
    have none. It would judge environment markers by itself, so they are judged here.
    """
    from packaging.requirements import Requirement

    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    root = Path(os.environ.get("MPROFILE_PROGRAMS") or os.path.join(cache, "mprofile", "programs"))
    wanted = [Requirement(line) for line in (HERE / requirements).read_text().splitlines()
              if line.strip() and not line.startswith("#")]
    minor = "%d.%d" % python.minor
    marker_facts = {"python_version": minor, "python_full_version": python.version,
                    "implementation_name": "cpython"}
    pins = ["%s%s" % (one.name, one.specifier) for one in wanted
            if one.marker is None or one.marker.evaluate(marker_facts)]
    abi = "t" if python.free_threaded else ""
    where = root / (minor + abi + "-" + hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12])
    if where.exists():
        return where
    part = where.with_name(where.name + ".part%d" % os.getpid())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    pip += ["--no-compile", "--target", str(part), "--python-version", minor, "--only-binary=:all:"]
    done = subprocess.run(pip + pins, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    if python.free_threaded:  # whose objects have another shape: tornado runs without its speed-ups
        for extension in part.rglob("*.abi3.so"):
            extension.unlink()
    try:
        part.rename(where)
    except OSError:  # another run was quicker
        assert where.exists()
    return where


@pytest.fixture(scope="session")
def programs() -> "Callable[[harness.Python], Path]":
    """The packages of requirements-programs.txt, which every interpreter can have."""
    return lambda python: installed(python, "requirements-programs.txt")


@pytest.fixture(scope="session")
def more() -> "Callable[[harness.Python], Path]":
    """The packages of requirements-more.txt; for tests that are marked `wheels`."""
    return lambda python: installed(python, "requirements-more.txt")
