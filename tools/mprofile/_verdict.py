# SPDX-License-Identifier: MIT
"""The verdict: what most of a process's memory is, and what can be done, in words.

The classes compete with what is certain of them: their figure less two standard errors, less what
may not be resident of it where more is counted than is resident. All thresholds are here:

    SMALL_RSS   a process below it is small, whatever it is made of
    MOST        a class that has at least this share of the RSS for certain is "mostly" it
    LARGEST     one with at least this, and with more than any other may have, is "the largest part"
    TOO         free memory, or copies, with this share for certain are named also where something
                else leads
    PEAK_NEAR   a peak of live bytes that reached this share of the RSS explains what is free now
    LINE_MIN    a line is named if it has this share of its class, and SURE times its error

Invariants: a sentence that claims something has its evidence, with its ± where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, FrozenSet, List, Sequence, Tuple

from ._account import Account, Item
from ._groups import group
from ._heap import DOMAIN_NAMES, Heap
from ._sums import Sums
from ._text import printable
from ._units import bytes_and_error, bytes_text, duration_text
from ._usage import PYTHON_DOMAINS, Usage
from ._weights import standard_error

SMALL_RSS = 32 << 20
MOST = 0.50
LARGEST = 0.25
TOO = 0.20
PEAK_NEAR = 0.70
LINE_MIN = 0.05
SURE = 2.0
_SIGMAS = 2.0
_LINES = 3
_MANY_THREADS = 4
_STALE = 1.0

_DOMAINS = {
    "python": PYTHON_DOMAINS,
    "native": frozenset(("malloc", "mmap")),
    "malloc": frozenset(("malloc",)),
    "shared": frozenset(DOMAIN_NAMES),
}
_NAMES = {
    "python": "live Python objects",
    "native": "live native memory",
    "free": "memory that was freed, but that the allocators keep",
    "files": "mapped files",
    "data": "data that was written to private mappings of files",
    "copied": "copies of what workers inherited",
    "shared": "shared memory",
    "stack": "stacks of threads",
    "profiler": "the profiler's own memory",
    "unexplained": "memory that the snapshot does not explain",
}


@dataclass
class Place:
    """A line, and how much of its class it has."""

    text: str
    bytes: float
    error: float
    share: float


@dataclass
class Verdict:
    #: python, native, free, files, shared, unexplained; or small, mixed.
    kind: str
    #: A few words for the head of a report.
    short: str
    #: What is the case, and why that is known.
    sentences: List[str] = field(default_factory=list)
    places: List[Place] = field(default_factory=list)
    #: What can be tried, one each.
    advice: List[str] = field(default_factory=list)


PlacesOf = Callable[[str], List[Place]]


def places_of(parts: Sequence[Tuple[Heap, Usage]]) -> PlacesOf:
    """The lines with most resident of `python`, `native`, `malloc` (native without mappings), or
    in `shared` mappings."""

    def places(kind: str) -> List[Place]:
        domains, chosen = _DOMAINS[kind], []
        for heap, usage in parts:
            footprint = usage.shared if kind == "shared" else usage.private
            chosen.append((heap, _only(heap, footprint, domains)))
        totals = sorted(group(chosen, "place").values(), key=lambda total: -total.bytes)
        whole = sum(total.bytes for total in totals)
        found = []
        for total in totals[:_LINES]:
            error = standard_error(total.bytes_var)
            if total.bytes >= max(LINE_MIN * whole, SURE * error, 1):
                text = printable(total.heap.place(total.node))
                found.append(Place(text, total.bytes, error, total.bytes / whole))
        return found

    return places


def _only(heap: Heap, sums: Sums, domains: FrozenSet[str]) -> Sums:
    """The sums without the sites of other domains."""
    wanted = [name in domains for name in heap.domain_names]
    less = Sums(0)
    for name in Sums.__slots__:
        column = zip(getattr(sums, name), heap.sites.domain)
        setattr(less, name, [value if wanted[domain] else 0 for value, domain in column])
    return less


def certain(account: Account, name: str) -> float:
    """The least that a class has of the RSS, as far as the figures can tell."""
    item = account.of(name)
    missing = min(account.overflow, item.doubtful + account.swapped)
    return item.bytes + item.guessed - _SIGMAS * item.error - missing


def judge(account: Account, places: PlacesOf, plus_minus: str) -> Verdict:
    size = account.rss
    if size < SMALL_RSS:
        return Verdict(
            "small",
            "a small process: nothing unusual",
            ["A small process (RSS %s): nothing unusual." % bytes_text(size)],
        )
    sure: Dict[str, float] = {name: certain(account, name) for name in _NAMES}
    best = max(sure, key=lambda name: sure[name])
    others = [account.of(name) for name in _NAMES if name != best]
    most = max(item.bytes + _SIGMAS * item.error for item in others)
    if sure[best] >= MOST * size:
        start = "mostly"
    elif sure[best] >= LARGEST * size and sure[best] > most:
        start = "the largest part:"
    else:
        verdict = _mixed(account, sure, plus_minus, places)
        _besides(account, verdict, sure, places, plus_minus)
        return verdict
    words = "%s %s" % (start, _NAMES[best])
    verdict = Verdict(best, words)
    _EXPLAIN[best](account, verdict, places, plus_minus)
    item = account.of(best)
    share = "%s of %s %s (%.0f%%)" % (
        figure(item, plus_minus),
        "the RSS of" if account.processes == 1 else "the",
        bytes_text(size),
        100 * item.bytes / size,
    )
    verdict.sentences.insert(
        0, "%s: %s." % (words[0].upper() + words[1:].replace(":", " is", 1), share)
    )
    if verdict.places:
        place = verdict.places[0]
        verdict.short += "; first %s (%.0f%% of them)" % (place.text, 100 * place.share)
    _besides(account, verdict, sure, places, plus_minus)
    return verdict


def _besides(
    account: Account, verdict: Verdict, sure: Dict[str, float], places: PlacesOf, plus_minus: str
) -> None:
    """What can be helped is named also where something else leads."""
    for name, words in (
        ("free", "Besides, the allocators keep %s that is free."),
        ("copied", "Besides, %s are copies of what workers inherited."),
    ):
        if name == verdict.kind or sure[name] < TOO * account.rss:
            continue
        also = Verdict(name, "")
        _EXPLAIN[name](account, also, places, plus_minus)
        verdict.sentences.append(words % figure(account.of(name), plus_minus))
        verdict.sentences += also.sentences
        verdict.advice += also.advice


def figure(item: Item, plus_minus: str) -> str:
    size, error = bytes_and_error(item.bytes, item.error)
    return "%s %s%s" % (size, plus_minus, error) if item.error else size


def _mixed(account: Account, sure: Dict[str, float], plus_minus: str, places: PlacesOf) -> Verdict:
    items = sorted((account.of(name) for name in _NAMES), key=lambda item: -item.bytes)
    parts = ["%s %s" % (_NAMES[item.key], figure(item, plus_minus)) for item in items[:3]]
    verdict = Verdict("mixed", "no single cause stands out of the figures")
    verdict.sentences.append(
        "No single cause stands out of the figures: %s, of %s %s."
        % (
            ", ".join(parts),
            "an RSS of" if account.processes == 1 else "the",
            bytes_text(account.rss),
        )
    )
    if account.overflow > LARGEST * account.rss:
        verdict.sentences.append(
            "%s more is counted than is resident, and what of it is cannot be told."
            % bytes_text(account.overflow)
        )
    verdict.places = places("python" if sure["python"] >= sure["native"] else "native")
    return verdict


def _python(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.places = places("python")


def _native(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    mapped, rounding = account.item("mapped"), account.item("native_rounding")
    # Lines with mappings that nobody has touched must not outrank those with resident blocks.
    verdict.places = places("malloc" if mapped.guessed > mapped.bytes else "native")
    if mapped.bytes > 0.1 * account.rss:
        text = "%s of it are anonymous mappings" % bytes_text(mapped.bytes)
        if mapped.untouched:
            asked = bytes_text(mapped.bytes + mapped.untouched)
            text += ": %s were asked for" % asked
            if mapped.guessed:
                text += ", more than is resident; the rest is taken to be untouched"
        verdict.sentences.append(text + ".")
    if rounding.bytes > 0.1 * account.rss:
        verdict.sentences.append(
            "%s of it is what malloc adds to blocks: it gives none less than 32 bytes. Fewer and "
            "larger blocks would cost less." % figure(rounding, plus_minus)
        )


def _free(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    arenas, said, kept = map(account.item, ("arenas_free", "malloc_free", "malloc_kept"))
    in_malloc = said.bytes + kept.bytes
    known = account.item("interpreter_free")
    other = known if known.bytes else account.item("interpreter_kept")
    if said.bytes or kept.bytes:
        text = "Inside malloc: %s" % bytes_text(said.bytes)
        if account.malloc_age is not None:
            text += ", as malloc said %s before the snapshot" % duration_text(account.malloc_age)
        if kept.bytes > 0.1 * in_malloc:
            since = "after that" if account.malloc_age is not None else "at some time"
            text += "; and %s that was freed %s, or lies in its caches (inferred%s)" % (
                figure(kept, plus_minus),
                since,
                " from what was live in it at the peak" if account.from_peak else "",
            )
        verdict.sentences.append(text + ".")
    if other.bytes > 0.1 * account.of("free").bytes:
        verdict.sentences.append(
            "Kept by mimalloc: %s (inferred%s)."
            % (
                figure(other, plus_minus),
                "" if known.bytes else " from what was live in it at the peak",
            )
        )
    if arenas.bytes > 0.1 * account.of("free").bytes:
        verdict.sentences.append(
            "Inside pymalloc's arenas: %s (inferred)." % figure(arenas, plus_minus)
        )
    peak = account.peak_bytes or 0.0
    live = account.of("python").bytes + account.of("native").bytes
    if peak >= PEAK_NEAR * account.rss and live < peak / 2:
        verdict.sentences.append(
            "At its peak %s %s%s were live, now %s: memory was freed, but kept."
            % (
                bytes_and_error(peak, account.peak_error)[0],
                plus_minus,
                bytes_and_error(peak, account.peak_error)[1],
                bytes_text(live),
            )
        )
    if other.bytes > max(in_malloc, arenas.bytes):
        verdict.short += ": in mimalloc"
        verdict.advice.append(
            "do the work that peaks in a child process that ends (multiprocessing, "
            "maxtasksperchild)"
        )
    elif in_malloc >= arenas.bytes:
        verdict.short += ": in malloc"
        verdict.advice += _malloc_advice(account)
    else:
        verdict.short += ": in pymalloc's arenas"
    if arenas.bytes > max(in_malloc, other.bytes) or arenas.bytes > TOO * account.rss:
        verdict.advice += _arena_advice(account)


def _malloc_advice(account: Account) -> List[str]:
    if account.malloc_served_by and not account.malloc_served_by.startswith("glibc"):
        return ["the allocator is not glibc's: see its own options for giving memory back"]
    advice = [
        "ctypes.CDLL(None).malloc_trim(0), after work that frees much: gives back all whole pages "
        "that are free (%s is at the heap's end, above which MALLOC_TRIM_THRESHOLD_ gives back by "
        "itself)" % bytes_text(account.malloc_top)
    ]
    arenas = "MALLOC_ARENA_MAX=2 in the environment: threads share heaps, and keep none of their own"
    if account.threads >= _MANY_THREADS:
        advice.insert(0, "%s (%d threads)" % (arenas, account.threads))
    else:
        advice.append(arenas + " (helps where there are many)")
    advice.append(
        "MALLOC_MMAP_THRESHOLD_=65536: blocks of that size and more get mappings of their own, and "
        "go back when they are freed"
    )
    advice.append(
        "another allocator by LD_PRELOAD, such as jemalloc: scatters less, gives back more"
    )
    return advice


def _arena_advice(account: Account) -> List[str]:
    return [
        "an arena of %s goes back only when its last object dies: make what lives long before, "
        "or apart from, what is many and short-lived" % bytes_text(account.arena_size),
        "do the work that peaks in a child process that ends (multiprocessing, maxtasksperchild)",
        "PYTHONMALLOC=malloc, with another allocator by LD_PRELOAD such as jemalloc: no arenas "
        "(small objects get slower)",
    ]


def _files(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.sentences.append(
        "These are libraries, and files that the program maps: the kernel can drop such pages when "
        "memory is short, and processes share them. /proc/PID/smaps names them."
    )


def _data(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.sentences.append(
        "These are pages that were written: variables of libraries, and what was written to files "
        "mapped privately (numpy.memmap with mode 'c'). They are this process's own. "
        "/proc/PID/smaps names the files."
    )


def _copied(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.sentences.append(
        "Processes share what they inherit by fork until one of them writes; Python writes to an "
        "object when it counts a reference, and when it collects (inferred)."
    )
    verdict.advice += [
        "gc.freeze() before the fork: the collector leaves alone what is there",
        "load less before the fork, or in one process that the others ask",
    ]


def _stack(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    known = account.stacks_known
    main = account.item("stack").bytes
    verdict.sentences.append(
        "%s is the main thread's, the rest that of %s other threads. A stack keeps the pages that "
        "were ever used, however deep a recursion it was."
        % (bytes_text(main), known if known is not None else account.threads - 1)
    )
    verdict.advice += [
        "fewer threads: a pool, with a limit",
        "threading.stack_size(BYTES) or `ulimit -s` bound what a thread can take; what it takes is "
        "how deep it goes",
    ]


def _profiler(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.sentences.append(
        "It records so many blocks that its tables are larger than what it measures."
    )
    verdict.advice += [
        "a coarser rate: MPROFILERATE=128k, or mprofile.start(sample_rate=128 * 1024), records one "
        "block in 128 KiB",
        "MPROFILEMEMORY=256m: a budget; beyond it the rate is made coarser",
    ]


def _shared(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.places = places("shared")
    verdict.sentences.append(
        "Shared memory is what multiprocessing.shared_memory, shared mappings and tmpfs hold: it "
        "counts in each process that has touched it. /proc/PID/smaps and /dev/shm name it."
    )


def _unexplained(account: Account, verdict: Verdict, places: PlacesOf, plus_minus: str) -> None:
    verdict.sentences.append("It is neither live, nor known to be free. %s" % possible(account))


def possible(account: Account) -> str:
    """What may be in memory that is not explained."""
    causes = [
        "memory that the program took with sbrk, or reserved and made usable later (mprotect)",
        "memory mapped by libc or the kernel",
    ]
    if not account.data_known:
        causes.insert(0, "data of libraries")
    if account.stacks_unknown:
        causes.insert(0, "stacks of other threads (%d)" % account.stacks_unknown)
    if account.allocator == "mimalloc" and not account.item("interpreter_free").bytes:
        causes.insert(0, "what mimalloc keeps free")
    if account.malloc_age is not None and account.malloc_age > _STALE:
        text = "what was freed in malloc since it was asked (%s before)"
        causes.insert(0, text % duration_text(account.malloc_age))
    if account.malloc_age is None:
        causes.insert(0, "what malloc keeps free (it was not asked)")
    return "It may be: %s." % ", ".join(causes)


_EXPLAIN: Dict[str, Callable[[Account, Verdict, PlacesOf, str], None]] = {
    "python": _python,
    "native": _native,
    "free": _free,
    "files": _files,
    "data": _data,
    "copied": _copied,
    "shared": _shared,
    "stack": _stack,
    "profiler": _profiler,
    "unexplained": _unexplained,
}
