# SPDX-License-Identifier: MIT
"""`--html`: the whole report as one page that needs nothing but a browser.

The page is made of the files in `page/`: its modules are joined into one script, and the figures
lie beside it, compressed, as one block of base64. So it can be mailed, kept beside a build, or
opened on a machine without a network; and no name of a program can end an element, or be markup,
for there is no name in the page's text at all.

It draws on a canvas of its own. Libraries for flame graphs (d3-flame-graph, flamebearer, the
viewers that are whole applications) keep an element of SVG for each frame, or know one number a
stack: 100,000 stacks at 60 frames a second need level of detail, and ±, ages, types and growth
need the rows. That is 300 lines here, which the reader carries, and never fetches.

Invariants:
- the page loads nothing: its policy forbids it, and allows only the script it was written with,
  known by its hash;
- figures are the reader's sums; nothing is in it beyond the snapshot's facts and the source lines
  of Python files that are on this machine;
- the same snapshot gives the same page, with the same Python.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import struct
import sys
import zlib
from array import array
from typing import Any, Dict, List, Sequence, Tuple

from ._account import CLASSES
from ._accountreport import _LABELS, account_json
from ._agebins import age_limits, run_length
from ._books import Books
from ._headreport import HeadReport, _each, _taken_text, sampling_words
from ._heap import Heap
from ._htmlrows import Part, Rows
from ._htmltree import Tree
from ._report import WHAT
from ._rows import Query, UsageError, wanted_sites
from ._sums import Sums
from ._text import Glyphs, printable

PAGE_VERSION = 1
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page")
#: In an order in which each needs only those before it.
MODULES = (
    "units.js",
    "data.js",
    "weights.js",
    "frames.js",
    "tree.js",
    "colours.js",
    "flame.js",
    "table.js",
    "ages.js",
    "account.js",
    "state.js",
    "keys.js",
    "main.js",
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_LOUD = ("LOST", "DAMAGED", "NO STACKS", "not seen", "note")
_HEAD_WIDTH, _UNWRAPPED = 96, 1 << 20
_LEVEL = 6
_GROUPS = ("lineno", "function", "filename", "type", "domain")


def check_page(query: Query) -> None:
    """Refuse what has no meaning for a page."""
    if query.cumulative:
        raise UsageError(
            "--cumulative goes with a table; the page's flame graph shows what is below a frame"
        )
    if query.by not in _GROUPS + ("traceback",):
        raise UsageError("--html has no table by %s; it has %s" % (query.by, ", ".join(_GROUPS)))


def page_text(
    parts: Sequence[Heap],
    sums: Sequence[Sums],
    books: Books,
    notes: Sequence[str],
    query: Query,
    reader: str,
    old: Sequence[Heap] = (),
) -> str:
    """The page of the merged heaps *parts*, with growth since the merged heaps *old* if given.

    *books* are closed; *sums* are the live samples by site, for the head. Raises OSError where the
    page's own files cannot be read.
    """
    facts, columns = _page_data(parts, old, query)
    facts.update(_texts(parts, sums, books, notes, query, reader))
    script, style = _script(), _file("page.css")
    values = {
        "TITLE": html.escape("mprofile: " + facts["title"]),
        "POLICY": "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        "script-src '%s'; style-src '%s'" % (_hash(script), _hash(style)),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _packed(facts, columns),
    }
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: values[match.group(1)], _file("page.html"))


def _page_data(
    parts: Sequence[Heap], old: Sequence[Heap], query: Query
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The facts and columns that come out of the samples."""
    length = run_length(parts)
    tree = Tree()
    rows = Rows(tree, age_limits(length))
    asked = [[Part(heap, wanted_sites(heap, query)) for heap in one] for one in (parts, old)]
    rows.add(*asked)
    sources = tree.sources()
    columns: Dict[str, Any] = {
        "func_name": tree.func_name,
        "func_file": tree.func_file,
        "func_first": tree.func_first,
        "frame_func": tree.frame_func,
        "frame_line": tree.frame_line,
        "frame_source": sources,
        "node_parent": tree.node_parent,
        "node_frame": tree.node_frame,
        "stack_node": rows.stack_node,
        "stack_domain": rows.stack_domain,
        "stack_key": rows.stack_key,
        "row_stack": rows.row_stack,
        "row_type": rows.row_type,
        "row_now": rows.row_now,
        "row_then": rows.row_then,
    }
    columns.update(("row_" + name, column) for name, column in rows.row_sums.items())
    columns.update(("stack_" + name, column) for name, column in rows.sums.items())
    if old:
        columns.update(("then_" + name, column) for name, column in rows.then.items())
        columns.update(("growth_" + name, column) for name, column in rows.growth.items())
    heaps = [*parts, *old]
    facts = {
        "limits": list(rows.limits),
        "length": length,
        "diff": bool(old),
        "types": any(heap.has_types for heap in parts),
        "exact": all(rate <= 1 for heap in heaps for rate in (heap.head.rate, *heap.rates)),
        "strings": tree.strings.texts(),
    }
    return facts, columns


