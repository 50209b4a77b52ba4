# SPDX-License-Identifier: MIT
"""mprofile: a sampling memory profiler for CPython, with tracemalloc's interface.

    import mprofile
    mprofile.start(sample_rate=128 * 1024)
    ...
    for stat in mprofile.take_snapshot().statistics("lineno")[:10]:
        print(stat)

    for stat in mprofile.Snapshot.load("mprofile.4711.1.bin").statistics("lineno")[:10]:
        print(stat)

Functions and classes are tracemalloc's, with estimates for figures and a few attributes more. Where
the library is preloaded (`LD_PRELOAD`) the process is profiled without any of this; then these
functions ask for what is recorded already.

Where MPROFILERATE is set, and not `off`, importing this starts profiling at that rate, as mprofile
0.0.15 did. The commands of this package are no programs to profile, and do not start.

Invariants: importing this loads nothing but this file, unless it starts; what reads snapshots is
loaded when a name of it is first asked for.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from tracemalloc import BaseFilter, DomainFilter, Filter

    from ._format import SnapshotError
    from ._frames import Frame, Statistic, StatisticDiff, Trace, Traceback
    from ._tracing import (
        _get_object_traceback,
        _get_traces,
        clear_traces,
        dump,
        get_object_traceback,
        get_sample_rate,
        get_traceback_limit,
        get_traced_memory,
        get_tracemalloc_memory,
        is_tracing,
        reset_peak,
        start,
        stop,
        take_snapshot,
    )
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
    "clear_traces",
    "dump",
    "get_object_traceback",
    "get_sample_rate",
    "get_traceback_limit",
    "get_traced_memory",
    "get_tracemalloc_memory",
    "is_tracing",
    "reset_peak",
    "start",
    "stop",
    "take_snapshot",
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
    "_get_object_traceback": "mprofile._tracing",
    "_get_traces": "mprofile._tracing",
    "clear_traces": "mprofile._tracing",
    "dump": "mprofile._tracing",
    "get_object_traceback": "mprofile._tracing",
    "get_sample_rate": "mprofile._tracing",
    "get_traceback_limit": "mprofile._tracing",
    "get_traced_memory": "mprofile._tracing",
    "get_tracemalloc_memory": "mprofile._tracing",
    "is_tracing": "mprofile._tracing",
    "reset_peak": "mprofile._tracing",
    "start": "mprofile._tracing",
    "stop": "mprofile._tracing",
    "take_snapshot": "mprofile._tracing",
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


def _is_own_command() -> bool:
    """Whether the program that runs is `mprofile`, `mprofile-read` or `python -m mprofile`.

    Their module is imported after this package, so only the command line can say. While runpy
    imports a package on the way to its `__main__`, sys.argv[0] is "-m".
    """
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program != "-m":
        return os.path.basename(program) in ("mprofile", "mprofile-read")
    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")[1:]
    except OSError:
        return False
    for word, following in zip(words, words[1:]):
        if word.startswith(b"-") and word.endswith(b"m"):
            return following.split(b".")[0] == b"mprofile"
    return False


if os.environ.get("MPROFILERATE", "off").lower() not in ("", "off") and not _is_own_command():
    from ._tracing import start_from_environment

    start_from_environment()
    del start_from_environment
