# SPDX-License-Identifier: MIT
"""`--rss`: the account and the verdict as text; and both in one line for the head of a report.

Invariants: no line is wider than asked for; the percentages are of the RSS.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from ._account import INFERRED, Account, Item
from ._text import Glyphs, printable, shortened, width_of, wrapped
from ._units import bytes_and_error, bytes_text, duration_text, share_text
from ._verdict import Verdict, possible

#: The order of the table, and what each item is called.
_LABELS = {
    "python_arenas": "live Python objects, small, in pymalloc's arenas",
    "python_interpreter": "live Python objects, from mimalloc",
    "python_malloc": "live Python objects and buffers, from malloc",
    "native_malloc": "live native blocks, from malloc",
    "mapped": "live anonymous mappings",
    "arenas_free": "free inside pymalloc's arenas",
    "malloc_free": "free inside malloc",
    "malloc_kept": "freed in malloc since, or in its caches",
    "interpreter_kept": "freed, and kept by mimalloc",
    "interpreter_free": "free inside mimalloc, and its rounding",
    "arenas_rounding": "pymalloc's rounding and headers",
    "python_rounding": "malloc's rounding of Python's blocks",
    "native_rounding": "malloc's rounding of native blocks",
    "frames": "stacks of Python frames",
    "stack": "main thread's stack",
    "thread_stacks": "stacks of other threads",
    "files": "mapped files: libraries and the program's own",
    "data": "data of libraries, and of files mapped privately",
    "copied": "copies of what was inherited by fork",
    "shared": "shared memory",
    "profiler": "the profiler",
    "unexplained": "unexplained",
}
_WORTH_WORDS = 0.01
#: Snapshots of one moment are so many seconds apart at most.
_TOGETHER = 0.5
_NEGATIVE = "counted above, but not resident"


class AccountReport:
    def __init__(self, width: int, glyphs: Glyphs) -> None:
        self.width = width
        self.glyphs = glyphs

    def lines(self, account: Account, verdict: Optional[Verdict], title: str) -> Iterator[str]:
        yield from self._wrapped(title)
        yield ""
        yield from self._table(account)
        yield ""
        for note in self._notes(account):
            yield from self._wrapped(note)
        if verdict is not None:
            yield ""
            yield from self.verdict(verdict)

    def verdict(self, verdict: Verdict) -> Iterator[str]:
        pm = self.glyphs.plus_minus
        yield from self._wrapped("Verdict: " + verdict.sentences[0])
        for sentence in verdict.sentences[1:]:
            yield from self._wrapped(sentence)
        if verdict.places:
            yield "At these lines:"
        for place in verdict.places:
            size, error = bytes_and_error(place.bytes, place.error)
            start = "  %3.0f%%  %s %s%s  " % (100 * place.share, size, pm, error)
            room = self.width - width_of(start)
            yield start + shortened(place.text, room, self.glyphs, left=True)
        if verdict.advice:
            yield "What can be tried:"
        for advice in verdict.advice:
            for index, line in enumerate(wrapped(advice, self.width - 4, 9, self.glyphs)):
                yield ("    " if index else "  - ") + line

    def _table(self, account: Account) -> Iterator[str]:
        pm = self.glyphs.plus_minus
        rows: List[Tuple[str, str, str, str]] = [("bytes", pm, "%", "")]
        for key, label in _LABELS.items():
            item = account.item(key)
            if not item.bytes and not item.untouched and key != "unexplained":
                continue
            size, error = bytes_and_error(item.bytes, item.error)
            if key == "unexplained" and item.bytes < 0:
                label = _NEGATIVE
            rows.append(
                (
                    size,
                    pm + error if item.error else "",
                    signed_share(item.bytes, account.rss),
                    label + self._how(account, item),
                )
            )
        whole = "RSS" if account.processes == 1 else "together (Pss)"
        rows.append((bytes_and_error(account.rss, 0)[0], "", "100%", whole))
        widths = [max(width_of(row[i]) for row in rows) for i in range(3)]
        for row in rows:
            line = " ".join(" " * (w - width_of(cell)) + cell for w, cell in zip(widths, row))
            room = self.width - width_of(line) - 2
            yield (line + "  " + shortened(row[3], room, self.glyphs)).rstrip()

    def _how(self, account: Account, item: Item) -> str:
        if item.key == "malloc_free" and account.malloc_age is not None:
            return ", asked %s before" % duration_text(account.malloc_age)
        if item.untouched:
            return " (of %s)" % bytes_text(item.bytes + item.untouched)
        return " (inferred)" if item.kind == INFERRED else ""

    def _notes(self, account: Account) -> Iterator[str]:
        rest = account.item("unexplained")
        pm = self.glyphs.plus_minus
        yield (
            "%s is one standard error of what was estimated from samples; the kernel, malloc and "
            "the profiler said the rest, or it is inferred from that." % pm
        )
        if account.capped:
            small = account.allocator == "pymalloc"
            yield (
                "The estimate of %s objects was above what %s, which is known: it is cut to that."
                % (("small", "the arenas hold") if small else ("Python", "mimalloc has resident"))
            )
        guessed = sum(item.guessed for item in account.items)
        untouched = sum(item.untouched for item in account.items) - guessed
        if untouched > _WORTH_WORDS * account.rss:
            yield (
                "%s was asked for and has no memory, as nobody has written to it: it is live in "
                "other reports, and is not counted here." % bytes_text(untouched)
            )
        if guessed:
            yield (
                "%s that was counted cannot be resident. It is taken out of what is likeliest not "
                "to be touched: mappings, then large blocks, then what is free."
                % bytes_text(guessed)
            )
        if rest.bytes < -_WORTH_WORDS * account.rss:
            reasons = "pages that malloc gave back to the kernel, thread stacks that the program "
            reasons += "allocated by itself, the error of the estimates"
            if account.guessing:
                reasons += ", blocks whose pages nobody has touched (numpy.zeros, calloc, mmap)"
            if account.swapped:
                reasons += ", or what is swapped out"
            yield "More is counted than is resident: %s." % reasons
        elif rest.bytes > _WORTH_WORDS * account.rss:
            yield "Unexplained: " + possible(account)[len("It may be: ") :]
        if account.apart > _TOGETHER:
            yield (
                "The snapshots are %s apart: what was shared when one was taken may be another's "
                "alone by the next, and then counts more than once." % duration_text(account.apart)
            )
        if account.malloc_age is None:
            yield _no_malloc(account)
        elif account.malloc_top:
            yield (
                "Of what is free inside malloc, %s lies at the end of the main heap."
                % bytes_text(account.malloc_top)
            )
        yield from self._kernel_notes(account)

    def _kernel_notes(self, account: Account) -> Iterator[str]:
        pages = account.pages
        if account.processes == 1 and "Private_Dirty" in pages:
            private = pages.get("Private_Dirty", 0) + pages.get("Private_Clean", 0)
            yield (
                "Of the RSS %s is private. Shared with other processes are %s of unchanged pages "
                "of files, and %s of written ones: shared since a fork, until either side writes, or "
                "on purpose. Each page divided by its sharers (Pss): %s."
                % (
                    bytes_text(private),
                    bytes_text(pages.get("Shared_Clean", 0)),
                    bytes_text(pages.get("Shared_Dirty", 0)),
                    bytes_text(pages.get("Pss", 0)),
                )
            )
        aside = []
        if account.page_tables:
            aside.append("page tables of %s" % bytes_text(account.page_tables))
        if account.swapped:
            aside.append("%s that is swapped out" % bytes_text(account.swapped))
        if aside:
            yield "Not in the RSS: %s." % " and ".join(aside)

    def _wrapped(self, text: str) -> Iterator[str]:
        yield from wrapped(printable(text), self.width, 12, self.glyphs)


def _no_malloc(account: Account) -> str:
    if account.malloc_served_by and not account.malloc_served_by.startswith("glibc"):
        return "malloc is served by another allocator: what it holds free is not known."
    return "malloc was not asked what it holds (that is done after a sample, a moment after start)."


def signed_share(part: float, whole: float) -> str:
    return "-" + share_text(-part, whole) if part < 0 else share_text(part, whole)


def account_line(account: Account) -> str:
    """The account in one line."""

    def percent(size: float) -> str:
        return "%.0f%%" % (100.0 * size / account.rss)

    python, native = account.of("python").bytes, account.of("native").bytes
    parts = [
        "live %s (Python %s, native %s)"
        % (percent(python + native), percent(python), percent(native))
    ]
    for name, words in (
        ("free", "free in allocators"),
        ("files", "files"),
        ("data", "data of libraries"),
        ("copied", "copied since a fork"),
        ("shared", "shared memory"),
        ("profiler", "profiler"),
        ("stack", "stack"),
    ):
        size = account.of(name).bytes
        if size >= account.rss / 200:
            parts.append("%s %s" % (words, percent(size)))
    rest = account.of("unexplained").bytes
    parts.append("%s %s" % ("unexplained" if rest >= 0 else "not resident", percent(rest)))
    return ", ".join(parts)


def process_title(pid: str, account: Account) -> str:
    text = "What the resident memory (RSS) of pid %s is: %s" % (pid, bytes_text(account.rss))
    if account.highest:
        text += ", highest %s" % bytes_text(account.highest)
    return text + "."


def total_title(accounts: Sequence[Account], total: Account) -> str:
    added = total.pages.get("Rss", 0)
    text = (
        "All %d processes together: %s, a page that several share counted once (Pss). Their RSS "
        "adds up to %s, so %s are shared among them, or with others"
        % (
            len(accounts),
            bytes_text(total.rss),
            bytes_text(added),
            bytes_text(max(added - total.rss, 0)),
        )
    )
    if all("Pss_Anon" in account.pages for account in accounts):
        pages = [account.pages for account in accounts]
        inherited = sum(one.get("Anonymous", 0) - one["Pss_Anon"] for one in pages)
        text += ": %s of memory inherited by fork, and files" % bytes_text(max(inherited, 0))
    return text + "."


def account_json(
    account: Optional[Account], verdict: Optional[Verdict]
) -> Optional[Dict[str, object]]:
    if account is None or verdict is None:
        return None
    return {
        "bytes": account.rss,
        "items": [
            {
                "key": item.key,
                "bytes": item.bytes,
                "error": item.error,
                "kind": item.kind,
                "untouched": item.untouched,
            }
            for item in account.items
        ],
        "malloc_age": account.malloc_age,
        "verdict": verdict.kind,
        "sentences": verdict.sentences,
        "lines": [
            {"line": p.text, "bytes": p.bytes, "error": p.error, "share": p.share}
            for p in verdict.places
        ],
        "advice": verdict.advice,
    }
