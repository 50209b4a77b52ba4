# SPDX-License-Identifier: MIT
"""concurrent.futures: a pool of threads that keep, pools of processes by each way of starting one; one that dies."""
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from hold import hold

keepers = threading.Barrier(8)


def keep(number):
    keepers.wait()
    return [bytearray(20000) for _ in range(25)]  # @kept


def count(limit):
    return sum(len(str(number)) for number in range(limit))


def die(status):
    os._exit(status)


def main():
    for method in ("fork", "forkserver", "spawn"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            print(method, list(pool.map(count, range(0, 20000, 1000))))
            try:
                pool.submit(die, 7).result()
            except BrokenProcessPool:
                print("broken")
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(keep, range(8)))
    print(len(kept))
    hold(200 * 20000, 200 * 20100)


if __name__ == "__main__":
    main()
