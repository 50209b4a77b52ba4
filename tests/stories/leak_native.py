# SPDX-License-Identifier: MIT
"""A program that leaks in C: a driver's wrapper that never frees the buffers it gets from malloc.

The Python objects are few and small. Says `ready` when about 100 MB are live, and holds until its
standard input closes.
"""
import ctypes
import sys

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
SIZES = (700, 3000, 12000, 40000)


def new_buffer(size):
    buffer = libc.malloc(size)  # @leak
    ctypes.memset(buffer, 1, size)
    return buffer


def query(number):
    """The result is copied out; the buffer is forgotten."""
    return ctypes.string_at(new_buffer(SIZES[number % 4]), 16)


def main():
    total = 0
    for number in range(7200):
        total += len(query(number))
    return total


main()
print("ready", flush=True)
sys.stdin.read()
