# SPDX-License-Identifier: MIT
"""Inside an interpreter: a fixed script whose stacks are known, and what validation says of every table.

Lines of this file are written down in test_walk.py: change both. Usage: inside_golden.py DRIVER
"""
import functools
import json
import sys

from inside import driver, report

stacks = {}


def probe(label, value=0):
    stack = report(driver.drv_walk(64, 64))[1:]
    stacks[label] = [(one[1], one[4]) for one in stack if one[0] == __file__]
    return value


def function(a, b):
    return max(
        a,
        probe("function", a + b),
        b)


def generator():
    yield probe("generator")


def outer():
    yield from generator()


def closure(n):
    def inner():
        return n + probe("closure")
    return inner


class Meta(type):
    def __call__(cls):
        return super().__call__()


class Klass(metaclass=Meta):
    probe("class body")

    def __init__(self):
        self.value

    @property
    def value(self):
        return probe("property")


async def coroutine():
    async def inner():
        probe("coroutine")
    await inner()


def main():
    function(1, 2)
    list(outer())
    closure(3)()
    Klass()
    [probe("comprehension") for _ in range(1)]
    functools.reduce(
        lambda a, b: probe("callback"),
        [1, 2])
    try:
        coroutine().send(None)
    except StopIteration:
        probe("except")
    finally:
        probe("finally")


main()
kinds = [(minor, 0) for minor in range(8, 16)] + [(minor, 1) for minor in range(13, 16)]
validation = {}
for minor, free_threaded in kinds:
    text = driver.drv_validate_runtime(minor, free_threaded)
    validation["3.%d%s" % (minor, "t" * free_threaded)] = [
        text and text.decode(), driver.drv_validate_stack(minor, free_threaded)]
json.dump({"stacks": stacks, "validation": validation}, sys.stdout)
