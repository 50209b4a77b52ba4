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
from ._books import Books, rss_lines
from ._format import MAGIC, MAJOR, MINOR, SnapshotError
from ._headreport import HeadReport
from ._heap import Heap
from ._html import check_page, page_text
from ._ids import read_heap
from ._json import report_json
from ._merge import merge
from ._native import NativeLines, demangle
from ._report import TableReport
from ._rows import BY, VALUES, Query, UsageError, run
from ._sums import sum_sites
from ._text import Glyphs, glyphs_for, printable, stream_width, tolerate

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
    add("--json", metavar="FILE", help="write the report as JSON to FILE, - for standard output")
    add(
        "--pickle",
        metavar="FILE",
        help="write the live blocks to FILE, - for standard output, as tracemalloc.Snapshot.load "
        "reads them, in the form of the Python that runs this; nothing else is printed",
    )
    add(
        "--html",
        metavar="FILE",
        help="write one self-contained page with a flame graph to FILE, - for standard output",
    )
    add("--salvage", action="store_true", help="read what is whole of a damaged file")
    add(
        "--version",
        action="version",
        version="mprofile-read %s, snapshot format %d.%d" % (__version__, MAJOR, MINOR),
    )
    return parser


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


def _main(options: argparse.Namespace) -> int:
    query = Query(options.by, options.value, options.cumulative, options.include, options.exclude)
    try:
        query.check()
        _check_exports(options, query)
        if options.debug_dir is not None and not os.path.isdir(options.debug_dir):
            raise UsageError("--debug-dir %s: no such folder" % options.debug_dir)
        heaps = [read_heap(path, options.salvage) for path in options.snapshot]
        query.check_heaps(heaps)
    except UsageError as error:
        return _fail(EXIT_USAGE, str(error))
    except SnapshotError as error:
        return _fail(EXIT_UNREADABLE, str(error))
    except OSError as error:
        return _fail(EXIT_UNREADABLE, "%s: %s" % (error.filename, error.strerror))
    demangle(heaps)
    if options.pickle is not None:
        return _write("--pickle", options.pickle, _stock_pickle(merge(heaps)[0]))
    books = Books(heaps)
    parts, notes = merge(heaps)
    sums = [sum_sites(heap) for heap in parts]
    out = sys.stdout
    to_file = options.json is not None or options.html is not None
    glyphs = Glyphs() if to_file else glyphs_for(out)
    books.close(parts, sums, glyphs)
    if options.html is not None:
        text = page_text(parts, sums, books, notes, query, __version__)
        return _write("--html", options.html, text.encode("utf-8"))
    result = run(parts, sums, query)
    if options.json is not None:
        text = report_json(parts, notes, books, result, options.limit or 0, __version__)
        return _write("--json", options.json, text.encode("ascii"))
    width = stream_width(out)
    short = books.short() if not options.rss else []
    _print(out, HeadReport(width, glyphs).lines(parts, sums, short))
    _print(out, ["note: " + printable(note) for note in notes] + [""])
    if options.rss:
        _print(out, rss_lines(books, width, glyphs))
        return 0
    limit = _DEFAULT_LIMIT if options.limit is None else options.limit
    native = NativeLines(options.debug_dir and os.path.abspath(options.debug_dir))
    _print(out, TableReport(width, glyphs, native).lines(result, limit))
    return 0


def _check_exports(options: argparse.Namespace, query: Query) -> None:
    names = ("pickle", "json", "html")
    chosen = ["--" + name for name in names if getattr(options, name) is not None]
    if len(chosen) > 1:
        raise UsageError("%s: expected one of them" % " and ".join(chosen))
    if options.html is not None:
        check_page(query)


def _print(out: IO[str], lines: Iterable[str]) -> None:
    for line in lines:
        out.write(line + "\n")


def _stock_pickle(heaps: Sequence[Heap]) -> bytes:
    import pickle

    from .snapshot import Snapshot

    stock = Snapshot._from_heaps(heaps).to_tracemalloc()
    if stock.blocks_per_trace > 1.0:  # type: ignore[attr-defined]
        text = "--pickle: there are too many blocks to have a trace each: sizes are right, counts not"
        print("mprofile-read: %s" % text, file=sys.stderr)
    return pickle.dumps(stock, pickle.HIGHEST_PROTOCOL)


def _is_snapshot(path: str) -> bool:
    """A glob behind an export's option gives it the first of the snapshots."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _write(option: str, path: str, data: bytes) -> int:
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    try:
        if _is_snapshot(path):
            text = "%s %s: that is a snapshot; expected another name" % (option, path)
            return _fail(EXIT_USAGE, text)
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        return _fail(EXIT_USAGE, "%s %s: %s" % (option, path, error.strerror))
    return 0
