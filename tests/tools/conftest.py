# SPDX-License-Identifier: MIT
"""Makes `tools/` and the tests' own writer importable, whatever folder pytest is started in."""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools"))
