# SPDX-License-Identifier: MIT
"""A parent that loads a table, and workers that inherit it; one of them keeps more than the others.

Prints the process ids of the workers, then `ready` when all are; they end when standard input closes.
"""
import os
import sys

TABLE = [bytes(5000) for _ in range(4000)]  # @table
KEPT = []


def work(jobs):
    for number in range(jobs):
        KEPT.append({"job": number, "result": bytearray(4000)})  # @own


def start(jobs):
    tell, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        work(jobs)
        os.write(told, b"1")
        sys.stdin.read()
        os._exit(0)
    os.read(tell, 1)
    return pid


print(*[start(jobs) for jobs in (500, 7000, 500)], flush=True)
print("ready", flush=True)
sys.stdin.read()
