# SPDX-License-Identifier: MIT
"""Compile C and C++ at test time. A compiler that is missing is a failure: tests/setup installs it."""
from __future__ import annotations

import subprocess
from pathlib import Path

from harness import write


def _compile(source: str, target: Path, compiler: str, *flags: str) -> Path:
    code = write(target.with_name(target.name + (".cc" if compiler == "c++" else ".c")), source)
    subprocess.run([compiler, "-O2", "-g", "-o", str(target), str(code), *flags], check=True)
    return target


def library(source: str, target: Path, *flags: str, compiler: str = "cc") -> Path:
    """A shared library. No call of malloc is optimised away."""
    return _compile(source, target, compiler, "-fPIC", "-shared", "-fno-builtin", "-pthread", *flags)


def program(source: str, target: Path, *flags: str) -> Path:
    return _compile(source, target, "cc", "-fno-builtin", "-pthread", *flags)
