# SPDX-License-Identifier: MIT
"""Names and lines of native frames, by the tools of binutils, LLVM or elfutils where they are.

A snapshot names a native frame by module, offset and the nearest symbol. What else is known stands
in debug information: in the module itself, or in files apart (`--debug-dir`, /usr/lib/debug). A
file is used only if its build id is the one that the snapshot recorded: the line of another build
is worse than none. There is no reader of debug information here; subprocesses have it.

Invariants: never raises; without tools or files a frame keeps what the snapshot says of it; one
subprocess for all names, and one a file for all its addresses.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from ._elf import build_ids
from ._heap import NATIVE, Heap

_LIMIT = 60.0
_MANGLED = re.compile(r"_Z[A-Za-z0-9_$.]+\Z|_R[A-Za-z0-9_]+\Z")
_BUILD_ID = re.compile(r"[0-9a-f]{4,128}\Z")
_SYSTEM_DEBUG = "/usr/lib/debug"
#: file:line, with " (discriminator 2)" behind it at times.
_PLACE = re.compile(r"(.*):([0-9]{1,9})(?::[0-9]+)?(?: \(discriminator [0-9]+\))?\Z")

#: Function, file and line: that of the frame itself last, those inlined into it before.
Lines = List[Tuple[str, str, int]]


def demangle(heaps: Sequence[Heap]) -> None:
    """Learn how mangled names of native functions were written, if there is a tool for it."""
    names: Set[str] = set()
    for heap in heaps:
        functions = heap.functions
        rows = zip(functions.name, functions.firstline)
        names.update(heap.strings[name] for name, first in rows if first == NATIVE)
    mangled = sorted(name for name in names if _MANGLED.match(name))
    tool = shutil.which("c++filt") or shutil.which("llvm-cxxfilt")
    if not mangled or not tool:
        return
    lines = _run([tool], "\n".join(mangled) + "\n").splitlines()
    if len(lines) == len(mangled):
        found = dict(zip(mangled, lines))
        for heap in heaps:
            heap.demangled = found


def _run(command: Sequence[str], text: str) -> str:
    """What a tool says; nothing where it fails."""
    try:
        done = subprocess.run(
            command,
            input=text.encode("utf-8", "backslashreplace"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LIMIT,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "backslashreplace") if done.returncode == 0 else ""


class NativeLines:
    """Source lines of native frames. Ask for many at once with `learn`, then for each."""

    def __init__(self, debug_dir: Optional[str] = None) -> None:
        self._debug_dir = debug_dir
        self._tool = shutil.which("addr2line") or shutil.which("eu-addr2line")
        self._known: Dict[Tuple[str, str, int], Lines] = {}

    def learn(self, heap: Heap, nodes: Iterable[int]) -> None:
        ids = heap.build_ids()
        wanted: Dict[Tuple[str, str], Set[int]] = {}
        for node in nodes:
            if node and heap.is_native(node):
                module, offset = heap.frame(node)[:2]
                key = (module, ids.get(module, ""))
                if (*key, offset) not in self._known:
                    wanted.setdefault(key, set()).add(offset)
        for (module, build_id), offsets in wanted.items():
            found = self._look(module, build_id, sorted(offsets))
            for offset in offsets:
                self._known[module, build_id, offset] = found.get(offset, [])

    def of(self, heap: Heap, node: int) -> Lines:
        module, offset = heap.frame(node)[:2]
        return self._known.get((module, heap.build_ids().get(module, ""), offset), [])

    def _look(self, module: str, build_id: str, offsets: List[int]) -> Dict[int, Lines]:
        if not self._tool or not _BUILD_ID.match(build_id):
            return {}
        for path in self._candidates(module, build_id):
            if build_id in build_ids(path):
                found = self._ask(path, offsets)
                if found:
                    return found
        return {}

    def _candidates(self, module: str, build_id: str) -> List[str]:
        by_id = os.path.join(".build-id", build_id[:2], build_id[2:] + ".debug")
        name = os.path.basename(module)
        found = []
        if self._debug_dir is not None:
            found = [os.path.join(self._debug_dir, one) for one in (by_id, name + ".debug", name)]
        found.append(os.path.join(_SYSTEM_DEBUG, by_id))
        return [path for path in found + [module] if "\0" not in path and os.path.isabs(path)]

    def _ask(self, path: str, offsets: List[int]) -> Dict[int, Lines]:
        # An offset is where a call returns to: the call itself is before it.
        asked = "".join("0x%x\n" % max(offset - 1, 0) for offset in offsets)
        text = _run([self._tool or "", "-a", "-f", "-i", "-C", "-e", path], asked)
        found: Dict[int, Lines] = {}
        lines: Lines = []
        name = ""
        for line in text.splitlines():
            if re.match(r"0x[0-9a-f]+\Z", line):
                lines = found.setdefault(int(line, 16) + 1, [])
                name = ""
            elif not name:
                name = line
            else:
                place = _PLACE.match(line)
                if place and int(place.group(2)) and not place.group(1).startswith("??"):
                    lines.append((name, place.group(1), int(place.group(2))))
                name = ""
        return {offset: some for offset, some in found.items() if some}
