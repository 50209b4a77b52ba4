# SPDX-License-Identifier: MIT
"""Live bytes by who serves them: what an account of a process's size needs beyond the sums by site.

Bytes are what was asked for; an allocator gives more. pymalloc cuts pools into equal blocks of 16
bytes' multiples; glibc's malloc puts 8 bytes before each block and rounds to 16, and to whole pages
where a block is a mapping of its own. Both are computed here, from sizes and weights.

Invariants: a live sample is counted in one class; the weights are `_weights.py`'s.
"""

from __future__ import annotations

from collections import Counter
from typing import Counter as Counts
from typing import Dict, Mapping, Sequence, Tuple

from ._heap import Heap
from ._kernel import Kernel
from ._weights import WeightCache

_CHUNK = 1 << 16
#: pymalloc serves requests of up to so many bytes, debug hooks' own included.
SMALL_MAX = 512
_DEBUG_BYTES = 24
#: What a small block is that was sampled where the free of Python objects is not hooked.
_ROUNDED_CHUNK = 528
#: Blocks from here on may lie on pages that nobody has touched yet.
BIG_MIN = 64 << 10
_MAPPED_MIN = 128 << 10
_POOL_HEADER = 48
_PAGE = 4096

_FRAMES_MAX = 256 << 10
_FRAMES_A_THREAD = 32 << 10

PYTHON_DOMAINS = frozenset(("raw", "mem", "obj"))
ARENAS, MALLOC, INTERPRETER, MAPPED = "arenas", "malloc", "interpreter", "mapped"


class Sum:
    """The live bytes of one class, and what they take of their allocator's memory."""

    __slots__ = ("bytes", "bytes_var", "taken", "big")

    def __init__(self) -> None:
        self.bytes = 0.0
        self.bytes_var = 0.0
        self.taken = 0.0
        #: Of the bytes, those in blocks that may be untouched.
        self.big = 0.0

    def add(self, other: Sum) -> None:
        self.bytes += other.bytes
        self.bytes_var += other.bytes_var
        self.taken += other.taken
        self.big += other.big


class Usage:
    """Live bytes by (Python's or not, who serves them)."""

    def __init__(self) -> None:
        self.sums: Dict[Tuple[bool, str], Sum] = {}
        #: Small blocks that are larger in memory because they were sampled: (bytes, chunks).
        self.rounded = (0.0, 0.0)

    def of(self, python: bool, served_by: str) -> Sum:
        return self.sums.setdefault((python, served_by), Sum())

    def add(self, other: Usage) -> None:
        for key, value in other.sums.items():
            self.sums.setdefault(key, Sum()).add(value)
        self.rounded = (
            self.rounded[0] + other.rounded[0],
            self.rounded[1] + other.rounded[1],
        )


def allocator_of(heap: Heap) -> str:
    """What serves Python's small objects: `pymalloc`, `malloc`, `mimalloc`, or the head's own word.

    3.12 cannot be asked for the name, and a self-test may take the one for the other. Arenas do not
    lie: without pymalloc they hold nothing but a few pages of frames for each thread.
    """
    name = heap.head.text("python.alloc") or "pymalloc"
    name = name[: -len("_debug")] if name.endswith("_debug") else name
    held = heap.head.integer("arena_bytes")
    if name in ("pymalloc", "malloc", "unknown") and held is not None:
        frames = _FRAMES_MAX + _FRAMES_A_THREAD * Kernel(heap).threads
        return "pymalloc" if held > frames else "malloc"
    return name


def pool_bytes(heap: Heap) -> int:
    """The size of pymalloc's pools: 3.10 made them, and arenas, four times as large."""
    version = (heap.head.text("python") or "3.10").split(".")
    old = version[0] == "3" and len(version) > 1 and version[1] in ("8", "9")
    return 4096 if old else 16384


