# SPDX-License-Identifier: MIT
"""The formula: against values worked out by hand, and against a simulation of sampling."""

from __future__ import annotations

import math
import random

import pytest

from mprofile._weights import WeightCache, block_weight, standard_error, weigh


def test_every_allocation_recorded_is_exact() -> None:
    for rate in (0, 1):
        for size in (0, 1, 513, 2**64 - 1):
            assert weigh(size, rate) == (1.0, float(size), 0.0, 0.0)


def test_values_worked_out_by_hand() -> None:
    # s = R: p = 1 - 1/e = 0.6321205588, w = 1.5819767069
    assert block_weight(4096, 4096) == pytest.approx(1.5819767069, rel=1e-10)
    # s = R ln 2: p = 1/2, w = 2, so variances are 2 and 2 s s
    rate = 1_000_000
    size = round(rate * math.log(2))
    assert weigh(size, rate) == pytest.approx((2, 2 * size, 2, 2 * size * size), rel=2e-6)
    # s << R: p = s/R - s^2/2R^2, w = R/s + 1/2
    assert block_weight(64, 131072) == pytest.approx(2048.5, rel=1e-6)
    # s >> R: certain
    assert weigh(1 << 30, 131072) == (1.0, float(1 << 30), 0.0, 0.0)


def test_no_bytes_were_drawn_as_one_and_add_none() -> None:
    w = block_weight(1, 1000)
    assert weigh(0, 1000) == (w, 0.0, w * (w - 1), 0.0)


@pytest.mark.parametrize("size", [0, 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("rate", [0, 1, 2, 2**31, 2**64 - 1])
def test_finite_for_all_that_a_file_can_hold(size: int, rate: int) -> None:
    assert all(math.isfinite(x) and x >= 0 for x in weigh(size, rate))


def test_cache_is_bounded_and_right() -> None:
    cache = WeightCache(5000)
    for size in range(200_000):
        assert cache[size][0] >= 1
    assert len(cache) <= 1 << 16
    assert cache[77] == weigh(77, 5000)


def test_unbiased_and_honest_about_its_error() -> None:
    """Mixed sizes on one line, the case where scaling a sum goes wrong.

    Expected: the mean of 400 estimates within 4 of its own standard errors of the truth, for bytes
    and blocks; 2 stated errors hold the truth in 95 % of runs, of which 400 may show 90 to 100.
    """
    rng = random.Random(20240501)
    sizes = [64] * 3000 + [512] * 1000 + [4096] * 300 + [16384] * 60 + [100_000] * 10
    rate = 16384
    truth_bytes, truth_blocks = float(sum(sizes)), float(len(sizes))
    probability = {s: 1 - math.exp(-s / rate) for s in set(sizes)}
    runs = 400
    estimates = []
    held_bytes = held_blocks = 0
    for _ in range(runs):
        sums = [0.0] * 4
        for size in sizes:
            if rng.random() < probability[size]:
                for index, value in enumerate(weigh(size, rate)):
                    sums[index] += value
        blocks, octets, blocks_var, bytes_var = sums
        estimates.append((octets, blocks))
        held_bytes += abs(octets - truth_bytes) <= 2 * standard_error(bytes_var)
        held_blocks += abs(blocks - truth_blocks) <= 2 * standard_error(blocks_var)
    for column, truth in ((0, truth_bytes), (1, truth_blocks)):
        values = [estimate[column] for estimate in estimates]
        mean = sum(values) / runs
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (runs - 1) / runs)
        assert abs(mean - truth) < 4 * spread
    assert 0.90 <= held_bytes / runs <= 1.0
    assert 0.90 <= held_blocks / runs <= 1.0
