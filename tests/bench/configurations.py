# SPDX-License-Identifier: MIT
"""Under what a workload is run: nothing, an empty hook, this profiler, and the others. One table."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ.get("MPROFILE_BUILD") or ROOT / "build").absolute() / "libmprofile.so"
NONE = "none"


@dataclass(frozen=True)
class Configuration:
    """`start` is a name that workloads.py knows; `package` a section of tests/requirements-bench.txt."""

    title: str
    env: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    start: str = ""
    package: str = ""
    preload: bool = False
    heavy: bool = False  # many times slower: fewer loops are enough


def ours(title: str, rate: str, frames: int = 128, **more: bool) -> Configuration:
    return Configuration(title, {"MPROFILERATE": rate, "MPROFILEFRAMES": str(frames), "MPROFILEMEMORY": "none",
                                 "MPROFILESIGNAL": "none"} if rate == "1" else {"MPROFILERATE": rate,
                                                                               "MPROFILEFRAMES": str(frames)},
                         preload=True, heavy=rate == "1")


CONFIGURATIONS: Mapping[str, Configuration] = {
    NONE: Configuration("no profiler"),
    "hook": Configuration("empty hook", start="hook"),
    "mprofile": ours("**mprofile**, 128 KiB", "128k"),
    "mprofile-1": ours("mprofile, rate 1, 128 frames", "1"),
    "mprofile-1-1": ours("mprofile, rate 1, 1 frame", "1", 1),
    "tracemalloc-1": Configuration("tracemalloc, 1 frame", options=("-X", "tracemalloc=1"), heavy=True),
    "tracemalloc-128": Configuration("tracemalloc, 128 frames", options=("-X", "tracemalloc=128"), heavy=True),
    "memray": Configuration("memray (pymalloc's arenas only)", start="memray", package="memray"),
    "memray-python": Configuration("memray, Python's allocators", start="memray-python", package="memray", heavy=True),
    "ddtrace": Configuration("ddtrace's memory collector, 128 KiB", start="ddtrace", package="ddtrace",
                             env={"DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false", "DD_TRACE_ENABLED": "false"}),
    "upstream": Configuration("mprofile 0.0.15 (upstream), 128 KiB", start="upstream", package="upstream"),
}
CORE = (NONE, "hook", "mprofile")


def names(words: str) -> list[str]:
    """Of a comma-separated list; `all` and `core` are lists of their own. No profiler is always among them."""
    chosen = [NONE]
    for word in words.split(","):
        for name in CONFIGURATIONS if word == "all" else CORE if word == "core" else (word,):
            if name not in CONFIGURATIONS:
                raise SystemExit("no configuration %s: %s" % (name, ", ".join(CONFIGURATIONS)))
            if name not in chosen:
                chosen.append(name)
    return chosen
