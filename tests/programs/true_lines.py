# SPDX-License-Identifier: MIT
"""Lines whose C code keeps memory of exactly known size, in one domain or another; says what the truth is, then waits.

    true_lines.py HELPER RATE       HELPER: tests/bench/inside.c, compiled

Each line is `<lines>`:n. Sizes are from one byte to sixteen times the rate, exactly the rate among them; and mixed sizes, blocks that grew, blocks
most of which were freed again, and eight threads at once without the GIL. Prints a line of JSON: [[line, what, live bytes, ever allocated bytes, live blocks, bytes
of one, variance at the rate], ...], then `ready`. For each line of standard input it forks a child that does the mixed line again, writes a snapshot and ends.
"""
import ctypes
import json
import math
import os
import signal
import sys
import threading
import time

RATE = int(sys.argv[2])
python, c = ctypes.PyDLL(sys.argv[1]), ctypes.CDLL(sys.argv[1])
for library in python, c:
    library.keep.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_size_t]
    library.keep_mixed.restype = library.keep_grown.restype = ctypes.c_long
    library.keep_mixed.argtypes = [ctypes.c_int, ctypes.c_long]
    library.keep_grown.argtypes = [ctypes.c_long, ctypes.c_size_t]
    library.keep_few.argtypes = [ctypes.c_long, ctypes.c_size_t]
source, truth = [], []


def variance(size: int) -> float:
    """Of the estimate of one block's bytes."""
    chance = -math.expm1(-max(size, 1) / RATE)
    return (1 - chance) / chance * size * size


def line(text: str) -> int:
    source.append(text)
    return len(source)


def main() -> None:
    fixed = []
    sizes = [1, 8, 24, 64, 100, 256, 512, 513, 1000, 4000, RATE // 2, RATE - 1, RATE, RATE + 1, 3 * RATE, 16 * RATE]
    for number, size in enumerate(sizes):
        count = max(48, (192 if size > 8 else 96) * RATE // size)
        domain = (1, 2, 3, 0)[number % 4]
        at = line("def line_%d(): python.keep(%d, %d, %d)" % (len(source) + 1, domain, count, size))
        fixed.append((at, "%d blocks of %d bytes" % (count, size), count, size))
    mixed = line("def mixed(): return python.keep_mixed(2, 3000)")
    mixed_c = line("def mixed_c(): return c.keep_mixed(3, 3000)")
    grown = line("def grown(): return python.keep_grown(300, 40000)")
    few = line("def few(): python.keep_few(200000, 200)")
    threaded = line("def threaded(): c.keep(3, 2500, 500)")
    scope = {"python": python, "c": c}
    exec(compile("\n".join(source), "<lines>", "exec"), scope)
    for at, what, count, size in fixed:
        scope["line_%d" % at]()
        truth.append([at, what, count * size, count * size, count, size, count * variance(size)])
    for at, name in (mixed, "mixed"), (mixed_c, "mixed_c"):
        total = scope[name]()
        truth.append([at, "mixed sizes" + (", malloc" if name == "mixed_c" else ""), total, total, 3000, total / 3000, 0.0])
    total = scope["grown"]()
    truth.append([grown, "300 blocks that grew to 40000 bytes", 300 * 40000, total, 300, 40000, 300 * variance(40000)])
    scope["few"]()
    truth.append([few, "one of ten of 200 bytes stays", 20000 * 200, 200000 * 200, 20000, 200, 20000 * variance(200)])
    threads = [threading.Thread(target=scope["threaded"]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    truth.append([threaded, "8 threads, 500 bytes", 8 * 2500 * 500, 8 * 2500 * 500, 20000, 500, 20000 * variance(500)])
    print(json.dumps(truth), flush=True)
    print("ready", flush=True)
    for _ in sys.stdin:
        if os.fork() == 0:
            scope["mixed"]()
            os.kill(os.getpid(), signal.SIGUSR2)
            while not os.path.exists("mprofile.%d.1.bin" % os.getpid()):
                time.sleep(0.002)
            os._exit(0)
        os.wait()
        print("forked", flush=True)


if __name__ == "__main__":
    main()
