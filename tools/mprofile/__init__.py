# SPDX-License-Identifier: MIT
"""mprofile: a sampling memory profiler for CPython. This package reads its snapshots.

    import mprofile
    for stat in mprofile.Snapshot.load("mprofile.4711.1.bin").statistics("lineno")[:10]:
        print(stat)

The classes are tracemalloc's, with estimates for figures and a few attributes more. Importing this
starts nothing.
"""

from __future__ import annotations

from tracemalloc import BaseFilter, DomainFilter, Filter

from ._format import SnapshotError
from ._frames import Frame, Statistic, StatisticDiff, Trace, Traceback
from .snapshot import Snapshot

__all__ = [
    "BaseFilter",
    "DomainFilter",
    "Filter",
    "Frame",
    "Snapshot",
    "SnapshotError",
    "Statistic",
    "StatisticDiff",
    "Trace",
    "Traceback",
    "__version__",
]

__version__ = "1.0.0.dev0"
