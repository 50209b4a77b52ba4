# SPDX-License-Identifier: MIT
"""A line that allocates more than all others, and keeps nothing; another keeps what little it makes.

Says `ready` when it has allocated some 400 MB, and holds until standard input closes.
"""
import sys
import time

KEPT = []


def parse(number):
    words = [("%d,%d" % (number, word)) * 20 for word in range(2000)]  # @busy
    return len("".join(words))


def main():
    for number in range(1000):
        parse(number)
        KEPT.append(bytes(3000))  # @kept
        time.sleep(0.001)


main()
print("ready", flush=True)
sys.stdin.read()
