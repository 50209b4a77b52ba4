# SPDX-License-Identifier: MIT
"""`--json`: the reports for programs. `tools/JSON.md` says what each name means.

The shape is stable: names keep their meaning within a `report_version`; new names may come.

Invariants: the numbers are not rounded; the output is ASCII, whatever the names hold.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List

from ._accountreport import account_json
from ._diff import Change, Difference, DiffRow
from ._groups import Total
from ._heap import NATIVE, Frame, Heap
from ._kernel import rss
from ._leaks import LeakRow, Leaks
from ._reading import Reading
from ._rows import Query, Result, Row, full_stack
from ._sidebyside import SideBySide
from ._trend import Trend
from ._weights import standard_error

REPORT_VERSION = 1


def report_json(reading: Reading, result: Result, reader: str) -> str:
    rows = result.rows[: reading.limit] if reading.limit else result.rows
    reading.learn_types(rows)
    return _text(
        _start(reading, "table", reader),
        total=_figures(result.everything, result.query.source),
        selected=_figures(result.selected, result.query.source),
        rows=[_row(row, result.query) for row in rows],
        rows_left_out=len(result.rows) - len(rows),
    )


def sides_json(reading: Reading, found: SideBySide, reader: str) -> str:
    """The rows of the table, with what each process has of them."""
    result = found.result
    rows = result.rows[: reading.limit] if reading.limit else result.rows
    reading.learn_types(rows)
    source = result.query.source
    return _text(
        _start(reading, "side_by_side", reader),
        total=_figures(result.everything, source),
        selected=_figures(result.selected, source),
        rows=[
            {
                **_row(row, result.query),
                "by_process": [
                    _figures(one[row.key], source) if row.key in one else None for one in found.each
                ],
            }
            for row in rows
        ],
        rows_left_out=len(result.rows) - len(rows),
    )


def diff_json(reading: Reading, found: Difference, reader: str) -> str:
    """Rows with their figures now and before, and the change with its error."""
    query = found.query
    rows = found.rows[: reading.limit] if reading.limit else found.rows
    reading.learn_types([one.row for one in rows])
    return _text(
        _start(reading, "diff", reader),
        old_processes=[_process(heap) for heap in reading.old],
        total=_figures(found.new.everything, query.source),
        change=_change(found.change, query),
        rows=[_diff_row(row, query) for row in rows],
        rows_left_out=len(found.rows) - len(rows),
    )


def leaks_json(reading: Reading, found: Leaks, reader: str) -> str:
    rows = found.rows[: reading.limit] if reading.limit else found.rows
    reading.learn_types([one.aged.row for one in rows])
    return _text(
        _start(reading, "leaks", reader),
        run_seconds=found.seconds,
        rows=[_leak_row(row, found.query) for row in rows],
        rows_left_out=len(found.rows) - len(rows),
    )


def trend_json(reading: Reading, found: Trend, reader: str) -> str:
    rows = found.rows[: reading.limit] if reading.limit else found.rows
    reading.learn_types([one.diff.row for one in rows])
    return _text(
        _start(reading, "trend", reader),
        sets=[[heap.path for heap in one] for one in found.sets],
        seconds=found.seconds,
        rows=[
            {**_diff_row(row.diff, found.query), "steps": row.steps, "grows": row.grows}
            for row in rows
        ],
        rows_left_out=len(found.rows) - len(rows),
    )


def _text(start: Dict[str, Any], **more: Any) -> str:
    return json.dumps({**start, **more}, indent=1) + "\n"


def _start(reading: Reading, report: str, reader: str) -> Dict[str, Any]:
    """What every report begins with."""
    query, books = reading.query, reading.books
    return {
        "report_version": REPORT_VERSION,
        "report": report,
        "reader": reader,
        "processes": [
            {**_process(heap), "account": account_json(account, verdict)}
            for heap, account, verdict in zip(reading.parts, books.accounts, books.verdicts)
        ],
        "account": account_json(books.total, books.verdict),
        "notes": list(reading.notes),
        "by": query.by,
        "value": query.value,
        "cumulative": query.cumulative,
        "include": list(query.include),
        "exclude": list(query.exclude),
    }


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


def _named(row: Row, query: Query) -> Dict[str, Any]:
    """What names a row."""
    named: Dict[str, Any] = {}
    if query.by == "traceback":
        named["stack"] = [_frame(frame) for frame in full_stack(row)]
    elif row.frames:
        frame = _frame(row.frames[0])
        named.update((key, frame[key]) for key in _KEYS[query.by])
        if "native" in frame:
            named["native"] = True
    if row.types is not None:
        named["types"] = [
            {"type": name, **_figures(total, query.source)} for name, total in row.types.totals
        ]
    named.update(row.labels)
    return named


def _row(row: Row, query: Query) -> Dict[str, Any]:
    return {**_figures(row.total, query.source), **_named(row, query)}


def _change(change: Change, query: Query) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    found["bytes"], found["bytes_error"] = change.figures(True)
    if query.source != "peak":
        found["blocks"], found["blocks_error"] = change.figures(False)
    found["noise"] = change.is_noise(query.ranks_bytes)
    return found


def _diff_row(row: DiffRow, query: Query) -> Dict[str, Any]:
    names = ("bytes",) if query.source == "peak" else ("bytes", "blocks")
    return {
        "change": _change(row.change, query),
        "now": dict(zip(names, row.now)),
        "before": dict(zip(names, row.before)),
        **_named(row.row, query),
    }


def _leak_row(row: LeakRow, query: Query) -> Dict[str, Any]:
    aged = row.aged
    return {
        "kind": row.kind,
        "old": row.old,
        "old_error": row.old_error,
        "older_than_minute": aged.older[0],
        "older_than_hour": aged.older[1],
        "young": aged.windows[-1],
        "windows": aged.windows,
        "growth_per_hour": row.growth,
        "growth_per_hour_error": None if row.growth is None else row.growth_error,
        "since_window": row.since if row.kind in ("grows_late", "turns_over") else None,
        "kept": row.kept,
        **_named(aged.row, query),
    }
