# SPDX-License-Identifier: MIT
"""Runs CPython's own tests of tracemalloc against mprofile, in the interpreter whose tests they are.

    python suite_in_process.py TOOLS_FOLDER        prints one line of JSON: {test: "" or what went wrong}

Of the test module two lines are changed: the import, and the module's name in the one message that
has it. Run by tests/api/tracemalloc_suite.
"""
import importlib.util
import io
import json
import sys
import types
import unittest

NAME = "test.test_tracemalloc"
CHANGES = [
    ("\nimport tracemalloc\n", "\nimport mprofile as tracemalloc\n"),
    ('"the tracemalloc module must be tracing memory "', '"the mprofile module must be tracing memory "'),
]
# Frames below the tests: one of them expects a stack as deep as that of `python -m test`.
DEPTH = 10


def load():
    spec = importlib.util.find_spec(NAME)
    if spec is None or spec.loader is None:
        sys.exit("this Python has no %s" % NAME)
    source = spec.loader.get_source(NAME)
    for old, new in CHANGES:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    module = types.ModuleType(NAME)
    module.__file__ = spec.origin
    sys.modules[NAME] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


class Outcomes(unittest.TestResult):
    """What became of each test, by its name without the module's."""

    def __init__(self):
        super().__init__()
        self.outcomes = {}

    def stopTest(self, test):
        name = test.id().split(NAME + ".")[-1]
        self.outcomes.setdefault(name, "")
        super().stopTest(test)

    def _put(self, test, text):
        name = test.id().split(NAME + ".")[-1]
        self.outcomes[name] = text.strip()

    def addError(self, test, err):
        super().addError(test, err)
        self._put(test, self._exc_info_to_string(err, test))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._put(test, self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._put(test, "skipped: " + reason)


def run(suite, result, depth=DEPTH):
    if depth:
        run(suite, result, depth - 1)
    else:
        suite.run(result)


def main():
    sys.path.insert(0, sys.argv[1])
    suite = unittest.defaultTestLoader.loadTestsFromModule(load())
    result = Outcomes()
    printed, sys.stdout = sys.stdout, io.StringIO()
    run(suite, result)
    sys.stdout = printed
    import mprofile

    assert not mprofile.is_tracing()
    print(json.dumps(result.outcomes))


if __name__ == "__main__":
    main()
