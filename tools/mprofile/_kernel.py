# SPDX-License-Identifier: MIT
"""What the kernel said of the process: sizes out of the texts that a snapshot keeps of /proc.

Invariants: all results are bytes; what the texts do not say is None.
"""

from __future__ import annotations

import re
from typing import Dict, Optional, Tuple

from ._heap import Heap

_STATUS = re.compile(r"^([A-Za-z]+):\s+([0-9]{1,15}) kB$", re.MULTILINE)
_ROLLUP = re.compile(r"^([A-Za-z_]+):\s+([0-9]{1,15}) kB$", re.MULTILINE)
_THREADS = re.compile(r"^Threads:\s+([0-9]{1,9})$", re.MULTILINE)


class Kernel:
    """Sizes by the kernel's own names."""

    def __init__(self, heap: Heap) -> None:
        status = heap.proc.get("/proc/self/status", "")
        self.status = _sizes(_STATUS, status)
        #: Of all mappings added up, as of smaps: Pss, Shared_Dirty, …
        self.rollup = _sizes(_ROLLUP, heap.proc.get("/proc/self/smaps_rollup", ""))
        threads = _THREADS.search(status)
        #: The thread that writes the snapshot is one of the kernel's count.
        self.threads = max(int(threads.group(1)) - 1, 1) if threads else 1

    def __getitem__(self, key: str) -> Optional[int]:
        value = self.status.get(key)
        return self.rollup.get(key) if value is None else value


def _sizes(pattern: "re.Pattern[str]", text: str) -> Dict[str, int]:
    return {name: int(size) * 1024 for name, size in pattern.findall(text)}


def rss(heap: Heap) -> Tuple[Optional[int], Optional[int]]:
    """Resident size now and at its highest, in bytes."""
    kernel = Kernel(heap)
    return kernel["VmRSS"], kernel["VmHWM"]
