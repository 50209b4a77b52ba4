# SPDX-License-Identifier: MIT
"""The exports: each an option, and what it writes. A new one is a row of the table.

Invariants: weights are in, once; figures are the report's; no export is written over a snapshot;
with an export nothing else is printed.
"""

from __future__ import annotations

import os
import sys
from typing import Callable, NamedTuple, Optional, Tuple

from . import __version__
from ._collapsed import collapsed, collapsed_difference
from ._format import MAGIC
from ._headreport import sampling_words
from ._html import page_text
from ._json import diff_json, leaks_json, report_json, sides_json, trend_json
from ._pprof import pprof
from ._reading import Reading
from ._rows import UsageError
from ._speedscope import speedscope


class Export(NamedTuple):
    option: str
    #: What --help says, before "to FILE, - for standard output".
    what: str
    make: Callable[[Reading], bytes]
    #: Whether it has a meaning with --diff, with --leaks, and with --side-by-side.
    with_diff: bool = False
    with_leaks: bool = False
    with_sides: bool = False


def _json(reading: Reading) -> bytes:
    if reading.leaks_wanted and len(reading.sets) > 1:
        text = trend_json(reading, reading.trend(), __version__)
    elif reading.leaks_wanted:
        text = leaks_json(reading, reading.leaks(), __version__)
    elif reading.sides_wanted:
        text = sides_json(reading, reading.side_by_side(), __version__)
    elif reading.old:
        text = diff_json(reading, reading.difference(), __version__)
    else:
        text = report_json(reading, reading.result(), __version__)
    return text.encode("ascii")


def _pprof(reading: Reading) -> bytes:
    comments = ["mprofile %s; figures are estimates, weights are in" % __version__]
    for heap in reading.parts:
        pid = heap.head.text("pid") or "unknown"
        comments.append("pid %s: sampled %s" % (pid, sampling_words(heap)))
    return pprof(reading.pairs, reading.query, comments)


def _collapsed(reading: Reading) -> bytes:
    if reading.old:
        text = collapsed_difference(
            reading.pairs, reading.old_pairs, reading.query, reading.leaf_first
        )
    else:
        text = collapsed(reading.pairs, reading.query, reading.leaf_first)
    return text.encode("utf-8", "replace")


def _speedscope(reading: Reading) -> bytes:
    name = os.path.basename(reading.parts[0].path)
    return speedscope(reading.pairs, reading.query, name, __version__).encode("ascii")


def _html(reading: Reading) -> bytes:
    text = page_text(
        reading.parts,
        reading.sums,
        reading.books,
        reading.notes,
        reading.query,
        __version__,
        reading.old,
    )
    return text.encode("utf-8")


def _pickle(reading: Reading) -> bytes:
    import pickle

    from .snapshot import Snapshot

    stock = Snapshot._from_heaps(reading.parts).to_tracemalloc()
    if stock.blocks_per_trace > 1.0:  # type: ignore[attr-defined]
        text = "--pickle: too many blocks to have a trace each: sizes are right, counts are not"
        print("mprofile-read: %s" % text, file=sys.stderr)
    return pickle.dumps(stock, pickle.HIGHEST_PROTOCOL)


EXPORTS: Tuple[Export, ...] = (
    Export("json", "the report as JSON", _json, True, True, True),
    Export("pprof", "all stacks and values for `go tool pprof`, gzipped,", _pprof),
    Export("collapsed", "stacks, one a line, for flamegraph.pl", _collapsed, with_diff=True),
    Export("speedscope", "stacks for speedscope.app", _speedscope),
    Export("html", "one self-contained page with a flame graph", _html, with_diff=True),
    Export("pickle", "what tracemalloc.Snapshot.load of this Python loads", _pickle),
)


def chosen(options: object) -> "list[Tuple[Export, str]]":
    """The exports that are asked for, and where to."""
    found = [(one, getattr(options, one.option)) for one in EXPORTS]
    return [(one, path) for one, path in found if path is not None]


def check(options: object, diff: bool, leaks: bool, sides: bool) -> None:
    wanted = chosen(options)
    if sum(path == "-" for _, path in wanted) > 1:
        names = " and ".join("--" + one.option for one, path in wanted if path == "-")
        raise UsageError("%s: expected one of them on standard output" % names)
    for one, _ in wanted:
        if diff and not one.with_diff:
            hint = (
                ": give both profiles to go tool pprof -diff_base" if one.option == "pprof" else ""
            )
            raise UsageError("--%s goes without --diff%s" % (one.option, hint))
        if leaks and not one.with_leaks:
            raise UsageError("--%s goes without --leaks" % one.option)
        if sides and not one.with_sides:
            raise UsageError("--%s goes without --side-by-side" % one.option)


def is_snapshot(path: str) -> bool:
    """A glob behind an option gives it the first of the snapshots."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def write(option: str, path: str, data: bytes) -> Optional[str]:
    """Write an export; what went wrong, in words, or None."""
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return None
    try:
        if is_snapshot(path):
            return "--%s %s: that is a snapshot; expected another name" % (option, path)
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        return "--%s %s: %s" % (option, path, error.strerror)
    return None
