# SPDX-License-Identifier: MIT
"""Inside an interpreter: the walk in every kind of frame, against the interpreter's own view.

Each case calls probe() from somewhere; probe compares the whole stack there. Cases run many times,
so that they are seen before and after the interpreter specializes them. Usage: inside_cases.py DRIVER
"""
import functools
import sys
import threading
import types

from inside import EVERYTHING, Tally, as_traceback, driver, oracle, report, without_gil

tally = Tally()
ROUNDS = 40
MAX = 128
name = "start"
CASES = []


def case(function):
    CASES.append(function)
    return function


def probe(*_):
    # One line: the topmost frame must be at the same one for both.
    size, wanted, plain = driver.drv_walk(MAX, EVERYTHING), oracle(sys._getframe()), as_traceback(sys._getframe())
    tally.expect(name, report(size), wanted[:MAX])
    tally.expect("traceback", [(one[0], one[1], one[4]) for one in report(size)], plain[:MAX])
    tally.expect("depth", driver.drv_depth(), len(wanted))
    return 0


@case
def plain():
    probe()


def descend(n):
    return probe() if n == 0 else descend(n - 1)


@case
def recursion_30():
    descend(30)


@case
def recursion_through_c():
    def down(n):
        return probe() if n == 0 else max([n - 1], key=down)
    down(20)


@case
def generator():
    def numbers():
        for i in range(3):
            probe()
            yield i
    for _ in numbers():
        probe()
    list(numbers())
    next(numbers())


@case
def nested_generator():
    def inner():
        yield probe()
        yield probe()

    def outer():
        yield from inner()
        yield from (probe() for _ in range(2))
    list(outer())


@case
def generator_closed():
    def numbers():
        try:
            yield 1
        finally:
            probe()

    def thrown():
        try:
            yield 1
        except ValueError:
            yield probe()
    one = numbers()
    next(one)
    one.close()
    two = numbers()
    next(two)
    del two
    three = thrown()
    next(three)
    three.throw(ValueError())


@case
def comprehension():
    [probe() for _ in range(2)]
    {probe() for _ in range(2)}
    {i: probe() for i in range(2)}
    [[probe() for _ in range(1)]
     for _ in range(2)]
    list(probe() for _ in range(2))


@case
def comprehension_with_cells():
    [(lambda: probe() or i)() for i in range(2)]


@case
def closure():
    a, b = 1, 2

    def inner(c, *rest, d=4, **more):
        def innermost():
            probe()
            return a + b + c + d
        return innermost()
    inner(3, 5, e=6)


@case
def class_body():
    class Outer:
        probe()

        class Inner(object):
            x = probe()

        def method(self):
            return probe()

        @classmethod
        def of_class(cls):
            return probe()

        @staticmethod
        def of_none():
            return probe()
    Outer().method()
    Outer.of_class()
    Outer.of_none()


@case
def metaclass():
    class Meta(type):
        def __new__(mcs, *args):
            probe()
            return super().__new__(mcs, *args)

        def __call__(cls, *args):
            probe()
            return super().__call__(*args)

    class Base(metaclass=Meta):
        def __init_subclass__(cls):
            probe()

        def __init__(self):
            probe()

    class Derived(Base):
        def __init__(self):
            super().__init__()
    Derived()


class Initialized:
    def __init__(self, n):
        probe()
        self.n = n


@case
def constructor():
    for i in range(3):
        Initialized(i)


@case
def decorator():
    def wrap(function):
        probe()

        @functools.wraps(function)
        def wrapper(*args, **keywords):
            return function(*args, **keywords)
        return wrapper

    @wrap
    @wrap
    def wrapped(a, b=2):
        return probe()
    wrapped(1)


@case
def a_lambda():
    (lambda: (lambda: probe())())()


@case
def coroutine():
    async def inner():
        probe()

    class Awaitable:
        def __await__(self):
            probe()
            yield
            probe()

    async def outer():
        await inner()
        await Awaitable()
        await inner()
    one = outer()
    one.send(None)
    try:
        one.send(None)
    except StopIteration:
        pass


@case
def async_generator():
    async def numbers():
        for i in range(3):
            probe()
            yield i

    class Manager:
        async def __aenter__(self):
            probe()

        async def __aexit__(self, *_):
            probe()

    async def consume():
        async with Manager():
            async for _ in numbers():
                probe()
            return [probe() async for _ in numbers()]
    try:
        consume().send(None)
    except StopIteration:
        pass


