# SPDX-License-Identifier: MIT
"""A cache without bound: a memoised function whose arguments never repeat.

Says `warm` with 5 MB in the cache, goes on for each line of standard input and adds 10 MB, says
`ready`, and ends when standard input closes. A table that does not grow is four times as large.
"""
import functools
import sys

TABLE = [bytes(4000) for _ in range(10000)]  # @table


@functools.lru_cache(maxsize=None)
def thumbnail(name):
    return bytearray(10000)  # @cache


def serve(first, last):
    total = 0
    for number in range(first, last):
        scratch = bytearray(20000)  # @scratch
        total += len(thumbnail("image-%d" % number)) + len(scratch)
    return total


served = 500
serve(0, served)
print("warm", flush=True)
for line in sys.stdin:
    serve(served, served + 1000)
    served += 1000
    print("ready", flush=True)
