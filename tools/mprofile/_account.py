# SPDX-License-Identifier: MIT
"""The account of a process's size: what its resident memory (RSS) is made of, adding up to it.

Each item is a fact (the kernel, malloc or the profiler said it), an estimate (from samples, with
its ±), or inferred: the rest of something known. Two allocators hold what Python and native code
free:

    pymalloc's arenas (a fact)      = live small objects + rounding + free, which is inferred
    mimalloc's regions (a fact)     = live objects + rounding and free, which is inferred
    malloc's heaps (a fact, aged)   = live blocks + rounding + free, which malloc itself said
                                      + freed since it was asked, or kept in its caches: inferred
                                        from the difference, or from what was live at the peak

What is live is not always resident: pages of a large block exist from when they are first touched.
The kernel told what large blocks have; what they have not is `untouched`, and no part of an item.
Where it was not asked, and of what is free, some may not be resident: then the items can add up to
more than the RSS. The excess is taken out of what is likeliest untouched: mappings, then large
blocks, then what is free; a rest within the estimates' errors stays, as a negative last item. No
verdict counts on memory that may be the cause.

Invariants: the items add up to the RSS; an item that cannot be known is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

from ._heap import Heap
from ._kernel import Kernel
from ._resident import inherited_share
from ._usage import ARENAS, INTERPRETER, MALLOC, MAPPED, Usage, allocator_of, peak_of, pool_bytes
from ._weights import standard_error

FACT, ESTIMATE, INFERRED, REST = "fact", "estimate", "inferred", "rest"
#: Which items make up a class of the summary, and of the verdict.
CLASSES = {
    "python": (
        "python_arenas",
        "arenas_rounding",
        "python_interpreter",
        "python_malloc",
        "python_rounding",
    ),
    "native": ("native_malloc", "native_rounding", "mapped"),
    "free": ("arenas_free", "malloc_free", "malloc_kept", "interpreter_kept", "interpreter_free"),
    "files": ("files",),
    "data": ("data",),
    "copied": ("copied",),
    "shared": ("shared",),
    "profiler": ("profiler",),
    "stack": ("stack", "thread_stacks", "frames"),
    "unexplained": ("unexplained",),
}


#: An excess is taken out where it is more than this share of the RSS and the errors can be.
_EXCESS_MIN = 0.02
_ROUNDING = ("python_rounding", "native_rounding")
_TAKEN_OUT = ("mapped", "native_malloc", "python_malloc", "malloc_free", "arenas_free")


@dataclass
class Item:
    key: str
    bytes: float
    error: float = 0.0
    kind: str = FACT
    #: Bytes of it that may not be resident.
    doubtful: float = 0.0
    #: Bytes that were asked for and are not resident, so no part of it; and those of them that are
    #: so by a guess.
    untouched: float = 0.0
    guessed: float = 0.0


@dataclass
class Account:
    """What one process (or several, added up) have resident, and why."""

    rss: float
    items: List[Item] = field(default_factory=list)
    highest: Optional[float] = None
    peak_bytes: Optional[float] = None
    peak_error: float = 0.0
    swapped: float = 0.0
    threads: int = 1
    #: Other threads than the main one whose stacks are known; None: the library did not look.
    stacks_known: Optional[int] = None
    allocator: str = "pymalloc"
    #: How long before the snapshot malloc was asked, in seconds; None: it was not.
    malloc_age: Optional[float] = None
    malloc_top: float = 0.0
    malloc_served_by: Optional[str] = None
    arena_size: int = 1 << 20
    #: The estimate of small objects was above what the arenas hold.
    capped: bool = False
    #: How much more is counted than is resident.
    overflow: float = 0.0
    #: What was freed and kept is known from the peak; it was cut to what nothing else explains.
    from_peak: bool = False
    clipped: bool = False
    #: Private_Dirty and the like, where the kernel said them.
    pages: Dict[str, int] = field(default_factory=dict)
    page_tables: Optional[int] = None
    processes: int = 1
    #: Seconds between the first and the last of several snapshots.
    apart: float = 0.0

    #: What libraries and private mappings of files have written is an item.
    data_known: bool = False

    @property
    def guessing(self) -> bool:
        """Of some large blocks it is not known what is resident."""
        return any(item.doubtful for item in self.items if item.kind == ESTIMATE)

    @property
    def stacks_unknown(self) -> int:
        """How many threads' stacks may be in what is not explained."""
        return max(self.threads - 1 - (self.stacks_known or 0), 0)

    def item(self, key: str) -> Item:
        for item in self.items:
            if item.key == key:
                return item
        return Item(key, 0.0)

    def add(self, key: str, size: float, error: float = 0.0, kind: str = FACT) -> Item:
        item = Item(key, size, error, kind)
        self.items.append(item)
        return item

    def of(self, name: str) -> Item:
        """A class: its items added up."""
        parts = [self.item(key) for key in CLASSES[name]]
        # What is inferred has the error of what it was inferred from: not independent within free.
        error = standard_error(sum(part.error**2 for part in parts))
        return Item(
            name,
            sum(part.bytes for part in parts),
            error,
            parts[0].kind,
            sum(part.doubtful for part in parts),
            sum(part.untouched for part in parts),
            sum(part.guessed for part in parts),
        )

    def settle(self) -> None:
        """Add the rest. An estimate from which its allocator's rest was inferred adds no error."""
        rest = self.rss - sum(item.bytes for item in self.items)
        keys = {item.key for item in self.items}
        balanced = {"python_arenas"} if "arenas_free" in keys and not self.capped else set()
        if "interpreter_free" in keys and not self.capped:
            balanced.add("python_interpreter")
        if "malloc_kept" in keys and not self.clipped and not self.from_peak:
            balanced |= {"python_malloc", "native_malloc"}
        if "malloc_kept" in keys and not self.clipped and not self.from_peak:
            balanced |= {"python_rounding", "native_rounding"}
        estimates = [i for i in self.items if i.kind == ESTIMATE or i.key in _ROUNDING]
        errors = [i.error for i in estimates if i.key not in balanced]
        error = standard_error(sum(e**2 for e in errors))
        self.overflow = max(-rest, 0.0)
        excess = self.overflow if self.overflow > 2 * error + _EXCESS_MIN * self.rss else 0.0
        error = 0.0 if excess else error
        for key in _TAKEN_OUT:
            item = self.item(key)
            part = min(item.doubtful, excess, item.bytes)
            item.guessed = part
            item.untouched += part
            item.bytes -= part
            excess -= part
            rest += part
        self.add("unexplained", rest, error, REST)


