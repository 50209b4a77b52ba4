# SPDX-License-Identifier: MIT
"""Live bytes by who serves them: what an account of a process's size needs beyond the sums by site.

Bytes are what was asked for; an allocator gives more. pymalloc cuts pools into equal blocks of 16
bytes' multiples; glibc's malloc puts 8 bytes before each block and rounds to 16, and to whole pages
where a block is a mapping of its own. Both are computed here, from sizes and weights. And what was
asked for may have no memory yet (`_resident.py`).

A site's footprint is what its blocks have resident, rounding and all.

Invariants: a live sample is counted in one class; the weights are `_weights.py`'s.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Dict, Mapping, Tuple

from ._heap import Heap
from ._kernel import Kernel
from ._resident import BIG_MIN, large_blocks
from ._sums import Sums
from ._weights import WeightCache

if TYPE_CHECKING:
    from ._heap import Ints

_CHUNK = 1 << 16
#: pymalloc serves requests of up to so many bytes, debug hooks' own included.
SMALL_MAX = 512
_DEBUG_BYTES = 24
#: Where in its page a block begins that glibc's malloc has mapped for it alone.
_MAPPED_AT = 16
#: What a small block is that was sampled where the free of Python objects is not hooked.
_ROUNDED_CHUNK = 528
_MAPPED_MIN = 128 << 10
_POOL_HEADER = 48
_PAGE = 4096

_FRAMES_MAX = 256 << 10
_FRAMES_A_THREAD = 32 << 10

PYTHON_DOMAINS = frozenset(("raw", "mem", "obj"))
ARENAS, MALLOC, INTERPRETER, MAPPED = "arenas", "malloc", "interpreter", "mapped"


class Sum:
    """The live bytes of one class, and what they take of their allocator's memory."""

    __slots__ = (
        "bytes",
        "bytes_var",
        "taken",
        "rounding_var",
        "own_mappings",
        "unknown",
        "untouched",
        "shared",
        "resident_var",
    )

    def __init__(self) -> None:
        #: What was asked for, and its variance.
        self.bytes = 0.0
        self.bytes_var = 0.0
        #: With what the allocator adds; and the variance of what it adds.
        self.taken = 0.0
        self.rounding_var = 0.0
        #: Of what is taken, that in blocks which malloc has mapped for them alone.
        self.own_mappings = 0.0
        #: Of the bytes, those that may be untouched and were not asked about.
        self.unknown = 0.0
        #: Of the bytes, those that are not resident, and those of shared mappings.
        self.untouched = 0.0
        self.shared = 0.0
        #: The variance of those that are resident.
        self.resident_var = 0.0

    @property
    def resident(self) -> float:
        """Bytes that have memory, of this process."""
        return self.bytes - self.untouched - self.shared

    def add(self, other: Sum) -> None:
        for name in Sum.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Usage:
    """Live bytes by (Python's or not, who serves them)."""

    def __init__(self) -> None:
        self.sums: Dict[Tuple[bool, str], Sum] = {}
        #: Small blocks that are larger in memory because they were sampled: (bytes, chunks).
        self.rounded = (0.0, 0.0)
        #: Footprints by site: bytes resident, and bytes of shared mappings.
        self.private = Sums(0)
        self.shared = Sums(0)

    def of(self, python: bool, served_by: str) -> Sum:
        return self.sums.setdefault((python, served_by), Sum())

    @property
    def resident(self) -> float:
        """All live bytes that have memory, of this process."""
        return sum(one.resident for one in self.sums.values())

    def add(self, other: Usage) -> None:
        """Add the sums by class; footprints belong to one process."""
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
    meter = _Meter(heap)
    live = heap.live
    for start in range(0, len(live), _CHUNK):
        end = start + _CHUNK
        sites, sizes, rates = live.site[start:end], live.size[start:end], live.rate[start:end]
        domains = map(heap.sites.domain.__getitem__, sites)
        meter.small(Counter(zip(domains, sizes, rates)))
        meter.footprints(sites, sizes, rates)
    for row, private, shared, unknown in large_blocks(heap):
        size, address = live.size[row], live.address[row]
        alone = size >= _MAPPED_MIN and address % _PAGE == _MAPPED_AT
        meter.large(live.site[row], size, live.rate[row], private, shared, unknown, alone)
    return meter.usage


