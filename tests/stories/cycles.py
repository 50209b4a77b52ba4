# SPDX-License-Identifier: MIT
"""Reference cycles that wait for the collector, which has been told to wait: garbage, not a leak.

Says `ready` when 40,000 pairs of nodes that know each other have been dropped; on a line of standard
input it collects, and says `ready` again; ends when standard input closes.
"""
import gc
import sys


class Node(object):
    __slots__ = ("name", "other")

    def __init__(self, name):
        self.name = name
        self.other = None


def pair(number):
    one, other = Node(number), Node(-number)  # @node
    one.other, other.other = other, one


gc.disable()
for number in range(40 * 1000):
    pair(number)
print("ready", flush=True)
for _ in sys.stdin:
    gc.collect()
    print("ready", flush=True)
