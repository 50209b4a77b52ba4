# SPDX-License-Identifier: MIT
"""Native frames: under the Python line, by name, and by source line where debug information is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any, Dict, List, Tuple

import pytest

import mprofile
from helpers import (
    CALL,
    EXTENSION,
    GROW,
    KEEP,
    LOAD,
    MAIN,
    NAMELESS,
    START,
    VIEW,
    mixed,
    read,
    save,
)
from mprofile._elf import build_ids
from mprofile._ids import read_heap
from mprofile._native import NativeLines
from snapshot_writer import NATIVE, Program

CODE = """\
#include <stdlib.h>
static inline __attribute__((always_inline)) void *inner(size_t size)
{
    return malloc(size);
}
__attribute__((noinline)) void *keep_block(size_t size)
{
    void *block = inner(size);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}
"""
needs_tools = pytest.mark.skipif(
    not all(
        map(shutil.which, ("gcc", "addr2line", "objcopy", "strip", "readelf", "nm", "objdump"))
    ),
    reason="needs gcc and binutils",
)


@pytest.fixture
def path(tmp_path: Any) -> str:
    return save(tmp_path / "a.bin", mixed().bytes())


def test_statistics_go_by_the_nearest_python_frame(path: str) -> None:
    snapshot = mprofile.Snapshot.load(path)
    by_line = {
        (s.traceback[0].filename, s.traceback[0].lineno): s for s in snapshot.statistics("lineno")
    }
    assert by_line[LOAD[:2]].size == 40000 + 40001 + 40002 + 30000 + 20000
    assert by_line[VIEW[:2]].size == 8000
    assert {key for key in by_line if key[0].endswith(".so")} == {NAMELESS[:2], GROW[:2], KEEP[:2]}
    assert not by_line[LOAD[:2]].traceback[0].native
    frame = by_line[GROW[:2]].traceback[0]
    assert frame.native and frame.name == GROW[2] and frame.firstlineno is None
    assert sum(s.size for s in by_line.values()) == sum(t.size for t in snapshot.traces)


def test_whole_stacks_have_all_frames(path: str) -> None:
    top = mprofile.Snapshot.load(path).statistics("traceback")[0].traceback
    assert [(f.filename, f.lineno) for f in reversed(list(top))] == [
        frame[:2] for frame in (KEEP, CALL, LOAD, MAIN, START)
    ]
    assert [f.native for f in reversed(list(top))] == [True, True, False, False, True]
    assert mprofile.Snapshot.load(path).traces[0].traceback == top


@pytest.mark.parametrize("key", ["lineno", "filename"])
def test_cumulative_passes_native_frames_over(path: str, key: str) -> None:
    found: Dict[str, int] = {}
    for statistic in mprofile.Snapshot.load(path).statistics(key, cumulative=True):
        name = os.path.basename(statistic.traceback[0].filename)
        found[name] = found.get(name, 0) + statistic.size
    everything = 170003 + 8000
    assert found["main.py"] == everything == found["models.py"] and found["views.py"] == 8000
    # Only the two stacks of no Python, and the one whose Python stack is not known.
    assert found["libc.so.6"] == 19000
    assert found["keeper.so"] == 9000 + 7000


def test_filters_see_the_nearest_python_frame(path: str) -> None:
    snapshot = mprofile.Snapshot.load(path)
    only = snapshot.filter_traces([mprofile.Filter(True, LOAD[0])])
    assert sum(t.size for t in only.traces) == 170003 - 30000 + 30000
    native = snapshot.filter_traces([mprofile.Filter(True, EXTENSION, all_frames=True)])
    assert len(native.traces) == 7
    rows = json.loads(read(path, "--json", "-", "--include", "*models*")[1])["rows"]
    assert [row["file"] for row in rows] == [LOAD[0]] and "native" not in rows[0]
    rows = json.loads(read(path, "--json", "-", "--include", "*.so")[1])["rows"]
    assert all(row["native"] and row["first_line"] is None for row in rows) and len(rows) == 3


def test_without_tools_names_stay_mangled(path: str) -> None:
    import sys

    done = subprocess.run(
        [
            sys.executable,
            os.path.join(os.path.dirname(mprofile.__file__), "..", "mprofile-read"),
            path,
        ],
        env={"PATH": "/nonexistent", "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "_ZN4pool4growEm (keeper.so+0x2010)" in done.stdout.decode()


def test_a_module_table_is_checked(tmp_path: Any) -> None:
    program = mixed()
    program.modules.append((4000, 0, 0, 0, 0))
    path = save(tmp_path / "a.bin", program.bytes())
    status, _, err = read(path)
    assert status == 2 and "names string 4000" in err
    status, out, _ = read(path, "--salvage")
    assert status == 0 and "DAMAGED" in out
    program.modules.clear()
    assert read(save(tmp_path / "b.bin", program.bytes()))[0] == 0


def compiled(folder: Any, name: str = "libkeep.so") -> Tuple[str, str, int]:
    """A library, its build id, and the last byte of the call of malloc in keep_block."""
    source, library = folder / "keep.c", str(folder / name)
    source.write_text(CODE)
    os.utime(str(source), (1, 1))
    command = ["gcc", "-g", "-O1", "-shared", "-fPIC", "-Wl,--build-id", "-o", library, str(source)]
    subprocess.run(command, check=True)
    notes = subprocess.run(
        ["readelf", "-n", library], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    build_id = notes.split("Build ID:")[1].split()[0]
    code = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", library], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    lines = code[code.index("<keep_block>:") :].splitlines()
    call = [number for number, line in enumerate(lines) if "<malloc@plt>" in line][0]
    return library, build_id, int(lines[call + 1].split(":")[0], 16) - 1


def kept_in(module: str, build_id: str, offset: int) -> Program:
    program = Program(0)
    program.module(module, build_id, 0, 1 << 20, 0)
    program.block(5000, [(module, offset, "keep_block", NATIVE), MAIN], domain="malloc")
    return program


def lines_of(folder: Any, program: Program, *arguments: str) -> List[str]:
    out = read(save(folder / "a.bin", program.bytes()), *arguments)[1]
    return [line.strip() for line in out.splitlines() if "keep.c:" in line]


@needs_tools
def test_lines_of_the_module_itself(tmp_path: Any) -> None:
    library, build_id, offset = compiled(tmp_path)
    assert build_ids(library) == {build_id}
    program = kept_in(library, build_id, offset)
    for by in ("lineno", "traceback"):
        inlined, own = lines_of(tmp_path, program, "--by", by)
        assert inlined.startswith("inner, ") and inlined.endswith("keep.c:4: return malloc(size);")
        assert own.endswith("keep.c:8: void *block = inner(size);")
    other = kept_in(library, "00" * 20, offset)
    assert lines_of(tmp_path, other) == [], "another build"
    unknown = kept_in(library, "", offset)
    assert lines_of(tmp_path, unknown) == []


@needs_tools
@pytest.mark.parametrize(
    "name", [".build-id/%(start)s/%(rest)s.debug", "libkeep.so.debug", "libkeep.so"]
)
def test_debug_information_in_a_folder(tmp_path: Any, name: str) -> None:
    library, build_id, offset = compiled(tmp_path)
    debug = tmp_path / "debug" / (name % {"start": build_id[:2], "rest": build_id[2:]})
    debug.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", library, str(debug)], check=True)
    os.unlink(library)
    assert build_ids(str(debug)) == {build_id}
    program = kept_in("/nowhere/libkeep.so", build_id, offset)
    assert lines_of(tmp_path, program) == []
    assert len(lines_of(tmp_path, program, "--debug-dir", str(tmp_path / "debug"))) == 2
    heap = read_heap(str(tmp_path / "a.bin"))
    native = NativeLines(str(tmp_path / "debug"))
    native.learn(heap, range(len(heap.nodes.parent)))
    assert [line for _, _, line in native.of(heap, heap.sites.node[0])] == [4, 8]


def nameless(folder: Any, *flags: str) -> Tuple[str, Program]:
    """A block under a static function: no dynamic symbol, and so no name in the snapshot."""
    source, library = folder / "keep.c", str(folder / "libkeep.so")
    source.write_text(CODE.replace("void *keep_block", "static void *keep_block") + CALLED)
    command = ["gcc", "-O1", "-shared", "-fPIC", "-Wl,--build-id", "-o", library, str(source)]
    subprocess.run(command + list(flags), check=True)
    (build_id,) = build_ids(library)
    code = subprocess.run(["nm", "-S", library], stdout=subprocess.PIPE, check=True).stdout.decode()
    (line,) = [line for line in code.splitlines() if line.endswith(" keep_block")]
    start, size = (int(word, 16) for word in line.split()[:2])
    program = Program(0)
    program.module(library, build_id, 0, 1 << 20, 0)
    for address, octets in ((start + 1, 5000), (start + size - 1, 600), (start + size + 4096, 70)):
        program.block(octets, [(library, address, "", NATIVE)], domain="malloc")
    return library, program


CALLED = "void *volatile made;\nvoid called(void) { made = keep_block(5); made = keep_block(6); }\n"


@needs_tools
def test_names_that_only_the_file_has(tmp_path: Any) -> None:
    library, program = nameless(tmp_path)
    path = save(tmp_path / "a.bin", program.bytes())
    out = read(path)[1]
    assert out.count("keep_block (libkeep.so+0x") == 2 and "0x" in out
    rows = json.loads(read(path, "--by", "function", "--json", "-")[1])["rows"]
    assert [(row["function"], row["bytes"]) for row in rows] == [("keep_block", 5600), ("", 70)]
    assert "[code without a name] (libkeep.so)" in read(path, "--by", "function")[1]
    assert "keep_block" in read(path, "--collapsed", "-")[1]
    subprocess.run(["strip", library], check=True)
    out = read(path)[1]
    assert "keep_block" not in out and "another build" not in out, "the build id is still the same"


@needs_tools
def test_code_without_names_is_by_module(tmp_path: Any) -> None:
    program = Program(0)
    for module in ("/opt/a.so", "/opt/b.so", "/opt/a.so"):
        for address in (0x10, 0x20):
            program.block(1000, [(module, address, "", NATIVE)], domain="malloc")
    path = save(tmp_path / "a.bin", program.bytes())
    lines = [line.split("  ")[-1].strip() for line in read(path, "--by", "function")[1].splitlines()]
    assert [line for line in lines if ".so" in line] == [
        "[code without a name] (a.so)",
        "[code without a name] (b.so)",
    ]
    assert read(path)[1].count(".so)") == 4, "by line each address is one"


@needs_tools
def test_another_build_is_not_asked(tmp_path: Any) -> None:
    library, program = nameless(tmp_path)
    path = save(tmp_path / "a.bin", program.bytes())
    nameless(tmp_path, "-DANOTHER", "-O2", "-g")
    for arguments in ((), ("--by", "traceback"), ("--by", "function")):
        out = read(path, *arguments)[1]
        assert "keep_block" not in out and "keep.c" not in out
        assert out.count("another build is there now") == 1 and "libkeep.so." in out


@needs_tools
def test_two_builds_of_one_path_in_one_process(tmp_path: Any) -> None:
    library, build_id, offset = compiled(tmp_path)
    program = kept_in(library, "11" * 20, offset)
    program.block(700, [(library, offset + 1, "", NATIVE)], domain="malloc")
    program.module(library, build_id, 1 << 21, 1 << 22, 0)
    assert lines_of(tmp_path, program) == []
    out = read(str(tmp_path / "a.bin"))[1]
    assert "or two were loaded: libkeep.so." in " ".join(out.split())
    new = save(tmp_path / "b.bin", kept_in(library, build_id, offset).bytes())
    old = save(tmp_path / "c.bin", kept_in(library, "11" * 20, offset).bytes())
    assert "keep.c:8" in read(new)[1]
    assert "keep.c:8" not in read(old)[1]


def test_build_ids_of_what_is_no_library(tmp_path: Any) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    for name in (fifo, str(tmp_path), "/dev/zero", "/nonexistent", "a\0b", __file__):
        assert build_ids(name) == set()
    header = b"\x7fELF\x02\x01" + b"\xff" * 58
    assert build_ids(save(tmp_path / "x", header)) == set()
    assert build_ids(save(tmp_path / "y", header[:20])) == set()
