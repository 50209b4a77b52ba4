# SPDX-License-Identifier: MIT
"""Summing: from live samples to sums per site, thread or generation.

This is the only loop over live samples, and so the one that decides how fast a snapshot is read.
Samples are first counted by (label, size, rate) with the counter that CPython has in C, as long as
many are alike; what is left is weighed and added in Python. Where every allocation was recorded
there is nothing to weigh, and counting and adding is all.

Invariants: memory is bounded by the number of labels, the chunk, and the cache of weights.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Dict, List, Tuple

from ._heap import Heap
from ._weights import WeightCache

if TYPE_CHECKING:
    from ._heap import Ints

_CHUNK = 1 << 16
_PAIRS_MAX = 1 << 16
#: Of a chunk, what may be different for counting to save time.
_ALIKE = 0.4


class Sums:
    """For each label: samples, and estimates of blocks and bytes with their variances."""

    __slots__ = ("samples", "blocks", "bytes", "blocks_var", "bytes_var")

    def __init__(self, labels: int) -> None:
        self.samples: List[float] = [0] * labels
        self.blocks: List[float] = [0.0] * labels
        self.bytes: List[float] = [0.0] * labels
        self.blocks_var: List[float] = [0.0] * labels
        self.bytes_var: List[float] = [0.0] * labels

    def __len__(self) -> int:
        return len(self.blocks)

    def lists(self) -> List[List[float]]:
        return [self.samples, self.blocks, self.bytes, self.blocks_var, self.bytes_var]


def sum_live(heap: Heap, labels: Ints, count: int) -> Sums:
    """The sums of the live samples by a label column with values below *count*."""
    live = heap.live
    sums = Sums(count)
    if max(heap.rates, default=0) <= 1:
        _add_exact(live.size, labels, sums)
        return sums
    values = [0j] * count
    variances = [0j] * count
    weights = [_Pairs(rate) for rate in heap.rates]
    alike = True
    for start in range(0, len(live), _CHUNK):
        end = start + _CHUNK
        rows = zip(labels[start:end], live.size[start:end], live.rate[start:end])
        if alike:
            counts = Counter(rows)
            alike = len(counts) < _ALIKE * _CHUNK
            for (label, size, rate), times in counts.items():
                value, variance = weights[rate][size]
                values[label] += times * value
                variances[label] += times * variance
            continue
        for label, size, rate in rows:
            value, variance = weights[rate][size]
            values[label] += value
            variances[label] += variance
    for label, times in Counter(labels).items():
        sums.samples[label] = times
    sums.blocks = [one.real for one in values]
    sums.bytes = [one.imag for one in values]
    sums.blocks_var = [one.real for one in variances]
    sums.bytes_var = [one.imag for one in variances]
    return sums


class _Pairs(Dict[int, Tuple[complex, complex]]):
    """By size, blocks and bytes as one number, and their variances: two additions, not four."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.weights = WeightCache(rate)

    def __missing__(self, size: int) -> Tuple[complex, complex]:
        if len(self) >= _PAIRS_MAX:
            self.clear()
        w, ws, v, vs = self.weights[size]
        pair = self[size] = complex(w, ws), complex(v, vs)
        return pair


def _add_exact(sizes: Ints, labels: Ints, sums: Sums) -> None:
    octets = [0] * len(sums)
    for label, size in zip(labels, sizes):
        octets[label] += size
    sums.bytes = list(map(float, octets))
    for label, times in Counter(labels).items():
        sums.samples[label] = times
        sums.blocks[label] = float(times)


def sum_sites(heap: Heap) -> Sums:
    """Live samples by site."""
    return sum_live(heap, heap.live.site, len(heap.sites.node))


def sum_allocated(heap: Heap) -> Sums:
    """All that was ever allocated, by site, as the profiled process summed it."""
    sums, sites = Sums(0), heap.sites
    sums.samples = list(sites.alloc_samples)
    sums.blocks = list(sites.alloc_blocks)
    sums.bytes = list(sites.alloc_bytes)
    sums.blocks_var = list(sites.alloc_blocks_var)
    sums.bytes_var = list(sites.alloc_bytes_var)
    return sums


def sum_peak(heap: Heap) -> Sums:
    """What was live when the process's estimate was highest, by site: bytes only."""
    sums = Sums(len(heap.sites.node))
    sums.bytes = list(heap.sites.peak_bytes)
    sums.bytes_var = list(heap.sites.peak_bytes_var)
    return sums
