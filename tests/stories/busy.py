# SPDX-License-Identifier: MIT
"""A busy line that keeps nothing: it allocates 800 MB, and holds a few hundred kilobytes at a time.

What is alive is a modest index, made once. Says `ready` while the busy line runs, and goes on until
its standard input closes.
"""
import sys
import threading

INDEX = {number: str(number) * 20 for number in range(60000)}  # @index
stop = threading.Event()


def parse(size):
    rows = [bytearray(size) for _ in range(100)]  # @busy
    return len(rows)


def main():
    for _ in range(2000):
        parse(4000)
    print("ready", flush=True)
    while not stop.wait(0.01):
        parse(4000)


worker = threading.Thread(target=main)
worker.start()
sys.stdin.read()
stop.set()
worker.join()
