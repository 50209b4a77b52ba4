# SPDX-License-Identifier: MIT
"""Two workers that inherit: the parent loads 30 MB, forks, and each worker allocates 6 MB of its own.

Says the pids of the workers when all is there, and holds until standard input closes; the workers
end with it.
"""
import os
import sys

DATA = [bytes(3000) for _ in range(10000)]  # @inherited


def work(end):
    kept = [bytearray(2000) for _ in range(3000)]  # @own
    print("worker %d" % os.getpid(), flush=True)
    os.read(end, 1)
    os._exit(len(kept) - 3000)


end, keep = os.pipe()
for _ in range(2):
    if os.fork() == 0:
        os.close(keep)
        work(end)
sys.stdin.read()