def make_account(heap: Heap, usage: Usage) -> Optional[Account]:
    """The account of one process, or None where the snapshot does not say its RSS."""
    kernel = Kernel(heap)
    size = kernel["VmRSS"]
    if not size:
        return None
    head = heap.head
    account = Account(float(size), allocator=allocator_of(heap))
    account.highest = kernel["VmHWM"]
    account.swapped = kernel["VmSwap"] or 0
    account.threads = kernel.threads
    account.peak_bytes = head.number("peak_bytes")
    account.peak_error = standard_error(head.number("peak_var") or 0.0)
    account.malloc_served_by = head.text("malloc.served_by")
    account.arena_size = 64 * pool_bytes(heap)
    account.page_tables = kernel["VmPTE"]
    account.pages = kernel.rollup
    arenas, rounding = _arenas(account, heap, usage)
    _live(account, usage, arenas)
    account.items += rounding
    _regions(account, heap, usage)
    unaccounted = _malloc(account, heap, usage)
    sampled, chunks = usage.rounded
    own = head.integer("own_bytes")
    if own is not None:
        account.add("profiler", own + max(chunks - sampled, 0.0))
    for key, name in (("files", "RssFile"), ("shared", "RssShmem"), ("stack", "VmStk")):
        value = kernel[name]
        if value is not None:
            account.add(key, value)
    written = head.number("files.written")
    account.data_known = written is not None
    if written:
        inherited = head.number("files.inherited") or 0.0
        account.add("data", written + inherited * inherited_share(heap))
    account.stacks_known = head.integer("stacks.threads")
    if account.stacks_known:
        account.add("thread_stacks", head.number("stacks.bytes") or 0.0)
    _kept(account, heap, usage, unaccounted)
    account.settle()
    return account