class _Meter:
    """Adds live samples to a `Usage`."""

    def __init__(self, heap: Heap) -> None:
        self.usage = Usage()
        sites = len(heap.sites.node)
        self.usage.private, self.usage.shared = Sums(sites), Sums(sites)
        self.names, self.domain = heap.domain_names, heap.sites.domain
        self.footprint: Dict[Tuple[int, int, int], Tuple[float, float]] = {}
        self.weights = [WeightCache(rate) for rate in heap.rates]
        self.allocator, self.pool = allocator_of(heap), pool_bytes(heap)
        alloc = heap.head.text("python.alloc") or ""
        self.debug = _DEBUG_BYTES if alloc.endswith("_debug") else 0
        self.theirs = domains_of_mimalloc(heap) if self.allocator == "mimalloc" else ()
        self.unhooked = heap.head.text("python.free") == "unhooked"

    def small(self, rows: Mapping[Tuple[int, int, int], int]) -> None:
        """Samples by (domain, size, rate); large ones among them are passed over."""
        self.footprint.clear()
        for (domain, size, rate), times in rows.items():
            if size >= BIG_MIN:
                self.footprint[domain, size, rate] = (0.0, 0.0)
                continue
            w, ws, v, vs = self.weights[rate][size]
            one, served, taken = self._class_of(domain, size)
            self.footprint[domain, size, rate] = (w * taken, v * taken**2)
            one.bytes += times * ws
            one.bytes_var += times * vs
            one.resident_var += times * vs
            one.taken += times * w * taken
            one.rounding_var += times * v * (taken - size) ** 2
            if served == MAPPED:
                one.unknown += times * ws
            if served == ARENAS and self.unhooked:
                # The sampled block itself is in malloc's heap, and larger there.
                one.taken -= times * taken
                octets, chunks = self.usage.rounded
                self.usage.rounded = (octets + times * size, chunks + times * _ROUNDED_CHUNK)

    def footprints(self, sites: Ints, sizes: Ints, rates: Ints) -> None:
        """The same samples, each to its site."""
        octets, variances = self.usage.private.bytes, self.usage.private.bytes_var
        domain, footprint = self.domain, self.footprint
        for site, size, rate in zip(sites, sizes, rates):
            more, variance = footprint[domain[site], size, rate]
            octets[site] += more
            variances[site] += variance

    def large(
        self,
        site: int,
        size: int,
        rate: int,
        private: float,
        shared: float,
        unknown: bool,
        alone: bool,
    ) -> None:
        w, ws, v, vs = self.weights[rate][size]
        one, served, taken = self._class_of(self.domain[site], size)
        one.bytes += ws
        one.bytes_var += vs
        one.resident_var += v * private**2
        one.taken += w * taken
        one.rounding_var += v * (taken - size) ** 2
        one.own_mappings += w * taken if alone and served == MALLOC else 0.0
        one.unknown += ws if unknown else 0.0
        one.untouched += w * (size - private - shared)
        one.shared += w * shared
        self._footprint(self.usage.private, site, w * private, v * private**2)
        self._footprint(self.usage.shared, site, w * shared, v * shared**2)

    def _class_of(self, domain: int, size: int) -> Tuple[Sum, str, float]:
        """Its class, who serves it, and how much its allocator takes for it."""
        name = self.names[domain]
        python = name in PYTHON_DOMAINS
        more = size + self.debug if python else size
        served, taken = MALLOC, float(malloc_chunk(more))
        if name == "mmap":
            served, taken = MAPPED, float((size + _PAGE - 1) // _PAGE * _PAGE)
        elif name in self.theirs:
            served = INTERPRETER
        elif name in ("obj", "mem") and self.allocator == "pymalloc" and more <= SMALL_MAX:
            served, taken = ARENAS, pymalloc_block(more, self.pool)
        return self.usage.of(python, served), served, taken

    def _footprint(self, sums: Sums, site: int, octets: float, variance: float) -> None:
        if octets:
            sums.bytes[site] += octets
            sums.bytes_var[site] += variance


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

    Sites know no sizes but their mean: one whose blocks are small on average is pymalloc's, and one
    whose blocks are large had mappings of their own, which went back when they were freed.
    """
    allocator, sites = allocator_of(heap), heap.sites
    theirs = domains_of_mimalloc(heap) if allocator == "mimalloc" else ()
    octets, variance = 0.0, 0.0
    columns = (sites.peak_bytes, sites.peak_bytes_var, sites.alloc_bytes, sites.alloc_blocks)
    for domain, peak, peak_var, size, blocks in zip(sites.domain, *columns):
        name = heap.domain_names[domain]
        served = MALLOC
        if name in theirs:
            served = INTERPRETER
        elif name == "mmap" or (blocks and size >= _MAPPED_MIN * blocks):
            served = MAPPED
        elif name in ("obj", "mem") and allocator == "pymalloc" and size <= SMALL_MAX * blocks:
            served = ARENAS
        if served == served_by:
            octets += peak
            variance += peak_var
    return octets, variance
