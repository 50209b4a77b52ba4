# SPDX-License-Identifier: MIT
"""mprofile: a sampling memory profiler for CPython. This package reads its snapshots.

    import mprofile
    for stat in mprofile.Snapshot.load("mprofile.4711.1.bin").statistics("lineno")[:10]:
        print(stat)

The classes are tracemalloc's, with estimates for figures and a few attributes more.

A profiled program imports this to be profiled, not to read: the reader is loaded when a name of it
is first asked for.

Invariants: importing this starts nothing, and loads nothing but this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
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

_HOMES = {
    "BaseFilter": "tracemalloc",
    "DomainFilter": "tracemalloc",
    "Filter": "tracemalloc",
    "Frame": "mprofile._frames",
    "Snapshot": "mprofile.snapshot",
    "SnapshotError": "mprofile._format",
    "Statistic": "mprofile._frames",
    "StatisticDiff": "mprofile._frames",
    "Trace": "mprofile._frames",
    "Traceback": "mprofile._frames",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError("module 'mprofile' has no attribute %r" % name)
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