def _arenas(account: Account, heap: Heap, usage: Usage) -> Tuple[Optional[Item], List[Item]]:
    """Live small objects; and what else the arenas hold."""
    small = usage.of(True, ARENAS)
    held = heap.head.number("arena_bytes")
    error = standard_error(small.bytes_var)
    live = Item("python_arenas", small.bytes, error, ESTIMATE) if small.bytes else None
    if held is None or account.allocator != "pymalloc":
        if held and account.allocator != "pymalloc":
            # The interpreter's stacks of frames come from the same allocator.
            return live, [Item("frames", held)]
        return live, []
    outside = usage.rounded[0]
    inside = max(small.bytes - outside, 0.0)
    taken = small.taken
    if taken > held > 0:
        scale = held / taken
        account.capped = True
        inside, taken = inside * scale, held
        if live:
            live.bytes = inside + outside
    rounding = Item("arenas_rounding", max(taken - inside, 0.0), 0.0, INFERRED)
    # Where few or no samples lie in them, their variance says too little.
    error = max(error, heap.head.rate if heap.head.rate > 1 else 0.0)
    return live, [rounding, Item("arenas_free", held - taken, error, INFERRED, held - taken)]


def _regions(account: Account, heap: Heap, usage: Usage) -> None:
    """What mimalloc holds besides live objects; older libraries did not look."""
    held = heap.head.number("mimalloc.bytes")
    if not held or account.allocator != "mimalloc":
        return
    live = account.item("python_interpreter")
    error = live.error
    if live.bytes > held:
        live.bytes, account.capped = held, True
    account.add("interpreter_free", held - live.bytes, error, INFERRED)


def _live(account: Account, usage: Usage, arenas: Optional[Item]) -> None:
    if arenas:
        account.items.append(arenas)
    for key, python, served in (
        ("python_interpreter", True, INTERPRETER),
        ("python_malloc", True, MALLOC),
        ("native_malloc", False, MALLOC),
        ("mapped", False, MAPPED),
    ):
        one = usage.of(python, served)
        if one.bytes:
            item = account.add(key, one.resident, standard_error(one.resident_var), ESTIMATE)
            item.untouched, item.doubtful = one.untouched, one.unknown
        more = one.taken - one.bytes
        if served == MALLOC and more > 0:
            error = standard_error(one.rounding_var)
            account.add("python_rounding" if python else "native_rounding", more, error, INFERRED)


def _malloc(account: Account, heap: Heap, usage: Usage) -> Optional[float]:
    """What else malloc holds; returns what is neither live in it nor said to be free."""
    head = heap.head
    parts = [usage.of(python, MALLOC) for python in (True, False)]
    taken = sum(part.taken - part.own_mappings for part in parts)
    asked, clock = head.integer("malloc.clock_ms"), head.integer("clock_ms")
    used, free = head.number("malloc.used"), head.number("malloc.free")
    if asked is None or clock is None or used is None or free is None:
        return None
    account.malloc_age = max(clock - asked, 0) / 1000
    account.malloc_top = min(head.number("malloc.top") or 0.0, free)
    account.add("malloc_free", free).doubtful = free
    return used - taken - usage.rounded[1]


def _kept(account: Account, heap: Heap, usage: Usage, unaccounted: Optional[float]) -> None:
    """What was freed and is still resident, as far as nothing else explains the rest.

    What malloc had in use in its heaps when it was asked, and is not live, was freed since. If it
    was asked before the peak, or not at all, then what was live in it at the peak tells, less what
    the process has given back since its size was highest; mimalloc is never asked: its regions
    tell, where the library knew them. Blocks with mappings of their own are not kept when freed.
    """
    head = heap.head
    asked, peak_clock = head.integer("malloc.clock_ms"), head.integer("peak_clock_ms")
    known = any(item.key == "interpreter_free" for item in account.items)
    for key, served in (("malloc_kept", MALLOC), ("interpreter_kept", INTERPRETER)):
        if served == INTERPRETER and known:
            continue
        live = [usage.of(python, served) for python in (True, False)]
        variance = sum(one.bytes_var for one in live)
        kept = (unaccounted or 0.0) if served == MALLOC else 0.0
        if served == INTERPRETER or asked is None or asked < (peak_clock or 0):
            peak, peak_var = peak_of(heap, served)
            more = peak - sum(one.bytes - one.own_mappings for one in live)
            if account.peak_bytes is not None:
                freed = account.peak_bytes - sum(one.bytes for one in usage.sums.values())
                more = min(more, freed - max((account.highest or 0.0) - account.rss, 0.0))
            if more > kept:
                kept, variance = more, variance + peak_var
                account.from_peak = True
        room = account.rss - sum(item.bytes for item in account.items)
        if min(kept, room) > 0:
            account.add(key, min(kept, room), standard_error(variance), INFERRED)
            account.clipped = account.clipped or kept > room


