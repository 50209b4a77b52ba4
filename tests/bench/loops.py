# SPDX-License-Identifier: MIT
"""How often each workload of workloads.py is done: to be counted (a tenth of a second), and before it is measured."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loops:
    title: str
    counted: int
    warm: int


LOOPS: dict[str, Loops] = {
    "tornado_http": Loops("tornado_http", 1, 1),
    "json": Loops("json", 4, 1),
    "deepcopy": Loops("deepcopy", 35, 5),
    "async_tree": Loops("async_tree", 4, 1),
    "churn": Loops("churn", 80_000, 2000),
    "churn_4_threads": Loops("churn, 4 threads", 80_000, 2000),
    "live_2_million": Loops("2 million live objects", 150_000, 1000),
    "c_malloc": Loops("malloc in C", 1_500_000, 1000),
    "numpy": Loops("numpy", 3000, 50),
}

# More threads than cores too; threads.py runs workloads of so many.
THREADS = (1, 2, 4, 8, 16)
