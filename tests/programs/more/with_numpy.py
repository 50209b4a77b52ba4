# SPDX-License-Identifier: MIT
"""numpy: arrays from malloc and from BLAS's threads, views, an error state that is the program's."""
import numpy as np
from hold import hold

table = np.arange(250000, dtype=np.float64).reshape(500, 500)
print((table @ table.T).trace(), np.sort(table[:, 7])[::-1][3], np.fft.rfft(table[0]).real.sum().round(6))
with np.errstate(divide="ignore"):
    print(np.float64(1) / np.zeros(3), np.linalg.norm(table))
kept = [table[:40, :n + 1] * 2.0 for n in range(300)]  # @kept
print(sum(float(one[3, 0]) for one in kept))
size = sum(one.nbytes for one in kept)
hold(size, size)
