# SPDX-License-Identifier: MIT
"""What tests/suite calls a difference, and what flaky; and a part of CPython's own tests, without and with the library."""
from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
from harness import BUILD, ROOT, environment

pytest.importorskip("tomllib")
loader = importlib.machinery.SourceFileLoader("suite", str(ROOT / "tests" / "suite"))
sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
suite: Any = importlib.util.module_from_spec(importlib.util.spec_from_loader("suite", loader))  # type: ignore[arg-type]
sys.modules["suite"] = suite  # its dataclasses look there
loader.exec_module(suite)
sys.dont_write_bytecode = kept


def run(whole: str = "passed", **cases: str) -> Any:
    return suite.Run(outcomes={**cases, suite.WHOLE: whole})


def compare(bare: List[Any], ours: List[Any]) -> Dict[str, Any]:
    one = suite.Suite(argparse.Namespace(rates=["1"], logs=None), SimpleNamespace(version="3.11.2"))
    return {found.case: found for found in one.compare("test_x", {suite.BARE: bare, "1": ours})}


def test_a_case_that_differs():
    found = compare([run(a="passed", b="failed", whole="failed")], [run("failed", a="skipped", b="failed")])
    assert list(found) == ["a"] and not found["a"].flaky
    assert list(compare([run(a="passed")], [run("failed", a="failed")])) == ["a"]
    assert list(compare([run(a="passed", b="passed")], [run(a="passed")])) == ["b"]
    assert compare([run(a="passed")], [run(a="passed")]) == {}


def test_flaky_is_only_what_changes_without_us():
    found = compare([run(a="passed"), run(a="passed")], [run("failed", a="failed"), run(a="passed")])
    assert not found["a"].flaky
    found = compare([run(a="passed"), run("failed", a="failed")], [run("failed", a="failed"), run(a="passed")])
    assert found["a"].flaky


def test_a_module_that_does_not_end():
    found = compare([run(a="passed")], [run("died of SIGSEGV")])
    assert list(found) == [suite.WHOLE]
    assert compare([run(suite.OVER_TIME)], [run(suite.OVER_TIME)]) == {}
    assert list(compare([run(a="passed")], [run("environment changed", a="passed")])) == [suite.WHOLE]


def test_names():
    known = ["test_mmap", "test_multiprocessing_fork", "test.test_multiprocessing_fork.test_misc",
             "test.test_multiprocessing_forkserver.test_misc"]
    assert suite.chosen(known, ["test_multiprocessing_fork", "test_x"]) == (known[1:3], ["test_x"])
    assert suite.chosen(known, ["test_m*"])[0] == known


def test_expected():
    one = suite.Difference("test_x", "1", "test.test_x.A.test_a", ["passed"], ["skipped"])
    python = SimpleNamespace(names={"3.13t", "3.13.1t"})
    row = {"case": "test.test_x.*", "reason": "so"}
    reason = suite.expected_reason
    assert reason([row], python, one) == "so"
    for key, good, bad in (("pythons", "3.13t", "3.13"), ("rates", "1", "4k"), ("outcomes", "skipped", "failed")):
        assert reason([{**row, key: [good]}], python, one) == "so" and reason([{**row, key: [bad]}], python, one) is None


def test_a_case_that_fails_in_subtests_only():
    one = run(b="passed")
    suite.read_subtests("""
======================================================================
FAIL: test_a (test.test_x.A.test_a) (name='malloc')
----------------------------------------------------------------------
Traceback (most recent call last):
AssertionError: 1 != 2

======================================================================
ERROR: test_c (test.test_x.A)
----------------------------------------------------------------------
OSError
""", one)
    assert one.outcomes["test.test_x.A.test_a"] == "failed" and "1 != 2" in one.words["test.test_x.A.test_a"]
    assert one.outcomes["test.test_x.A.test_c"] == "error" and one.outcomes["b"] == "passed"


@pytest.mark.few
def test_the_same_cases_pass(python):
    """tests/suite_few.txt at a fine rate; the rest of it is tests/suite_selection.txt, by hand."""
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "suite"), python.path, "--selection", str(ROOT / "tests" / "suite_few.txt"), "--rates", "4k"],
                          env=environment({"MPROFILE_BUILD": str(BUILD)}, preload=False), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=1800)
    if done.returncode == 2 and "its test package is not installed" in done.stdout:
        pytest.skip("this Python came without its tests")
    assert done.returncode == 0, done.stdout
    assert " 0 modules" not in done.stdout and "0 cases differ" in done.stdout
