# SPDX-License-Identifier: MIT
"""CPython's own tests of tracemalloc pass with mprofile in its place: see tests/api/tracemalloc_suite."""
from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
from typing import Any

import pytest
from harness import ROOT, Python

PATH = ROOT / "tests" / "api" / "tracemalloc_suite"


@pytest.fixture(scope="module")
def suite() -> Any:
    loader = importlib.machinery.SourceFileLoader("tracemalloc_suite", str(PATH))
    spec = importlib.util.spec_from_loader("tracemalloc_suite", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("way", ["preloaded", "imported"])
def test_tracemalloc_suite(suite: Any, python: Python, way: str) -> None:
    there = [python.path, "-c", "import test.test_tracemalloc"]
    if subprocess.run(there, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("this Python came without its tests")
    assert suite.judge(suite.outcomes(python.path, way)) == []


def test_the_list_of_exceptions_is_short(suite: Any) -> None:
    listed = suite.exceptions()
    assert 0 < len(listed) < 12
    assert all(len(why) > 20 for _, why in listed.values())
