# SPDX-License-Identifier: MIT
"""A program that only fragments: blocks of mixed sizes from malloc, nearly all freed, a few between them kept.

What is kept is little, but lies on so many pages, and at the heap's end, that malloc gives nothing back
by itself. With the argument `goes-on` the program allocates a little after that, as programs do. Says
`ready` when about 90 MB are free, and holds until its standard input closes.
"""
import ctypes
import sys

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free.restype = None
SIZES = (600, 2500, 9000, 30000, 700, 50000)


def work():
    """Returns what stays; the rest goes."""
    kept, freed = [], []
    for number in range(7000):
        size = SIZES[number % 6]
        buffer = libc.malloc(size)  # @work
        ctypes.memset(buffer, 1, size)
        (kept if number % 6 == 4 else freed).append(buffer)
    for buffer in freed:
        libc.free(buffer)
    return kept


def go_on():
    """Little, over a while: malloc is asked after one of these."""
    import time

    for _ in range(30):
        libc.free(libc.malloc(100000))
        time.sleep(0.02)


kept = work()
if sys.argv[1:] == ["goes-on"]:
    go_on()
print("ready", flush=True)
sys.stdin.read()
