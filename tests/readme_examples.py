# SPDX-License-Identifier: MIT
"""The examples of README.md: the indented blocks behind a line `<!-- example: NAME.py -->` or `NAME.sh`.

They are run as they are written: Python by an interpreter, shell by bash, in an empty folder.
"""
from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Dict

README = Path(__file__).resolve().parents[1] / "README.md"
_EXAMPLE = re.compile(r"<!-- example: ([a-z_]+\.(?:py|sh)) -->\n\n((?:(?:    .*)?\n)+)")


def examples() -> Dict[str, str]:
    """Name to text."""
    found = {name: textwrap.dedent(text).strip("\n") + "\n" for name, text in _EXAMPLE.findall(README.read_text())}
    assert found, "README.md has no examples"
    return found
