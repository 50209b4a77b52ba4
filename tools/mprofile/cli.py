# SPDX-License-Identifier: MIT
"""The command `mprofile-read`.

Invariants: exit status 0 fine, 1 wrong usage, 2 the file cannot be read; each failure is one line
on standard error; a reader of our output that goes away (`| head`) is no failure.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import IO, Iterable, NoReturn, Optional, Sequence

from . import __version__
from . import _exports as exports
from . import _leaks as leaks
from . import _sidebyside as sides
from ._books import rss_lines
from ._columns import wrapped_lines
from ._diffreport import DiffReport
from ._format import MAJOR, MINOR, SnapshotError
from ._headreport import HeadReport
from ._html import check_page
from ._leakreport import LeakReport
from ._native import NativeLines, demangle, name_functions
from ._paint import paint_for
from ._progress import read_heaps
from ._reading import Reading, make_reading
from ._report import TableReport
from ._rows import BY, VALUES, Query, UsageError
from ._text import Glyphs, glyphs_for, printable, stream_width, tolerate
from ._tree import TreeReport
from ._trend import sets_of
from ._where import Where

EXIT_USAGE = 1
EXIT_UNREADABLE = 2
_DEFAULT_LIMIT = 20

_EPILOG = """\
Figures are estimates from samples; ± is one standard error. GLOB is matched, as fnmatch and
tracemalloc's Filter do, against the whole file name of the nearest Python frame; * matches / too.
Where native frames are recorded, lines, files and functions are still those of the nearest Python
frame, the native one nearest to the block below it; a stack without any Python frame goes by its
nearest native frame; --by traceback shows all frames.
Exit status: 0 fine, 1 wrong usage, 2 a file cannot be read.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, "%s: %s (see --help)\n" % (self.prog, printable(message)))


def _limit(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if value < 0:
        raise argparse.ArgumentTypeError("%r is no number of rows; 0 shows all" % text)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mprofile-read",
        description="Say where the memory of a profiled process is.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("snapshot", nargs="+", metavar="SNAPSHOT", help="several files of one program are merged")
    add("--by", choices=BY, default="lineno", metavar="KEY", help="group by " + ", ".join(BY))
    add(
        "--cumulative",
        action="store_true",
        help="count a block in each frame of its stack, as tracemalloc does",
    )
    add(
        "--value",
        choices=VALUES,
        default="inuse_bytes",
        metavar="VALUE",
        help="what is ranked: %s (default inuse_bytes); the peak is a maximum of estimates and "
        "leans upwards" % ", ".join(VALUES),
    )
    add(
        "--limit",
        type=_limit,
        metavar="N",
        help="show N rows, 0 all (default %d; all with --json)" % _DEFAULT_LIMIT,
    )
    _add_filters(parser)
    _add_reports(parser)
    add(
        "--rss",
        action="store_true",
        help="account for the process's size: what its resident memory is, and what can be done",
    )
    add(
        "--debug-dir",
        metavar="DIR",
        help="debug information of native code: DIR/.build-id/xx/yyyy.debug, "
        "DIR/NAME.debug, DIR/NAME",
    )
    _add_exports(parser)
    add("--salvage", action="store_true", help="read what is whole of a damaged file")
    add(
        "--version",
        action="version",
        version="mprofile-read %s, snapshot format %d.%d" % (__version__, MAJOR, MINOR),
    )
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="only blocks whose nearest frame is in such a file; may be repeated",
    )
    add(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="no blocks whose nearest frame is in such a file; may be repeated",
    )


def _add_reports(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--diff",
        action="append",
        default=[],
        metavar="OLD",
        help="what changed since OLD; repeated, the OLDs are merged as the SNAPSHOTs are",
    )
    add(
        "--significant",
        action="store_true",
        help="with --diff: hide what is within the noise, less than twice its error",
    )
    add(
        "--leaks",
        action="store_true",
        help="what grows, judged by the ages of what is alive; of several snapshots of one "
        "process, what grew in each",
    )
    add("--tree", action="store_true", help="callers as a tree, the heaviest path open")
    add(
        "--side-by-side",
        action="store_true",
        help="a column for each of several processes, the heaviest first",
    )


def _add_exports(parser: argparse.ArgumentParser) -> None:
    for one in exports.EXPORTS:
        text = "write %s to FILE, - for standard output" % one.what
        parser.add_argument("--" + one.option, metavar="FILE", help=text)
    parser.add_argument(
        "--leaf-first",
        action="store_true",
        help="with --collapsed: the nearest frame first, for flame graphs of who allocates",
    )


