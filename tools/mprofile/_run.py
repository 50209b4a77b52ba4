# SPDX-License-Identifier: MIT
"""`mprofile run`: the environment of a profiled program, and exec.

There is no wrapper process: the program takes this one's place, so that signals, exit status,
terminal and process id are its own. Options are the library's environment variables by shorter
names, checked here in the library's words before anything runs.

Invariants: the program's environment differs in LD_PRELOAD and in the variables that were asked
for, and in nothing else; its arguments are passed on as they are.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
from typing import Dict, List, Tuple

from ._variables import FLAGS, VALUES
from .commands import CommandError, library

USAGE = """\
usage: mprofile run [options] [--] (SCRIPT.py | -m MODULE | -c CODE | PROGRAM) [ARGUMENT...]

Run a program profiled. Each Python process that it is or starts writes its own snapshots: on SIGUSR2
(mprofile dump PID), and when the options say so.

  --rate BYTES      mean bytes between samples (128k); 1 records every allocation, off nothing yet
  --frames N        most frames kept of a stack (128)
  --out PATTERN     where snapshots go (mprofile.%p.%n.bin; a folder will do)
  --signal NAME     the dump signal (USR2), or none
  --exit            one more snapshot when a process ends
  --interval TIME   a snapshot every so often: 30s, 5m, 1h
  --keep N          only the newest N snapshots of each process stay
  --native          native frames, too (libunwind)
  --memory BYTES    what the profiler may use itself (1g)
  --no-children     programs that this one starts are not profiled
  --no-argv         the command line stays out of snapshots

  mprofile run app.py --port 8000
  mprofile run --rate 16k --exit -m pytest tests
  mprofile run gunicorn --workers 4 app:app"""

def _checked(option: str, value: str) -> str:
    variable = VALUES[option]
    if not variable.is_good(value):
        text = "%s %s makes no sense: expected %s" % (option, value, variable.expected)
        raise CommandError(text)
    return value


def _options(words: List[str]) -> Tuple[Dict[str, str], List[str]]:
    """The variables that are asked for, and the program's own words."""
    variables: Dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("--"):
        option, equals, value = rest.pop(0).partition("=")
        if option == "--":
            break
        if option in FLAGS and not equals:
            name, value = FLAGS[option]
            variables[name] = value
        elif option in VALUES:
            if not equals:
                if not rest:
                    raise CommandError("%s: expected a value behind it" % option)
                value = rest.pop(0)
            variables[VALUES[option].name] = _checked(option, value)
        elif option in FLAGS:
            raise CommandError("%s takes no value" % option)
        else:
            raise CommandError(_unknown(option))
    return variables, rest


def _unknown(option: str) -> str:
    """What to say of an option that is not ours: perhaps it is misspelt, or Python's own."""
    like = difflib.get_close_matches(option, [*VALUES, *FLAGS], 1)
    if like:
        hint = "did you mean %s?" % like[0]
    elif re.match("-[A-Za-z]", option):
        hint = "an option of Python's goes behind its name: mprofile run python3 %s" % option
    else:
        hint = "see mprofile run --help"
    return "unknown option %s: %s" % (option, hint)


def _program(words: List[str]) -> List[str]:
    """The words to execute: Python's own arguments and scripts go to the Python that runs this."""
    if words[0] in ("-m", "-c"):
        if len(words) < 2:
            raise CommandError("%s: expected %s behind it" % (words[0], _BEHIND[words[0]]))
        return [sys.executable, *words]
    if words[0].startswith("-"):
        raise CommandError(_unknown(words[0]))
    if words[0].endswith((".py", ".pyw")) and os.path.exists(words[0]):
        return [sys.executable, *words]
    return words


_BEHIND = {"-m": "a module", "-c": "code"}


def _preload(path: str, before: str) -> str:
    """The library first, once: another mprofile run may have put it there."""
    others = [name for name in re.split(r"[\s:]+", before) if name not in ("", path)]
    if re.search(r"[\s:]", path):
        raise CommandError(
            "the library is at %s, which LD_PRELOAD cannot name: expected a path without spaces "
            "and colons" % path
        )
    return ":".join([path, *others])


def run(words: List[str]) -> int:
    """Does not come back unless the program cannot be run."""
    if words[:1] in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    variables, rest = _options(words)
    if not rest:
        raise CommandError("run: expected a program (see mprofile run --help)")
    program = _program(rest)
    environment = dict(os.environ, **variables)
    environment["LD_PRELOAD"] = _preload(library(), os.environ.get("LD_PRELOAD", ""))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(program[0], program, environment)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        status = 127 if number in (errno.ENOENT, errno.ENOTDIR) else 126
        why = getattr(error, "strerror", None) or str(error)
        raise CommandError("%s: %s" % (program[0], why), status) from None
