# SPDX-License-Identifier: MIT
"""tests/soak: a short run of it holds, and each of its judgements says no where it has to."""
from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest
from harness import ROOT

SOAK = ROOT / "tests" / "soak"
loader = importlib.machinery.SourceFileLoader("soak", str(SOAK))
sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
soak: Any = importlib.util.module_from_spec(importlib.util.spec_from_loader("soak", loader))  # type: ignore[arg-type]
sys.modules["soak"] = soak  # its dataclasses look there
loader.exec_module(soak)
sys.dont_write_bytecode = kept


def run_soak(python, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(SOAK), python.path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, timeout=600)


@pytest.mark.few
def test_a_quarter_of_a_minute(python, tmp_path):
    done = run_soak(python, "--minutes", "0.25", "--requests", "30", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(line.strip("| ").split(" | ", 1) for line in done.stdout.splitlines() if line.count(" | ") == 1 and line != "| | |")
    assert rows["interpreter"].startswith(python.version)
    assert rows["crashes"] == rows["hangs"] == rows["missing otherwise"] == rows["faults"] == "0"
    asked, valid, invalid = map(int, rows["snapshots asked / valid / invalid"].split(" / "))
    assert valid + int(rows["missing, for a worker was leaving"]) == asked and invalid == 0 and valid > 10
    assert "kept " in rows["known lines"] and int(rows["requests"]) > 50 and int(rows["workers forked"]) >= 3
    assert done.stdout.splitlines()[-1] == "all of it held"


def test_a_worker_that_aborts_is_a_fault(some_python):
    done = run_soak(some_python, "--minutes", "0.1", "--workers", "2", "--mix", "json,abort")
    assert done.returncode == 1
    assert "died of SIGABRT" in done.stdout, done.stdout + done.stderr


def test_the_end_of_a_worker():
    assert soak.status_fault(7 << 8, 7) is None
    assert soak.status_fault(0, 7) == "ended with status 0"
    assert soak.status_fault(11, 7) == "died of SIGSEGV"


def test_growth():
    assert soak.grew("own", [100, 900 * soak.KIB, 1020 * soak.KIB]) is None
    assert "own grew" in soak.grew("own", [100, 900 * soak.KIB, 1021 * soak.KIB])
    assert "descriptors grew from 5 to 8" in soak.grew("descriptors", [5, 5, 8])
    assert "not seen" in soak.grew("rss", [0, 0, 5])
    leak = [(second, 1000 * soak.KIB + 250.0 * second) for second in range(1800)]  # bytes a second
    assert soak.grew("own", soak.thirds(leak, 0, 1800, max)) is not None
    seldom = [(second, 1000 * soak.KIB + 50 * soak.KIB * (second % 100 == 0)) for second in range(1800)]
    assert soak.grew("own", soak.thirds(seldom, 0, 1800, max)) is None


def test_a_snapshot_that_is_missing():
    assert soak.missing_fault(asked=99.0, leaving=100.0) is None and soak.missing_fault(asked=101.0, leaving=100.0) is None
    assert soak.missing_fault(asked=90.0, leaving=100.0) and soak.missing_fault(asked=90.0, leaving=None)


def test_a_figure():
    assert soak.figure_fault(1000, 10, 1039) is None and soak.figure_fault(1000, 10, 1041)


def test_a_snapshot_that_is_not_right(some_python, run, tmp_path):
    program = run(some_python, "print('ready', flush=True); input()", env={"MPROFILERATE": "4k"}).ready()
    path, pid = program.dump(), program.pid
    program.say("")
    assert program.finish() == 0
    for whole in (False, True):
        fault, head = soak.fault_of(path, pid, whole)
        assert fault is None and head["pid"] == str(pid)
        assert "of process" in soak.fault_of(path, pid + 1, whole)[0]
    data = path.read_bytes()
    for damaged in (data[:-100], data[:len(data) // 2], data[:500] + bytes([data[500] ^ 1]) + data[501:]):
        path.write_bytes(damaged)
        assert os.fspath(path.name) in soak.fault_of(path, pid, False)[0]