def main(arguments: Optional[Sequence[str]] = None) -> int:
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        return _fail(EXIT_USAGE, "standard output is closed; expected somewhere to write to")
    for stream in (sys.stdout, sys.stderr):
        tolerate(stream)
    try:
        status = _main(_parser().parse_intermixed_args(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Nobody reads on. The interpreter must not try to flush again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        return _fail(EXIT_UNREADABLE, "there is not enough memory to read this")
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(EXIT_USAGE, "cannot write the report: %s" % error.strerror)


def _fail(status: int, text: str) -> int:
    print("mprofile-read: %s" % printable(text), file=sys.stderr)
    return status


def _check(options: argparse.Namespace, query: Query) -> None:
    """Refuse combinations that have no meaning, before anything is read."""
    query.check()
    names = ("diff", "leaks", "tree", "side-by-side", "rss")
    modes = [name for name in names if getattr(options, name.replace("-", "_"))]
    if len(modes) > 1:
        raise UsageError("%s: expected one of them" % " and ".join("--" + name for name in modes))
    if options.leaks:
        leaks.check(query)
    if options.side_by_side:
        sides.check(query)
    if options.tree and (query.by != "lineno" or query.cumulative):
        raise UsageError("--tree goes without --by and --cumulative")
    if options.significant and not options.diff:
        raise UsageError("--significant goes with --diff only")
    if options.leaf_first and options.collapsed is None:
        raise UsageError("--leaf-first goes with --collapsed only")
    if options.debug_dir is not None and not os.path.isdir(options.debug_dir):
        wrong = "not a folder" if os.path.exists(options.debug_dir) else "no such folder"
        raise UsageError("--debug-dir %s: %s" % (options.debug_dir, wrong))
    if options.html is not None:
        check_page(query)
    exports.check(options, bool(options.diff), options.leaks, options.side_by_side)


def _main(options: argparse.Namespace) -> int:
    query = Query(options.by, options.value, options.cumulative, options.include, options.exclude)
    try:
        _check(options, query)
        heaps = read_heaps([*options.snapshot, *options.diff], options.salvage)
        query.check_heaps(heaps)
        new, old = heaps[: len(options.snapshot)], heaps[len(options.snapshot) :]
        sets = sets_of(new) if options.leaks else [new]
    except UsageError as error:
        return _fail(EXIT_USAGE, str(error))
    except SnapshotError as error:
        return _fail(EXIT_UNREADABLE, str(error))
    except OSError as error:
        return _fail(EXIT_UNREADABLE, "%s: %s" % (error.filename, error.strerror))
    native = NativeLines(options.debug_dir and os.path.abspath(options.debug_dir))
    name_functions(heaps, native.files)
    demangle(heaps)
    wanted = exports.chosen(options)
    glyphs = Glyphs() if wanted else glyphs_for(sys.stdout)
    reading = make_reading(query, sets, old, glyphs)
    reading.leaf_first, reading.leaks_wanted = options.leaf_first, options.leaks
    reading.sides_wanted, reading.limit = options.side_by_side, options.limit or 0
    for one, path in wanted:
        wrong = exports.too_large(one, reading) or exports.write(
            one.option, path, one.make(reading)
        )
        if wrong:
            return _fail(EXIT_USAGE, wrong)
    if not wanted:
        _report(options, reading, glyphs, native)
    return 0


def _report(
    options: argparse.Namespace, reading: Reading, glyphs: Glyphs, native: NativeLines
) -> None:
    """The head, and below it the report that is asked for, as text."""
    out = sys.stdout
    width, paint = stream_width(out), paint_for(out)
    short = reading.books.short() if not options.rss else []
    _print(out, HeadReport(width, glyphs, paint).lines(reading.parts, reading.sums, short))
    for note in reading.notes:
        _print(out, wrapped_lines("note: " + printable(note), width))
    _print(out, [""])
    limit = _DEFAULT_LIMIT if options.limit is None else options.limit
    where = Where(width, glyphs, native, paint, reading.learn_types)
    if options.rss:
        lines = rss_lines(reading.books, width, glyphs)
    elif options.diff:
        found, significant = reading.difference(), options.significant
        lines = DiffReport(where).lines(found, reading.parts, reading.old, limit, significant)
    elif options.leaks and len(reading.sets) > 1:
        lines = LeakReport(where).trend(reading.trend(), limit)
    elif options.leaks:
        lines = LeakReport(where).lines(reading.leaks(), limit)
    elif options.tree:
        lines = TreeReport(width, glyphs, paint).lines(reading.pairs, reading.query, options.limit)
    elif options.side_by_side:
        lines = sides.SideReport(where).side_lines(reading.side_by_side(), limit)
    else:
        lines = TableReport(where).lines(reading.result(), limit)
    _print(out, lines)


def _print(out: IO[str], lines: Iterable[str]) -> None:
    for line in lines:
        out.write(line + "\n")
