# SPDX-License-Identifier: MIT
"""`--json`: the report for programs.

The shape is stable: names below keep their meaning within a `report_version`; new names may come.

    {"report_version": 1, "reader": "1.0.0",
     "processes": [{"file", "head": {key: text}, "rss_bytes", "rss_peak_bytes", "live_samples",
                    "counted_elsewhere", "left_out": [text], "account": ACCOUNT}],
     "account": ACCOUNT, "notes": [text],
     "by", "value", "cumulative", "include": [glob], "exclude": [glob],
     "total": FIGURES, "selected": FIGURES,
     "rows": [FIGURES + what names the row], "rows_left_out": number}

FIGURES are `bytes`, `bytes_error`, `blocks`, `blocks_error`, `samples`; errors are one standard
error; where the peak is asked for, only the first two are there. A row is named by `file`, `line`,
`function`, `first_line` (as far as the key has them), `stack` (of such frames, nearest first),
`domain`, or `pid`, `tid`, `ident`, `name`, or `pid`, `allocated_in_pid`, `inherited`.

A frame of native code has "native": true, its module as `file` and the offset in it as `line`.

ACCOUNT is what the resident size is made of, of one process or (by Pss) of all together: `bytes`,
`items` that add up to it (`key`, `bytes`, `error`, `kind`: fact, estimate, inferred, rest;
`untouched`: what was counted besides, and is taken not to be resident),
`malloc_age` in seconds, `verdict` (python, native, free, files, shared, unexplained, mixed, small),
its `sentences`, the `lines` it names, and its `advice`; or null where the snapshot does not say.

Invariants: the numbers are not rounded; the output is ASCII, whatever the names hold.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence

from ._groups import Total
from ._accountreport import account_json
from ._books import Books
from ._heap import NATIVE, Frame, Heap
from ._kernel import rss
from ._rows import Result, Row, full_stack
from ._weights import standard_error

REPORT_VERSION = 1


def report_json(
    heaps: Sequence[Heap],
    notes: Sequence[str],
    books: Books,
    result: Result,
    limit: int,
    reader: str,
) -> str:
    query = result.query
    rows = result.rows[:limit] if limit else result.rows
    document = {
        "report_version": REPORT_VERSION,
        "reader": reader,
        "processes": [
            {**_process(heap), "account": account_json(account, verdict)}
            for heap, account, verdict in zip(heaps, books.accounts, books.verdicts)
        ],
        "account": account_json(books.total, books.verdict),
        "notes": list(notes),
        "by": query.by,
        "value": query.value,
        "cumulative": query.cumulative,
        "include": list(query.include),
        "exclude": list(query.exclude),
        "total": _figures(result.everything, query.source),
        "selected": _figures(result.selected, query.source),
        "rows": [_row(row, result) for row in rows],
        "rows_left_out": len(result.rows) - len(rows),
    }
    return json.dumps(document, indent=1) + "\n"


def _process(heap: Heap) -> Dict[str, Any]:
    now, highest = rss(heap)
    return {
        "file": heap.path,
        "head": heap.head.values,
        "rss_bytes": now,
        "rss_peak_bytes": highest,
        "live_samples": len(heap.live),
        "counted_elsewhere": heap.counted_elsewhere,
        "left_out": heap.dropped,
    }


def _figures(total: Total, source: str) -> Dict[str, Any]:
    figures: Dict[str, Any] = {
        "bytes": total.bytes,
        "bytes_error": standard_error(total.bytes_var),
    }
    if source != "peak":
        figures["blocks"] = total.blocks
        figures["blocks_error"] = standard_error(total.blocks_var)
        figures["samples"] = total.samples
    return figures


def _frame(frame: Frame) -> Dict[str, Any]:
    file, line, name, firstline = frame
    if firstline == NATIVE:
        return {"file": file, "line": line, "function": name, "first_line": None, "native": True}
    return {"file": file, "line": line, "function": name, "first_line": firstline}


_KEYS: Dict[str, List[str]] = {
    "filename": ["file"],
    "function": ["file", "function", "first_line"],
    "lineno": ["file", "line", "function", "first_line"],
}


def _row(row: Row, result: Result) -> Dict[str, Any]:
    by = result.query.by
    named = _figures(row.total, result.query.source)
    if by == "traceback":
        named["stack"] = [_frame(frame) for frame in full_stack(row)]
    elif row.frames:
        frame = _frame(row.frames[0])
        named.update((key, frame[key]) for key in _KEYS[by])
        if "native" in frame:
            named["native"] = True
    named.update(row.labels)
    return named
