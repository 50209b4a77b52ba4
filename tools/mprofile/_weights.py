# SPDX-License-Identifier: MIT
"""The one place with the formula: what a sampled block stands for.

A block of `s` bytes drawn at rate `R` is sampled with probability `p = 1 - exp(-s / R)` and stands
for `w = 1 / p` blocks (Horvitz-Thompson). Blocks are weighed one by one and summed after: to scale
a sum by the weight of its mean is biased, badly so where sizes are mixed.

Invariants:
- rate 0 or 1 records every allocation: weight 1, variance 0, so sums are exact;
- a block of no bytes was drawn as one byte, but adds no byte to a sum;
- all results are finite for any u64 size and rate.
"""

from __future__ import annotations

import math
from typing import Dict, NamedTuple

_CACHE_MAX = 1 << 16


class Weight(NamedTuple):
    """What one sampled block adds to the four sums."""

    blocks: float
    bytes: float
    blocks_var: float
    bytes_var: float


def block_weight(size: int, rate: int) -> float:
    """How many blocks of *size* bytes one that was sampled at *rate* stands for."""
    if rate <= 1:
        return 1.0
    return -1.0 / math.expm1(-max(size, 1) / rate)


def weigh(size: int, rate: int) -> Weight:
    w = block_weight(size, rate)
    spread = w * (w - 1.0)
    return Weight(w, w * size, spread, spread * size * size)


def standard_error(variance: float) -> float:
    """One standard error of a sum, from its estimated variance."""
    return math.sqrt(variance) if variance > 0.0 else 0.0


class WeightCache(Dict[int, Weight]):
    """Weights by size, for one rate. Sizes repeat, exponentials are dear; memory is bounded."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate

    def __missing__(self, size: int) -> Weight:
        if len(self) >= _CACHE_MAX:
            self.clear()
        weight = self[size] = weigh(size, self.rate)
        return weight
