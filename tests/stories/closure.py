# SPDX-License-Identifier: MIT
"""A big table kept by a closure: a handler needs one number of it, and holds all of it.

The table is numpy's where there is numpy, else as large a bytearray. Says `ready` when it is loaded
and nobody needs it any more, and holds until standard input closes.
"""
import sys

try:
    import numpy
except ImportError:
    numpy = None

MB = 1000 * 1000


def read_table(name):
    if numpy is not None:
        return numpy.ones(60 * MB // 8)  # @numpy
    return bytearray(60 * MB)  # @plain


def make_handler(name):
    table = read_table(name)  # @caller
    return lambda request: (request, len(table))


HANDLERS = {name: make_handler(name) for name in ("sales",)}
print("ready", flush=True)
sys.stdin.read()
