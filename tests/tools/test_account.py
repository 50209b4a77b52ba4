# SPDX-License-Identifier: MIT
"""The account adds up, whatever is known; and the verdict claims no more than the figures allow."""

from __future__ import annotations

import struct
from typing import Any, Dict, List, Optional, Tuple

import pytest

import snapshot_writer as sw
from helpers import LOAD, MAIN, VIEW, save
from mprofile._account import CLASSES, Account
from mprofile._books import Books, rss_lines
from mprofile._format import SnapshotError
from mprofile._ids import read_heap
from mprofile._merge import merge
from mprofile._sums import sum_sites
from mprofile._text import Glyphs
from mprofile._usage import allocator_of, malloc_chunk, measure, pymalloc_block
from mprofile._verdict import LARGEST, MOST, SMALL_RSS, Verdict, judge, possible
from snapshot_writer import Program

MIB = 1 << 20


def process(rss: int, file: int = 5 * MIB, rate: int = 0, **head: Any) -> Program:
    """A process of so many resident bytes."""
    plain = {
        key.replace("malloc_", "malloc.").replace("python_", "python."): v
        for key, v in head.items()
    }
    program = Program(rate, **plain)
    program.proc.append(
        (
            "/proc/self/status",
            "VmRSS:\t%d kB\nRssAnon:\t%d kB\nRssFile:\t%d kB\nThreads:\t2\n"
            % (rss // 1024, (rss - file) // 1024, file // 1024),
        )
    )
    return program


def accounts(tmp_path: Any, *programs: Program) -> Books:
    paths = [save(tmp_path / ("%d.bin" % n), p.bytes()) for n, p in enumerate(programs)]
    heaps = [read_heap(path) for path in paths]
    books = Books(heaps)
    parts, _ = merge(heaps)
    books.close(parts, Glyphs())
    for account in books.accounts + [books.total]:
        if account:
            assert sum(item.bytes for item in account.items) == pytest.approx(account.rss)
            keys = [key for keys in CLASSES.values() for key in keys]
            assert sorted(keys) == sorted(set(keys)) and {i.key for i in account.items} <= set(keys)
    assert all(len(line) <= 80 for line in rss_lines(books, 80, Glyphs()))
    return books


def one(tmp_path: Any, program: Program) -> Tuple[Account, Verdict]:
    books = accounts(tmp_path, program)
    assert books.total and books.verdict
    return books.total, books.verdict


def sizes(account: Account) -> Dict[str, float]:
    return {item.key: item.bytes for item in account.items}


def test_what_an_allocator_takes() -> None:
    assert [malloc_chunk(size) for size in (0, 1, 24, 25, 40, 41)] == [32, 32, 32, 48, 48, 64]
    assert malloc_chunk(1 << 20) == MIB + 4096
    assert pymalloc_block(1, 4096) == 4096 / 253 == pymalloc_block(16, 4096)
    assert pymalloc_block(512, 4096) == 4096 / 7
    assert pymalloc_block(17, 16384) == 16384 / ((16384 - 48) // 32)


def test_small_objects_are_the_arenas(tmp_path: Any) -> None:
    program = process(60 * MIB, arena_bytes=50 * MIB, python_alloc="pymalloc")
    for _ in range(1000):
        program.block(512, [LOAD, MAIN])
    program.block(513, [LOAD, MAIN], domain="mem")
    program.block(100, [LOAD, MAIN], domain="raw")
    found = sizes(one(tmp_path, program)[0])
    assert found["python_arenas"] == 512_000 and found["python_malloc"] == 613
    held = found["python_arenas"] + found["arenas_rounding"] + found["arenas_free"]
    assert held == 50 * MIB
    assert found["arenas_rounding"] == pytest.approx(1000 * 16384 / 31 - 512_000)


def test_an_estimate_above_what_the_arenas_hold_is_cut(tmp_path: Any) -> None:
    program = process(60 * MIB, arena_bytes=2 * MIB, rate=1 << 20, python_alloc="pymalloc")
    for _ in range(5):
        program.block(100, [LOAD, MAIN])
    account = one(tmp_path, program)[0]
    found = sizes(account)
    assert account.capped and found["arenas_free"] == 0
    assert found["python_arenas"] + found["arenas_rounding"] == pytest.approx(2 * MIB)


@pytest.mark.parametrize(
    "name, held, kind",
    [
        ("pymalloc", 8 * MIB, "pymalloc"),
        ("malloc", 8 * MIB, "pymalloc"),
        ("pymalloc_debug", 16384, "malloc"),
        ("malloc", 16384, "malloc"),
        ("pymalloc", None, "pymalloc"),
        ("mimalloc", 16384, "mimalloc"),
        ("mimalloc_debug", None, "mimalloc"),
    ],
)
def test_who_serves_small_objects(tmp_path: Any, name: str, held: Optional[int], kind: str) -> None:
    program = process(60 * MIB, python_alloc=name)
    if held is not None:
        program.head["arena_bytes"] = held
    program.block(100, [LOAD, MAIN])
    heap = read_heap(save(tmp_path / "a.bin", program.bytes()))
    assert allocator_of(heap) == kind
    key = {"pymalloc": "arenas", "malloc": "malloc", "mimalloc": "interpreter"}[kind]
    assert measure(heap).of(True, key).bytes == 100
    assert sizes(one(tmp_path, program)[0])["python_" + key] == 100


def test_sampled_small_objects_are_the_profilers_cost(tmp_path: Any) -> None:
    program = process(60 * MIB, arena_bytes=8 * MIB, rate=16384, own_bytes=1000)
    program.head["python.free"] = "unhooked"
    for _ in range(100):
        program.block(64, [LOAD, MAIN])
    found = sizes(one(tmp_path, program)[0])
    assert found["profiler"] == pytest.approx(1000 + 100 * (528 - 64))


def asked(program: Program, used: int, free: int, when: int = 59_000) -> Program:
    program.head.update(
        {"malloc.used": used, "malloc.free": free, "malloc.mapped": 0, "malloc.clock_ms": when}
    )
    return program


def test_free_in_malloc_is_what_malloc_says(tmp_path: Any) -> None:
    program = asked(process(80 * MIB), 10 * MIB, 60 * MIB)
    for _ in range(100):
        program.block(100_000, [VIEW, MAIN], domain="malloc")
    account, verdict = one(tmp_path, program)
    found = sizes(account)
    assert found["malloc_free"] == 60 * MIB and account.malloc_age == 1.0
    assert found["malloc_kept"] == pytest.approx(10 * MIB - 100 * 100_016)
    assert verdict.kind == "free" and "malloc" in verdict.short
    assert any("malloc_trim" in line for line in verdict.advice)


def peaked(program: Program, size: int) -> Program:
    """At the peak it had so many bytes in malloc, freed since."""
    program.block(10, [VIEW, MAIN], domain="malloc", live=False)
    program.sites[-1][7] = float(size)
    program.head.update(peak_bytes=size, peak_var=0, peak_clock_ms=59_500)
    return program


def test_malloc_that_was_asked_before_the_frees(tmp_path: Any) -> None:
    """What was live at the peak tells what malloc keeps now, unless malloc was asked later."""
    account, verdict = one(tmp_path, peaked(asked(process(90 * MIB), MIB, 0), 70 * MIB))
    found = sizes(account)
    assert found["malloc_kept"] == 70 * MIB and verdict.kind == "free"
    assert any("memory was freed, but kept" in one for one in verdict.sentences)
    account, verdict = one(tmp_path, peaked(asked(process(90 * MIB), MIB, 0, 59_900), 70 * MIB))
    assert sizes(account)["malloc_kept"] == MIB and verdict.kind == "unexplained"
    # No more is kept than is resident.
    account, verdict = one(tmp_path, peaked(asked(process(40 * MIB), MIB, 0), 70 * MIB))
    assert sizes(account)["malloc_kept"] == 35 * MIB and sizes(account)["unexplained"] == 0


def test_untouched_memory_is_taken_out_of_mappings_first(tmp_path: Any) -> None:
    program = process(100 * MIB)
    for _ in range(600):
        program.block(100_000, [LOAD, MAIN])
    program.block(500 * MIB, [VIEW, MAIN], domain="mmap")
    account, verdict = one(tmp_path, program)
    mapped = account.item("mapped")
    assert mapped.bytes + mapped.untouched == 500 * MIB
    assert sizes(account)["unexplained"] == 0 and account.overflow > 400 * MIB
    # The Python blocks are large, too: it might be they that are not resident.
    assert verdict.kind == "mixed"
    program = process(100 * MIB, rate=1)
    for _ in range(600 * 25):
        program.block(4000, [LOAD, MAIN])
    program.block(500 * MIB, [VIEW, MAIN], domain="mmap")
    assert one(tmp_path, program)[1].kind == "python"


def test_lines_of_untouched_mappings_are_not_blamed(tmp_path: Any) -> None:
    program = process(100 * MIB)
    for _ in range(8000):
        program.block(10_000, [LOAD, MAIN], domain="malloc")
    program.block(500 * MIB, [VIEW, MAIN], domain="mmap")
    _, verdict = one(tmp_path, program)
    assert verdict.kind == "native" and [p.text for p in verdict.places] == ["app/models.py:12"]


def simple(size: float, **parts: Tuple[float, float]) -> Account:
    account = Account(size)
    for key, (octets, error) in parts.items():
        account.add(key, octets, error, "estimate")
    account.settle()
    return account


def test_thresholds() -> None:
    def kind(account: Account) -> Tuple[str, str]:
        verdict = judge(account, lambda kind: [], "+-")
        return verdict.kind, verdict.short.split(" ")[0]

    size = 1000.0 * MIB
    assert kind(simple(SMALL_RSS - 1, python_malloc=(SMALL_RSS - 2, 0))) == ("small", "a")
    assert kind(simple(size, python_malloc=(size * MOST, 0), files=(size * 0.3, 0))) == (
        "python",
        "mostly",
    )
    # Two standard errors are left out of what is certain.
    assert kind(simple(size, python_malloc=(size * MOST, 1.0), files=(size * 0.3, 0))) == (
        "python",
        "the",
    )
    uneasy = simple(size, python_malloc=(size * 0.55, size * 0.16), files=(size * 0.45, 0))
    assert kind(uneasy) == ("files", "the") or kind(uneasy)[0] == "mixed"
    close = simple(
        size,
        python_malloc=(size * 0.35, size * 0.02),
        native_malloc=(size * 0.33, size * 0.02),
        files=(size * 0.32, 0),
    )
    assert kind(close)[0] == "mixed"
    below = LARGEST - 0.01
    spread = simple(
        size,
        **{
            key: (size * below, 0.0)
            for key in ("python_malloc", "native_malloc", "files", "shared")
        },
    )
    assert kind(spread)[0] == "mixed"
    assert kind(simple(size, files=(size * 0.6, 0), python_malloc=(size * 0.4, 0)))[0] == "files"
    assert kind(simple(size, shared=(size * 0.6, 0), python_malloc=(size * 0.4, 0)))[0] == "shared"
    assert kind(simple(size))[0] == "unexplained"


def test_free_memory_is_named_beside_what_leads(tmp_path: Any) -> None:
    program = asked(process(100 * MIB), 0, 30 * MIB)
    for _ in range(600):
        program.block(100_000, [LOAD, MAIN])
    _, verdict = one(tmp_path, program)
    assert verdict.kind == "python" and verdict.advice
    assert any(sentence.startswith("Besides") for sentence in verdict.sentences)


def test_a_rough_line_is_not_named(tmp_path: Any) -> None:
    program = process(100 * MIB, rate=1 << 20)
    for _ in range(60):
        program.block(1000, [LOAD, MAIN])
    program.block(1000, [VIEW, MAIN])
    _, verdict = one(tmp_path, program)
    assert [place.text for place in verdict.places] == ["app/models.py:12"]


def test_stacks_of_other_threads(tmp_path: Any) -> None:
    """A library that did not look says nothing of them; what it could not find stays a possible cause."""
    before, _ = one(tmp_path, process(60 * MIB))
    assert "thread_stacks" not in sizes(before)
    program = process(60 * MIB, **{"stacks.bytes": 32 * MIB, "stacks.threads": 7})
    program.proc[0] = (program.proc[0][0], program.proc[0][1].replace("Threads:\t2", "Threads:\t10"))
    account, verdict = one(tmp_path, program)
    assert sizes(account)["thread_stacks"] == 32 * MIB
    assert sizes(account)["unexplained"] == 23 * MIB
    assert account.stacks_unknown == 1
    assert "stacks of other threads (1)" in possible(account)


def test_mimalloc_holds_what_is_resident_in_its_regions(tmp_path: Any) -> None:
    program = process(60 * MIB, python_alloc="mimalloc", arena_bytes=16384, **{"mimalloc.bytes": 50 * MIB})
    program.block(10 * MIB, [LOAD, MAIN])
    account, verdict = one(tmp_path, program)
    found = sizes(account)
    assert found["python_interpreter"] == 10 * MIB and found["interpreter_free"] == 40 * MIB
    assert verdict.kind == "free" and "what mimalloc keeps free" not in possible(account)
    program.block(70 * MIB, [LOAD, MAIN])  # untouched, most of it
    account, verdict = one(tmp_path, program)
    assert account.capped and sizes(account)["python_interpreter"] == 50 * MIB
    assert sizes(account)["interpreter_free"] == 0 and verdict.kind == "python"


def workers(shared: int) -> List[Program]:
    import copy

    parent = process(80 * MIB, pid=10)
    for number in range(700):
        parent.block(100_000, [LOAD, MAIN], address=number + 1, time=number)
    child = copy.deepcopy(parent)
    child.fork(0xC1, 11, 1000)
    for program in (parent, child):
        program.proc.append(
            (
                "/proc/self/smaps_rollup",
                "Rss:\t%d kB\nPss:\t%d kB\nPss_Anon:\t%d kB\nPss_File:\t2560 kB\n"
                "Anonymous:\t%d kB\n"
                % (80 << 10, (80 << 10) - shared // 2 - 2560, (75 << 10) - shared // 2, 75 << 10),
            )
        )
    return [parent, child]


def test_what_is_inherited_counts_in_each_and_once_in_all(tmp_path: Any) -> None:
    books = accounts(tmp_path, *workers(shared=70 << 10))
    each = [sizes(account)["python_malloc"] for account in books.accounts if account]
    assert each == [70_000_000, 70_000_000]
    assert books.total and sizes(books.total)["python_malloc"] == 70_000_000
    assert books.total.rss == 2 * ((80 << 10) - (35 << 10) - 2560) * 1024
    assert books.verdict and books.verdict.kind == "python"


def test_without_pss_there_is_no_total(tmp_path: Any) -> None:
    programs = workers(0)
    for program in programs:
        del program.proc[1]
    books = accounts(tmp_path, *programs)
    assert books.total is None and books.short() == []
    assert any(line.startswith("No total") for line in rss_lines(books, 80, Glyphs()))


def block(
    program: Program, size: int, line: int, domain: str, pages: Optional[Tuple[int, int, int]]
) -> None:
    address = 0x10000000 * line
    program.block(size, [("app.py", line, "f", 1)], domain=domain, address=address)
    if pages is not None:
        program.resident.append((address, *pages))


def test_what_is_resident_was_asked(tmp_path: Any) -> None:
    """Of large blocks what has memory counts, whatever their kind; and decides which lines are named."""
    program = process(300 * MIB)
    block(program, 400 * MIB, 1, "malloc", (0, 0, 0))
    block(program, 200 * MIB, 2, "mmap", (200 * MIB, 0, 0))
    block(program, 50 * MIB, 3, "malloc", (40 * MIB, 0, 0))
    block(program, 20 * MIB, 4, "malloc", (30 * MIB, 0, 0))  # pages of a neighbour
    account, verdict = one(tmp_path, program)
    found = sizes(account)
    assert found["native_malloc"] == 60 * MIB and found["mapped"] == 200 * MIB
    assert account.item("native_malloc").untouched == 410 * MIB and not account.item("mapped").untouched
    assert verdict.kind == "native"
    assert [place.text for place in verdict.places] == ["app.py:2", "app.py:3", "app.py:4"]
    assert sum(place.share for place in verdict.places) == pytest.approx(1)


def test_shared_mappings_are_shared_memory(tmp_path: Any) -> None:
    program = process(300 * MIB)
    status = program.proc[0][1] + "RssShmem:\t%d kB\n" % (200 << 10)
    program.proc[0] = (program.proc[0][0], status)
    block(program, 500 * MIB, 1, "mmap", (0, 0, 200 * MIB))
    block(program, 50 * MIB, 2, "mmap", (50 * MIB, 0, 0))
    account, verdict = one(tmp_path, program)
    found = sizes(account)
    assert found["mapped"] == 50 * MIB and found["shared"] == 200 * MIB
    assert account.item("mapped").untouched == 300 * MIB
    assert verdict.kind == "shared" and [place.text for place in verdict.places] == ["app.py:1"]


@pytest.mark.parametrize("dirty, real", [(None, 1.0), (0, 0.0), (30, 0.25), (500, 1.0)])
def test_pages_of_zeroes_are_no_memory(tmp_path: Any, dirty: Optional[int], real: float) -> None:
    """What looks shared since a fork, and is more than the kernel says is shared, was only read."""
    program = process(300 * MIB)
    if dirty is not None:
        program.proc.append(("/proc/self/smaps_rollup", "Shared_Dirty:\t%d kB\n" % (dirty << 10)))
    block(program, 120 * MIB, 1, "malloc", (0, 120 * MIB, 0))
    account, _ = one(tmp_path, program)
    assert sizes(account)["native_malloc"] == 120 * MIB * real


def test_tiny_native_blocks_are_what_malloc_takes_for_them(tmp_path: Any) -> None:
    program = process(100 * MIB, rate=1 << 10)
    for number in range(2000):
        program.block(1, [("app.py", 1, "f", 1)], domain="malloc", address=number + 1)
    program.block(5 * MIB, [("app.py", 2, "f", 1)], domain="malloc", address=0x1000010)
    account, verdict = one(tmp_path, program)
    rounding = account.item("native_rounding")
    assert rounding.bytes == pytest.approx(2000 * 1024.5 * 31 + 4096, rel=0.001)
    assert rounding.error == pytest.approx(rounding.bytes / 2000**0.5, rel=0.01)
    assert verdict.kind == "native" and verdict.places[0].text == "app.py:1"
    assert any("malloc adds to blocks" in text for text in verdict.sentences)


def test_blocks_with_mappings_of_their_own_are_not_kept(tmp_path: Any) -> None:
    """What malloc had in use in its heaps is compared with what is live in them; and what the process
    gave back since its peak it does not keep."""
    asked = {"malloc.clock_ms": 2000, "malloc.used": 10 * MIB, "malloc.mapped": 50 * MIB, "malloc.free": 0}
    program = process(100 * MIB, clock_ms=3000, peak_clock_ms=1000, **asked)
    program.block(MIB, [LOAD, MAIN], domain="malloc", address=0x100000)  # in a heap
    program.block(30 * MIB, [LOAD, MAIN], domain="malloc", address=0x200010)  # mapped alone
    found = sizes(one(tmp_path, program)[0])
    assert found["malloc_kept"] == pytest.approx(9 * MIB, rel=0.01)

    program = process(100 * MIB, peak_bytes=80 * MIB)
    status = program.proc[0][1] + "VmHWM:\t%d kB\n" % (130 << 10)
    program.proc[0] = (program.proc[0][0], status)
    for _ in range(8000):
        program.block(10 << 10, [LOAD, MAIN], domain="malloc")
    sums = program.sites[program.live[0][3]]
    program.live, program.types = program.live[:100], program.types[:100]
    assert sums[7] == 8000 * 10 << 10
    found = sizes(one(tmp_path, program)[0])
    assert found["malloc_kept"] == 80 * MIB - (1000 << 10) - 30 * MIB


def test_data_of_libraries_and_copies_of_workers(tmp_path: Any) -> None:
    program = process(60 * MIB, **{"files.written": 40 * MIB, "files.inherited": 0})
    account, verdict = one(tmp_path, program)
    assert sizes(account)["data"] == 40 * MIB and verdict.kind == "data"
    assert "data of libraries" not in possible(account)
    programs = workers(shared=10 << 10)
    for program in programs:
        name, text = program.proc[1]
        program.proc[1] = (name, text + "Shared_Dirty:\t%d kB\n" % (5 << 10))
    books = accounts(tmp_path, *programs)
    assert books.total and 50 * MIB < books.total.item("copied").bytes < 70_000_000
    assert books.verdict and any("are copies of what workers" in text for text in books.verdict.sentences)
    assert any("gc.freeze()" in text for text in books.verdict.advice)


def test_a_section_that_says_more_rows_than_it_has(tmp_path: Any) -> None:
    program = process(60 * MIB)
    block(program, 40 * MIB, 1, "malloc", (MIB, 0, 0))
    known = {0x10000000: (MIB, 0, 0)}
    assert read_heap(save(tmp_path / "a.bin", program.bytes())).resident == known
    bad = sw.section(b"RESI", struct.pack("<IIQ", 2**32 - 1, 0, 0))
    path = save(tmp_path / "b.bin", sw.finish([*program.sections(), bad]))
    with pytest.raises(SnapshotError, match="RESI"):
        read_heap(path)
    assert read_heap(path, salvage=True).resident == known


def test_stacks_and_the_profiler_can_be_what_leads(tmp_path: Any) -> None:
    program = process(150 * MIB, **{"stacks.bytes": 120 * MIB, "stacks.threads": 20})
    program.block(10 * MIB, [LOAD, MAIN])
    account, verdict = one(tmp_path, program)
    assert verdict.kind == "stack" and "20 other threads" in " ".join(verdict.sentences)
    assert any("threading.stack_size" in advice for advice in verdict.advice)
    program = process(90 * MIB, own_bytes=60 * MIB)
    program.block(20 * MIB, [LOAD, MAIN])
    account, verdict = one(tmp_path, program)
    assert verdict.kind == "profiler" and any("MPROFILERATE" in advice for advice in verdict.advice)


def test_snapshots_of_different_moments_say_so(tmp_path: Any) -> None:
    programs = workers(shared=10 << 10)
    programs[1].head["time"] = "%.9f" % (float(programs[0].head["time"]) + 3)
    books = accounts(tmp_path, *programs)
    assert books.total and books.total.apart == pytest.approx(3)
    assert "The snapshots are 3.0 s apart" in " ".join(rss_lines(books, 200, Glyphs()))