def _copied(total: Account, accounts: Sequence[Account], inherited: Sequence[float]) -> None:
    """What workers inherited, counted in the process it was inherited from, and wrote to since."""
    copied = 0.0
    for account, live in zip(accounts, inherited):
        anonymous, shared = account.pages.get("Anonymous"), account.pages.get("Shared_Dirty")
        if anonymous and shared is not None:
            copied += live * max(1 - shared / anonymous, 0.0)
    room = total.rss - sum(item.bytes for item in total.items)
    if min(copied, room) > 0:
        total.add("copied", min(copied, room), 0.0, INFERRED)


def add_up(
    accounts: Sequence[Account], usage: Usage, inherited: Sequence[float]
) -> Optional[Account]:
    """All processes together, by Pss: a page that several share is counted once.

    Live blocks are those of the merged snapshots, where a block counts once; the rest of anonymous
    memory is scaled by what of it is not shared. *inherited* is how much each process has live that
    another one counts: of that, what is not shared any more was copied. None where the kernel did
    not say Pss.
    """
    if not all(account.pages.get("Pss") and account.pages.get("Rss") for account in accounts):
        return None
    total = Account(float(sum(account.pages["Pss"] for account in accounts)))
    total.processes = len(accounts)
    total.allocator = accounts[0].allocator
    total.arena_size = accounts[0].arena_size
    total.malloc_served_by = accounts[0].malloc_served_by
    total.threads = max(account.threads for account in accounts)
    total.stacks_known = total.threads - 1 - max(account.stacks_unknown for account in accounts)
    total.swapped = sum(account.swapped for account in accounts)
    ages = [a.malloc_age for a in accounts if a.malloc_age is not None]
    total.malloc_age = max(ages) if ages else None
    small = usage.of(True, ARENAS)
    arenas = Item("python_arenas", small.bytes, standard_error(small.bytes_var), ESTIMATE)
    _live(total, usage, arenas if small.bytes else None)
    total.data_known = all(account.data_known for account in accounts)
    live_keys = {"python_arenas", "python_interpreter", "python_malloc", "native_malloc", "mapped"}
    live_keys |= set(_ROUNDING)
    kinds = {"files": ("Pss_File", "RssFile"), "shared": ("Pss_Shmem", "RssShmem")}
    order: Dict[str, Item] = {}
    for account in accounts:
        anonymous = account.pages.get("Anonymous") or 0
        own = account.pages.get("Pss_Anon", anonymous)
        share = min(own / anonymous, 1.0) if anonymous else 1.0
        total.malloc_top += account.malloc_top * share
        for item in account.items:
            if item.key in live_keys or item.key == "unexplained":
                continue
            value, scale = item.bytes, share
            if item.key in kinds:
                value, scale = account.pages.get(kinds[item.key][0], item.bytes), 1.0
            into = order.setdefault(item.key, Item(item.key, 0.0, 0.0, item.kind))
            into.bytes += value * scale
            into.doubtful += item.doubtful * scale
            into.error = standard_error(into.error**2 + (item.error * scale) ** 2)
    total.items += order.values()
    _copied(total, accounts, inherited)
    for key in ("Pss", "Rss", "Shared_Dirty", "Shared_Clean", "Private_Dirty", "Private_Clean"):
        total.pages[key] = sum(account.pages.get(key, 0) for account in accounts)
    total.settle()
    return total
