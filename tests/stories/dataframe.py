# SPDX-License-Identifier: MIT
"""A large DataFrame that outlives its use: a callback that was made where it was in reach keeps it.

The memory is pandas' own, deep in its code; the line to blame is the one that asked for it. The
folder of pandas is the argument. Says `ready`, and holds until standard input closes.
"""
import sys

sys.path.insert(0, sys.argv[1])
import pandas  # noqa: E402

CALLBACKS = []


def load(rows):
    return pandas.DataFrame({"price": range(rows)}).astype("float64")


def subscribe():
    frame = load(24 * 1000 * 1000)  # @load
    mean = frame.price.mean()

    def callback(value):
        return value > mean and len(frame)

    CALLBACKS.append(callback)


subscribe()
print("ready", flush=True)
sys.stdin.read()