def domains_of_mimalloc(heap: Heap) -> Tuple[str, ...]:
    """What mimalloc serves where it serves Python's objects: since 3.15 the raw domain, too."""
    version = (heap.head.text("python") or "").split(".")
    new = len(version) > 1 and version[1].isdigit() and int(version[1]) >= 15
    return ("obj", "mem", "raw") if new else ("obj", "mem")


def measure(heap: Heap) -> Usage:
    usage = Usage()
    live = heap.live
    weights = [WeightCache(rate) for rate in heap.rates]
    domain_of = heap.sites.domain.__getitem__
    rows: Counts[Tuple[int, int, int]] = Counter()
    for start in range(0, len(live), _CHUNK):
        end = start + _CHUNK
        sites = map(domain_of, live.site[start:end])
        rows.update(zip(sites, live.size[start:end], live.rate[start:end]))
        if len(rows) > _CHUNK:
            _weigh(heap, usage, rows, weights)
            rows.clear()
    _weigh(heap, usage, rows, weights)
    return usage


def _weigh(
    heap: Heap,
    usage: Usage,
    rows: Mapping[Tuple[int, int, int], int],
    weights: Sequence[WeightCache],
) -> None:
    allocator, pool = allocator_of(heap), pool_bytes(heap)
    debug = _DEBUG_BYTES if (heap.head.text("python.alloc") or "").endswith("_debug") else 0
    theirs = domains_of_mimalloc(heap) if allocator == "mimalloc" else ()
    unhooked = heap.head.text("python.free") == "unhooked"
    for (domain, size, rate), times in rows.items():
        name = heap.domain_names[domain]
        w, ws, _, vs = weights[rate][size]
        python = name in PYTHON_DOMAINS
        served = MAPPED if name == "mmap" else MALLOC
        more = size + debug if python else size
        taken = float(malloc_chunk(more))
        if name in theirs:
            served = INTERPRETER
        elif name in ("obj", "mem") and allocator == "pymalloc" and more <= SMALL_MAX:
            served, taken = ARENAS, pymalloc_block(more, pool)
        one = usage.of(python, served)
        one.bytes += times * ws
        one.bytes_var += times * vs
        one.taken += times * w * taken
        if size >= BIG_MIN:
            one.big += times * ws
        if served == ARENAS and unhooked:
            # The sampled block itself is in malloc's heap, and larger there.
            one.taken -= times * taken
            octets, chunks = usage.rounded
            usage.rounded = (octets + times * size, chunks + times * _ROUNDED_CHUNK)


def malloc_chunk(size: int) -> int:
    """What glibc's malloc takes for a block."""
    if size >= _MAPPED_MIN:
        return (size + 16 + _PAGE - 1) // _PAGE * _PAGE
    return max(32, (size + 8 + 15) & ~15)


def pymalloc_block(size: int, pool: int) -> float:
    """What pymalloc takes for a block: its share of a pool, header and rest included."""
    block = max(16, (size + 15) & ~15)
    return pool / ((pool - _POOL_HEADER) // block)


def peak_of(heap: Heap, served_by: str) -> Tuple[float, float]:
    """Bytes, and their variance, that malloc or the interpreter had live at the process's peak.

    Sites know no sizes but their mean: one whose blocks are small on average is pymalloc's.
    """
    allocator, sites = allocator_of(heap), heap.sites
    theirs = domains_of_mimalloc(heap) if allocator == "mimalloc" else ()
    octets, variance = 0.0, 0.0
    columns = (sites.peak_bytes, sites.peak_bytes_var, sites.alloc_bytes, sites.alloc_blocks)
    for domain, peak, peak_var, size, blocks in zip(sites.domain, *columns):
        name = heap.domain_names[domain]
        served = MAPPED if name == "mmap" else MALLOC
        if name in theirs:
            served = INTERPRETER
        elif name in ("obj", "mem") and allocator == "pymalloc" and size <= SMALL_MAX * blocks:
            served = ARENAS
        if served == served_by:
            octets += peak
            variance += peak_var
    return octets, variance
