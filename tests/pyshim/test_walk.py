# SPDX-License-Identifier: MIT
"""The walk, the line tables, the strings and the layouts, inside every interpreter that is found.

A driver (walk_driver.c, without CPython's headers) is built once and loaded into each interpreter,
where the scripts inside_*.py compare it with what the interpreter itself says. One Python with
pytest runs this; the interpreters need nothing. Which they are: tests/pythons/find.py; narrow with
-k 3.13t. MPROFILE_TEST_MODULES: how many files of the standard library are compared (0: all).
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "pythons"))

import find  # noqa: E402

Facts = Dict[str, Any]
SOURCES = ["tests/pyshim/walk_driver.c", "tests/pyshim/alloc_hook.c", "pyshim/layout.c", "pyshim/lines.c",
           "pyshim/text.c", "pyshim/validate.c", "pyshim/walk.c"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Wvla", "-Wundef", "-Werror"]

# What inside_golden.py must show, nearest frame first, in every version.
MODULE = ("<module>", 81)
GOLDEN = {
    "class body": [("Klass", 48), ("<module>", 47)],
    "function": [("function", 24), ("main", 65), MODULE],
    "generator": [("generator", 29), ("outer", 33), ("main", 66), MODULE],
    "closure": [("inner", 38), ("main", 67), MODULE],
    "property": [("value", 55), ("__init__", 51), ("__call__", 44), ("main", 68), MODULE],
    "comprehension": [("<listcomp>", 69), ("main", 69), MODULE],  # the first not from 3.12 on: inlined
    "callback": [("<lambda>", 71), ("main", 70), MODULE],
    "coroutine": [("inner", 60), ("coroutine", 61), ("main", 74), MODULE],
    "except": [("main", 76), MODULE],
    "finally": [("main", 78), MODULE],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "interpreter" in metafunc.fixturenames:
        found = find.find()
        names = [short_name(facts) + "-" + str(i) for i, facts in enumerate(found)]
        metafunc.parametrize("interpreter", found, ids=names)


def short_name(facts: Facts) -> str:
    kind = "t" if facts["free_threaded"] else ""
    return facts["version"] + kind + ("-shared" if facts["shared"] else "-static")


def table_name(facts: Facts) -> str:
    return "3.%d%s" % (facts["minor"][1], "t" if facts["free_threaded"] else "")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("driver") / "driver.so"
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-shared", "-fPIC", *WARNINGS, "-I."]
    command += ["-o", str(library), *SOURCES, "-ldl"]
    subprocess.run(command, cwd=TOP, check=True)
    return library


def run_inside(facts: Facts, script: str, *args: object) -> Any:
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith(("PYTHON", "MPROFILE")) and key != "LD_PRELOAD"}
    clean["PYTHONIOENCODING"] = "utf-8"
    done = subprocess.run([facts["path"], "-B", str(HERE / script), *map(str, args)], env=clean, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    return json.loads(done.stdout)


def expect_right(result: Any, **at_least: int) -> None:
    assert result["wrong"] == []
    for name, count in at_least.items():
        assert result["counts"][name.replace("_", " ")] >= count, result["counts"]


def test_frames_of_every_kind(interpreter: Facts, driver: Path) -> None:
    expect_right(run_inside(interpreter, "inside_cases.py", driver), depth=7000, traceback=7000, deep=1,
                 stacks_watched=10000)


def test_in_the_middle_of_an_instruction(interpreter: Facts, driver: Path) -> None:
    expect_right(run_inside(interpreter, "inside_allocs.py", driver), allocation=500)


def test_lines_and_strings(interpreter: Facts, driver: Path) -> None:
    modules = os.environ.get("MPROFILE_TEST_MODULES", "300")
    result = run_inside(interpreter, "inside_lines.py", driver, modules)
    expect_right(result, modules=250, instructions=500000)


def test_known_stacks(interpreter: Facts, driver: Path) -> None:
    stacks = run_inside(interpreter, "inside_golden.py", driver)["stacks"]
    golden = {label: [list(frame) for frame in stack] for label, stack in GOLDEN.items()}
    if interpreter["minor"] >= [3, 12]:
        del golden["comprehension"][0]
    assert stacks == golden


def test_validation(interpreter: Facts, driver: Path) -> None:
    """Its own table is accepted; any other of a version that publishes its offsets is not."""
    validation = run_inside(interpreter, "inside_golden.py", driver)["validation"]
    own = table_name(interpreter)
    assert validation[own] == [None, 1]
    for name, (said, stack) in validation.items():
        published = int(name.split(".")[1].rstrip("t")) >= 13
        assert name == own or not published or said is not None, name
        # Some tables are the same but for what they say of themselves.
        alike = {name, own} <= {"3.8", "3.9", "3.10"} or {name, own} <= {"3.14", "3.15"}
        assert name == own or stack < 1 or alike, name


def table_body(text: str) -> List[str]:
    return [line for line in text.splitlines() if "printed from the headers of" not in line]


def test_tables_are_what_the_headers_say(interpreter: Facts) -> None:
    include = Path(interpreter["include"])
    minor = interpreter["minor"][1]
    if not (include / "internal" / "pycore_pystate.h").exists():
        pytest.skip("no headers")
    kinds = [["free-threaded"]] if interpreter["free_threaded"] else [[], ["free-threaded"]][:1 + (minor >= 13)]
    for kind in kinds:
        done = subprocess.run([str(TOP / "pyshim/layouts/generate.sh"), str(include), *kind],
                              stdout=subprocess.PIPE, check=True, universal_newlines=True)
        name = "py3%02d%s.inc" % (minor, "t" if kind else "")
        assert table_body(done.stdout) == table_body((TOP / "pyshim/layouts" / name).read_text()), name
