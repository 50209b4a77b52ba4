# SPDX-License-Identifier: MIT
"""The command `mprofile`: run a program profiled, ask a profiled one for a snapshot.

Invariants: exit status 0 fine, 1 wrong usage or cannot be done; 126 and 127 as a shell's where a
program cannot be run; each failure is one line on standard error.
"""

from __future__ import annotations

import sys
from typing import List, Optional, Sequence

from . import __version__
from ._text import printable

USAGE = """\
usage: mprofile run [options] [--] PROGRAM [ARGUMENT...]
       mprofile dump PID [--wait SECONDS]
       mprofile lib

A memory profiler for Python that is left on in production.

  mprofile run app.py                       profile a script
  mprofile run -m http.server               a module
  mprofile run gunicorn app:app             any program that is or starts Python
  mprofile dump PID                         write a snapshot of it, print its path
  mprofile-read mprofile.PID.1.bin          read it
  LD_PRELOAD=$(mprofile lib) python app.py  the same as run, by hand

mprofile run --help, mprofile dump --help: their options."""


class CommandError(Exception):
    """What cannot be done, in one line; and the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def main(arguments: Optional[Sequence[str]] = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _command(words)
    except CommandError as error:
        print("mprofile: %s" % printable(str(error)), file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130


def _command(words: List[str]) -> int:
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("--help", "-h", "help"):
        print(USAGE)
        return 0
    if name == "--version":
        print("mprofile %s" % __version__)
        return 0
    if name == "run":
        from ._run import run

        return run(rest)
    if name == "dump":
        from ._dumping import dump

        return dump(rest)
    if name == "lib":
        return _lib(rest)
    what = "no command" if not name else "unknown command %r" % name
    raise CommandError("%s; expected run, dump or lib (see mprofile --help)" % what)


def library() -> str:
    """The path of the library, or a CommandError that says that it is not there."""
    from ._library import FILE_NAME, path

    found = path()
    if found is None:
        raise CommandError(
            "%s is not beside the package, nor in the build folder of a source tree: build it first"
            % FILE_NAME
        )
    return found


def _lib(words: List[str]) -> int:
    if words in (["--help"], ["-h"]):
        print("usage: LD_PRELOAD=$(mprofile lib) PROGRAM\n\nPrint the path of the library.")
        return 0
    if words:
        raise CommandError("lib takes no arguments")
    print(library())
    return 0