@case
def c_callbacks():
    sorted([3, 1, 2], key=probe)
    sorted([3, 1, 2], key=lambda x: probe() or x)
    functools.reduce(lambda a, b: a + b + probe(), [1, 2, 3])
    list(map(probe, range(2)))
    list(map(lambda _: probe(), range(2)))
    functools.partial(probe, 1)(2)
    eval("probe()")
    exec("probe()\n\nprobe()")


@case
def multi_line():
    dict(
        a=1,
        b=probe(),
        c=[
            2,
            probe(
                3,
                4
            ),
        ],
    )
    probe(); probe()
    x = (1 +
         probe() +
         2)
    return x \
        + probe()


@case
def try_and_with():
    class Manager:
        def __enter__(self):
            probe()

        def __exit__(self, *_):
            probe()
            return True
    try:
        probe()
    finally:
        probe()
    with Manager():
        probe()
        raise ValueError
    with Manager(), \
            Manager():
        probe()
    try:
        raise KeyError
    except KeyError as error:
        probe(error)
    else:
        pass
    finally:
        probe()
    for _ in range(2):
        try:
            continue
        finally:
            probe()


class Special:
    @property
    def value(self):
        return probe()

    def __getattr__(self, name):
        return probe()

    def __getitem__(self, item):
        return probe()

    def __add__(self, other):
        return probe()

    def __iter__(self):
        probe()
        return iter(())

    def __eq__(self, other):
        return probe() == 0

    def __hash__(self):
        return probe()

    def __repr__(self):
        return str(probe())

    def __del__(self):
        probe()


@case
def special_methods():
    one = Special()
    for _ in range(3):
        one.value
        one.missing
        one[0]
        one + one
        list(one)
        one == 1
        {one: 1}
        repr(one)
        "%r" % one
        f"{one!r}"


@case
def destructor():
    Special()
    one = Special()
    two = [Special(), one]
    del one
    two.clear()

    def at_return():
        local = Special()
        return local is None
    at_return()


@case
def in_thread():
    def run():
        descend(3)
    for _ in range(2):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()


@case
def no_gil():
    global name
    size, wanted = without_gil.drv_walk(MAX, EVERYTHING), oracle(sys._getframe())
    tally.expect(name, report(size), wanted[:MAX])


NAMES = ["ascii", "caf\xe9", "\u0416\u0443\u043a", "\U00010437\U00010437", "x" * 100000]
FILES = ["plain.py", "caf\xe9.py", "\u0416.py", "\U0001f40d.py", "esc\udc80.py", "", "f" * 100000]


@case
def unusual_names():
    for one in NAMES:
        for file in FILES:
            space = {"probe": probe}
            exec(compile("def %s():\n\n    return probe()\n%s()" % (one, one), file, "exec"), space)
    for lone in ("a\ud800b", "\udfff", "z\0z", "\xff\u0100\ud834\U0010ffff"):
        changes = {"co_name": lone, "co_filename": lone + ".py"}
        if hasattr(plain.__code__, "co_qualname"):
            changes["co_qualname"] = lone + ".q"
        types.FunctionType(plain.__code__.replace(**changes), globals())()


@case
def traced():
    def tracer(frame, event, arg):
        return tracer
    sys.settrace(tracer)
    try:
        multi_line()
        generator()
        closure()
        comprehension()
    finally:
        sys.settrace(None)
    sys.setprofile(lambda *_: None)
    try:
        descend(3)
        try_and_with()
    finally:
        sys.setprofile(None)


def limits():
    global name
    name = "deep"
    for keep in (0, 1, 5, MAX):
        for limit in (0, 1, 40, EVERYTHING):
            size, wanted = driver.drv_walk(keep, limit), oracle(sys._getframe())
            tally.expect("limits", report(size), wanted[:min(keep, limit)])
            tally.expect("limits", driver.drv_depth(), min(limit, len(wanted)))
    sys.setrecursionlimit(5000)
    descend(3000)


if __name__ == "__main__":
    driver.drv_hook()
    driver.drv_watch(13)
    for one in CASES:
        name = one.__name__
        for _ in range(3 if one in (unusual_names, in_thread) else ROUNDS):
            one()
    driver.drv_watch(0)
    limits()
    tally.expect("stacks found wrong while allocating", driver.drv_watched(0), 0)
    tally.count("stacks watched", driver.drv_watched(2))
    tally.end()
