# SPDX-License-Identifier: MIT
"""Inside an interpreter: the walk from within an allocation, against tracemalloc's traceback of it.

Here the running frame stands in the middle of an instruction, of many kinds. Each case makes large
objects and gives each to check(). Usage: inside_allocs.py DRIVER
"""
import ctypes
import functools
import tracemalloc

from inside import Tally, driver, report

driver.drv_take.restype = ctypes.c_long
tally = Tally()
FRAMES = 100
N = 1000000
TEXT, BYTES, TUPLE = "a" * (N // 2), b"b" * N, (1,) * (N // 8)
CASES = []


def case(function):
    CASES.append(function)
    return function


def check(large):
    size = driver.drv_take()
    trace = tracemalloc.get_object_traceback(large)
    wanted = [(frame.filename, frame.lineno) for frame in reversed(trace)]
    tally.expect("seen", size > 0, True)
    tally.expect("allocation", [(one[0], one[4]) for one in report(size)], wanted)


@case
def operators():
    check(BYTES * 2)
    check(TEXT + TEXT)
    check(TUPLE + TUPLE)
    check(1 << (N * 8 + 1))
    check(BYTES[1:] + b"cc")
    check(BYTES
          + b"c" * 100
          +
          BYTES)
    text = TEXT
    text += TEXT
    check(text)
    check("%s%s" % (TEXT,
                    TEXT))


@case
def instructions():
    check(f"{TEXT}{TEXT!s}"
          f"{TEXT}")
    check((*TUPLE, *TUPLE,
           3))
    check(BYTES[0:N + 1] if len(BYTES) > N else bytes(N))
    check((bytearray(
        N)
        and bytes(N + 1)))


@case
def calls():
    check(bytes(N))
    check("".join([
        TEXT,
        TEXT]))
    check("{}{}".format(TEXT, TEXT))
    check(BYTES.upper())
    check(TEXT.encode() * 2)
    check(functools.reduce(lambda a, b: a + b, [TEXT, TEXT,
                                                TEXT]))
    check(tuple(map(int, TUPLE)) + TUPLE)


@case
def frames():
    def generator():
        yield BYTES * 2
        try:
            yield BYTES * 3
        finally:
            check(BYTES * 4)
    for large in generator():
        check(large)
    one = generator()
    check(next(one))
    check(next(
        one))
    one.close()
    for large in (BYTES * n
                  for n in range(2, 4)):
        check(large)
    [check(BYTES * n) for n in range(2,
                                     4)]

    class Body:
        large = BYTES * 2
        check(large)

        def __init__(self, large=check(BYTES * 3)):
            check(BYTES * 5)

        @property
        def value(self):
            return BYTES * \
                2

        def __getitem__(self, n):
            return bytes(N + n)

        def __del__(self):
            check(BYTES * 6)
    body = Body()
    for _ in range(4):
        check(body.value)
        check(body[1])
    del body
    sorted([2, 3], key=lambda n: check(BYTES * n) or n)


@case
def coroutines():
    async def inner():
        return BYTES * 2

    async def numbers():
        yield BYTES * 2
        yield BYTES * 3

    async def outer():
        check(await inner())
        async for large in numbers():
            check(large)
    try:
        outer().send(None)
    except StopIteration:
        pass


def descend(n):
    a, b = n, 1

    def cells():
        return a + b
    return (BYTES *
            2) if n == 0 else descend(cells() - 2)


@case
def deep():
    check(descend(60))
    space = {"check": check, "BYTES": BYTES}
    exec(compile("def caf\xe9():\n  return (1,\n   BYTES * 3)[1]\n\ncheck(caf\xe9())", "\u0416\U0001f40d", "exec"), space)


if __name__ == "__main__":
    if driver.drv_hook() != 0:
        raise SystemExit("no allocator to hook")
    tracemalloc.start(FRAMES)
    for _ in range(12):
        for one in CASES:
            one()
    tracemalloc.stop()
    tally.end()
