# SPDX-License-Identifier: MIT
"""The accounts and verdicts of all processes of a report, and of all together.

What a process has live must be measured before files are merged, for a merge leaves out of a child
what its parent has; a child's own size is not smaller for that.

Invariants: a verdict is about what is resident now, whatever the report ranks or filters.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence

from ._account import Account, add_up, make_account
from ._accountreport import AccountReport, account_line, process_title, total_title
from ._heap import Heap
from ._text import Glyphs, printable, shortened
from ._usage import Usage, measure
from ._verdict import Verdict, judge, places_of


class Books:
    """Made of the heaps before the merge; `close` takes what the merge left of them."""

    def __init__(self, heaps: Sequence[Heap]) -> None:
        self._usage: Dict[int, Usage] = {id(heap): measure(heap) for heap in heaps}
        self.heaps: List[Heap] = []
        self.accounts: List[Optional[Account]] = []
        self.verdicts: List[Optional[Verdict]] = []
        self.total: Optional[Account] = None
        self.verdict: Optional[Verdict] = None

    def close(self, heaps: Sequence[Heap], glyphs: Glyphs) -> None:
        pm = glyphs.plus_minus
        self.heaps = list(heaps)
        for heap in heaps:
            account = make_account(heap, self._usage[id(heap)])
            self.accounts.append(account)
            places = places_of([(heap, self._usage[id(heap)])])
            self.verdicts.append(judge(account, places, pm) if account else None)
        known = [account for account in self.accounts if account]
        if len(heaps) == 1:
            self.total, self.verdict = self.accounts[0], self.verdicts[0]
        elif len(known) == len(heaps):
            usage, inherited, parts = Usage(), [], []
            for heap in heaps:
                before = self._usage[id(heap)]
                after = measure(heap) if heap.counted_elsewhere else before
                usage.add(after)
                inherited.append(max(before.resident - after.resident, 0.0))
                parts.append((heap, after))
            self.total = add_up(known, usage, inherited)
            if self.total:
                times = [heap.head.number("time") or 0.0 for heap in heaps]
                self.total.apart = max(times) - min(times)
                self.verdict = judge(self.total, places_of(parts), pm)

    def short(self) -> List[str]:
        """The account and the verdict, a line each, for the head of a report."""
        if not self.total or not self.verdict:
            return []
        return [account_line(self.total), self.verdict.short]


def rss_lines(books: Books, width: int, glyphs: Glyphs) -> Iterator[str]:
    report = AccountReport(width, glyphs)
    several = len(books.heaps) > 1
    for heap, account, verdict in zip(books.heaps, books.accounts, books.verdicts):
        pid = printable(heap.head.text("pid") or "unknown")
        if account is None:
            text = "The size is not known: the snapshot has no VmRSS of pid %s." % pid
            yield shortened(text, width, glyphs)
            continue
        if several and account is not books.accounts[0]:
            yield ""
        yield from report.lines(account, None if several else verdict, process_title(pid, account))
    if not several:
        return
    yield ""
    known = [account for account in books.accounts if account]
    if books.total:
        yield from report.lines(books.total, books.verdict, total_title(known, books.total))
    else:
        yield "No total: the kernel did not say how much is shared (Pss) of each process."
