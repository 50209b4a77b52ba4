# SPDX-License-Identifier: MIT
"""Summing: from live samples to sums per site, thread or generation.

This is the only loop over live samples, and so the one that decides how fast a snapshot is read.
Samples are first counted by (label, size, rate) with the counter that CPython has in C; what is
left is weighed and added in Python.

Invariants: memory is bounded by the number of labels, the chunk, and the cache of weights.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, List

from ._heap import Heap
from ._weights import WeightCache

if TYPE_CHECKING:
    from ._heap import Ints

_CHUNK = 1 << 16


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
    if all(rate <= 1 for rate in heap.rates):
        _sum_exact(live.size, labels, sums)
        return sums
    samples, blocks, octets, blocks_var, bytes_var = sums.lists()
    weights = [WeightCache(rate) for rate in heap.rates]
    for start in range(0, len(live), _CHUNK):
        end = start + _CHUNK
        rows = Counter(zip(labels[start:end], live.size[start:end], live.rate[start:end]))
        for (label, size, rate), times in rows.items():
            w, ws, v, vs = weights[rate][size]
            samples[label] += times
            blocks[label] += times * w
            octets[label] += times * ws
            blocks_var[label] += times * v
            bytes_var[label] += times * vs
    return sums


def _sum_exact(sizes: Ints, labels: Ints, sums: Sums) -> None:
    """Where every allocation was recorded a sample is a block: nothing to weigh."""
    octets = sums.bytes
    for label, size in zip(labels, sizes):
        octets[label] += size
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