def _texts(
    parts: Sequence[Heap],
    sums: Sequence[Sums],
    books: Books,
    notes: Sequence[str],
    query: Query,
    reader: str,
) -> Dict[str, Any]:
    """What the page says in words: those of the other reports."""
    glyphs = Glyphs()
    head = list(HeadReport(_HEAD_WIDTH, glyphs).lines(parts, sums, books.short()))
    whole = HeadReport(_UNWRAPPED, glyphs).lines(parts, sums)
    loud = [line for line in whole if line.startswith(_LOUD)]
    for note in notes:
        for heap in books.heaps:
            note = note.replace(heap.path, os.path.basename(heap.path))
        loud.append("note       " + printable(note))
    pids = ", ".join(heap.head.text("pid") or "?" for heap in parts[:4])
    more = len(parts) - 4
    title = "%s, pid %s" % (
        _each(_program(heap) for heap in parts) or "snapshot",
        pids + (" and %d more" % more if more > 0 else ""),
    )
    return {
        "version": PAGE_VERSION,
        "reader": reader,
        "title": printable(title),
        "taken": printable(_each(_taken_text(heap.head) for heap in parts)),
        "rate": printable(_each(sampling_words(heap) for heap in parts)),
        "head": head,
        "loud": [[line[:10].strip(), line[11:]] for line in loud],
        "account": _account(books),
        "what": WHAT,
        "value": query.value,
        "group": query.by if query.by in _GROUPS else "lineno",
        "filtered": [*query.include, *("not " + one for one in query.exclude)],
    }


def _program(heap: Heap) -> str:
    """The command, without the folder of what ran it."""
    words = heap.head.cmdline or [heap.head.text("exe") or ""]
    return " ".join([os.path.basename(words[0]), *words[1:]])


def _account(books: Books) -> Any:
    account = account_json(books.total, books.verdict)
    if not account:
        return None
    return {
        "bytes": account["bytes"],
        "items": account["items"],
        "labels": _LABELS,
        "classes": {key: name for name, keys in CLASSES.items() for key in keys},
        "short": printable(books.verdict.short) if books.verdict else "",
    }


def _packed(facts: Dict[str, Any], columns: Dict[str, Any]) -> str:
    """Facts and columns, compressed, as text: u32 length, JSON, columns at multiples of 8."""
    layout: List[List[Any]] = []
    at = 0
    for name, column in columns.items():
        layout.append([name, column.typecode, at, len(column)])
        at += (len(column) * column.itemsize + 7) & ~7
    facts["columns"] = layout
    text = json.dumps(facts, separators=(",", ":")).encode("ascii")
    text += b" " * (-(len(text) + 4) % 8)
    squeeze = zlib.compressobj(_LEVEL)
    pieces = [squeeze.compress(struct.pack("<I", len(text)) + text)]
    for column in columns.values():
        pieces.append(squeeze.compress(_little(column)))
        pieces.append(squeeze.compress(bytes(-(len(column) * column.itemsize) % 8)))
    pieces.append(squeeze.flush())
    return base64.b64encode(b"".join(pieces)).decode("ascii")


def _little(column: Any) -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return bytes(column)


def _file(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()


def _script() -> str:
    """The page's modules as one: without the lines that tie them together."""
    return "".join(_EXPORT.sub("", _IMPORT.sub("", _file(name))) for name in MODULES)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
