# SPDX-License-Identifier: MIT
"""Inside an interpreter: line tables and strings, against the interpreter's own answers.

Usage: inside_lines.py DRIVER MODULES (how many files of the standard library; 0: all)
"""
import ctypes
import glob
import os
import sys
import types
import warnings

from inside import Tally, driver

tally = Tally()


def codes_of(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def compare(code):
    where = ctypes.c_int(0)
    wrong = driver.drv_compare(id(code), len(code.co_code), ctypes.addressof(where))
    tally.count("instructions", len(code.co_code) // 2)
    tally.expect("code objects", (code.co_filename, code.co_name, wrong, where.value),
                 (code.co_filename, code.co_name, 0, where.value))


def standard_library(count):
    files = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "**", "*.py"), recursive=True))
    files = [file for file in files if "site-packages" not in file and "-packages" not in file]
    step = max(1, len(files) // count) if count else 1
    for file in files[::step]:
        try:
            with open(file, "rb") as source, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = compile(source.read(), file, "exec")
        except (SyntaxError, ValueError, OSError):  # the test suite has some on purpose
            continue
        tally.count("modules")
        for code in codes_of(module):
            compare(code)


def unusual_tables():
    """Long jumps of lines and of bytes, backwards too, and code with no line of its own."""
    for gap in (1, 126, 127, 128, 129, 255, 256, 300, 5000, 70000):
        body = "x = 1\n" + "\n" * gap + "y = (x +\n" + "\n" * gap + "x)\nfor i in y: pass\n"
        compare(compile(body, "gap", "exec"))
        body = "x = [%s]\ny = 1\n" % ", ".join("a.b.c.d(%d)" % i for i in range(gap % 400))
        compare(compile(body, "wide", "exec"))
        body = "f(\n" + "\n" * gap + "a, b\n,c)\nwhile x:\n  try: g()\n  finally: h()\n"
        compare(compile(body, "back", "exec"))
    space = {}
    exec("async def f():\n  async with a as b, c:\n    async for x in y:\n      yield x\n", space)
    compare(space["f"].__code__)
    compare(compile("", "empty", "exec"))
    moved = space["f"].__code__.replace(co_firstlineno=2**31 - 1)
    driver.drv_line(id(moved), 20)


def variants():
    """Many functions that differ in the lines of their statements only."""
    for i in range(3000):
        gaps = ["\n" * (1 + (i >> shift) % 3) for shift in (0, 2, 4, 6, 8, 10)]
        source = "def f(a):\n" + "".join("    a += %d%s" % (n, gap) for n, gap in enumerate(gaps)) + "    return a\n"
        space = {}
        exec(source, space)
        space["f"](i)
        compare(space["f"].__code__)


def as_utf8(text, capacity):
    buffer = ctypes.create_string_buffer(capacity + 8)
    size = driver.drv_utf8(id(text), ctypes.addressof(buffer), capacity)
    tally.expect("not past the end", buffer.raw[max(size, 0):].strip(b"\0"), b"")
    return buffer.raw[:size] if size >= 0 else None


def strings():
    texts = ["", "a", "caf\xe9", "\x7f\x80\xff\u0100", "\u07ff\u0800\uffff", "\U00010000\U0010ffff", "a\ud800\udfffb",
             "\0\0", "x" * 9999, "\xe9" * 9999, "\u0416" * 9999, "\U0001f40d" * 9999]
    for text in texts:
        whole = text.encode("utf-8", "surrogatepass")
        tally.expect("utf8", as_utf8(text, len(whole)), whole)
        for capacity in list(range(0, min(len(whole), 12))) + [max(0, len(whole) - 1)]:
            cut = whole[:capacity]
            while cut and len(cut) < len(whole) and (whole[len(cut)] & 0xc0) == 0x80:
                cut = cut[:-1]
            tally.expect("utf8 cut", as_utf8(text, capacity), cut)

    class Text(str):
        pass
    for other in (1, b"bytes", None, Text("x"), []):
        tally.expect("not a str", as_utf8(other, 16), None)


if __name__ == "__main__":
    unusual_tables()
    variants()
    strings()
    standard_library(int(sys.argv[2]))
    tally.end()
