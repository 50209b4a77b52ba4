# SPDX-License-Identifier: MIT
"""What the scripts that run inside an interpreter under test share: the driver, and the oracle.

The oracle is CPython's own view, sys._getframe and traceback; the walk must say the same in the same
place. Python 3.8 and later, standard library only.
"""
import ctypes
import json
import struct
import sys
import sysconfig
import traceback

MINOR = sys.version_info[1]
FREE_THREADED = int(bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
RECORD = struct.Struct("6i")
EVERYTHING = 1 << 20

driver = ctypes.PyDLL(sys.argv[1])
without_gil = ctypes.CDLL(sys.argv[1])
driver.drv_walk.restype = without_gil.drv_walk.restype = ctypes.c_long
driver.drv_data.restype = ctypes.c_void_p
driver.drv_validate_runtime.restype = ctypes.c_char_p
driver.drv_compare.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
driver.drv_line.argtypes = [ctypes.c_void_p, ctypes.c_int]
driver.drv_utf8.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
if driver.drv_open(MINOR, FREE_THREADED) != 0:
    sys.exit("the driver does not know this interpreter")


def oracle(frame):
    """Nearest first: file, name, qualified name, first line, line."""
    stack = []
    while frame is not None:
        code = frame.f_code
        line = code.co_firstlineno if frame.f_lineno is None else frame.f_lineno
        stack.append((code.co_filename, code.co_name, getattr(code, "co_qualname", None),
                      code.co_firstlineno, line))
        frame = frame.f_back
    return stack


def as_traceback(frame):
    return [(one.filename, one.name, one.lineno) for one in traceback.StackSummary.extract(
        traceback.walk_stack(frame), lookup_lines=False)]


def report(size):
    """The driver's report of its last walk, in the oracle's form."""
    data, at, stack = ctypes.string_at(driver.drv_data(), size), 0, []
    while at < size:
        firstline, line, _, *sizes = RECORD.unpack_from(data, at)
        at += RECORD.size
        texts = []
        for length in sizes:
            texts.append(None if length < 0 else data[at:at + length].decode("utf-8", "surrogatepass"))
            at += max(length, 0)
        stack.append((*texts, firstline, line))
    return stack


class Tally:
    """Counts what was compared, and keeps the first differences."""

    def __init__(self):
        self.counts, self.wrong = {}, []

    def count(self, name, n=1):
        self.counts[name] = self.counts.get(name, 0) + n

    def expect(self, name, got, wanted):
        self.count(name)
        if got != wanted and len(self.wrong) < 20:
            self.wrong.append("%s: got %.600s, wanted %.600s" % (name, ascii(got), ascii(wanted)))

    def end(self):
        json.dump({"counts": self.counts, "wrong": self.wrong}, sys.stdout)
        print()
