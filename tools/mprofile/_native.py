# SPDX-License-Identifier: MIT
"""Names and lines of native frames, by the tools of binutils, LLVM or elfutils where they are.

A snapshot names a native frame by module, offset and the nearest symbol. What else is known stands
in debug information: in the module itself, or in files apart (`--debug-dir`, /usr/lib/debug). A
file is used only if its build id is the one that the snapshot recorded: the line of another build
is worse than none. There is no reader of debug information here; subprocesses have it. Of functions
that are no dynamic symbols, as static ones, the file's own table has the names.

Invariants: never raises; without tools or files a frame keeps what the snapshot says of it; one
subprocess for all names, and one a file for all its addresses.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Dict, FrozenSet, Iterable, List, Optional, Sequence, Set, Tuple

from ._elf import build_ids, function_names
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


class NativeFiles:
    """The files of this machine that are the modules of a snapshot, as their build ids say."""

    def __init__(self, debug_dir: Optional[str] = None) -> None:
        self._debug_dir = debug_dir
        self._known: Dict[Tuple[str, str], List[str]] = {}
        #: Modules that were asked for in vain: what is there now is another build, or two builds
        #: were loaded from one path, and nothing says which of them a frame is of.
        self.other_builds: Set[str] = set()

    def of(self, module: str, ids: FrozenSet[str]) -> List[str]:
        """Files with what is known of a module with these build ids, the best first."""
        if len(ids) > 1:
            self.other_builds.add(module)
        build_id = "".join(ids)
        if len(ids) != 1 or not _BUILD_ID.match(build_id):
            return []
        key = (module, build_id)
        if key not in self._known:
            paths = self._candidates(module, build_id)
            self._known[key] = [path for path in paths if build_id in build_ids(path)]
            if not self._known[key] and os.path.isabs(module) and build_ids(module):
                self.other_builds.add(module)
        return self._known[key]

    def _candidates(self, module: str, build_id: str) -> List[str]:
        by_id = os.path.join(".build-id", build_id[:2], build_id[2:] + ".debug")
        name = os.path.basename(module)
        found = []
        if self._debug_dir is not None:
            found = [os.path.join(self._debug_dir, one) for one in (by_id, name + ".debug", name)]
        found.append(os.path.join(_SYSTEM_DEBUG, by_id))
        return [path for path in found + [module] if "\0" not in path and os.path.isabs(path)]


def name_functions(heaps: Sequence[Heap], files: NativeFiles) -> None:
    """Name native functions that have no name in the snapshot and one in the module's file."""
    for heap in heaps:
        functions, nodes, strings = heap.functions, heap.nodes, heap.strings
        rows = enumerate(zip(functions.name, functions.file, functions.firstline))
        nameless = {
            row
            for row, (name, file, first) in rows
            if first == NATIVE and strings[file] and not strings[name]
        }
        if not nameless:
            continue
        wanted: Dict[int, Set[int]] = {}
        for func, address in zip(nodes.func, nodes.line):
            if func in nameless:
                wanted.setdefault(func, set()).add(address)
        named: Dict[Tuple[int, int], int] = {}
        for func, addresses in wanted.items():
            module = strings[functions.file[func]]
            made: Dict[str, int] = {}
            for path in files.of(module, heap.build_ids().get(module, frozenset())):
                for address, text in function_names(path, list(addresses)).items():
                    if text not in made:
                        made[text] = heap.add_native(text, functions.file[func])
                    named.setdefault((func, address), made[text])
        if named:
            for node, key in enumerate(zip(nodes.func, nodes.line)):
                nodes.func[node] = named.get(key, key[0])


class NativeLines:
    """Source lines of native frames. Ask for many at once with `learn`, then for each."""

    def __init__(self, debug_dir: Optional[str] = None) -> None:
        self.files = NativeFiles(debug_dir)
        self._tool = shutil.which("addr2line") or shutil.which("eu-addr2line")
        self._known: Dict[Tuple[str, FrozenSet[str], int], Lines] = {}

    def learn(self, heap: Heap, nodes: Iterable[int]) -> None:
        wanted: Dict[Tuple[str, FrozenSet[str]], Set[int]] = {}
        for node in nodes:
            if node and heap.is_native(node):
                key = _key(heap, node)
                if key not in self._known:
                    wanted.setdefault(key[:2], set()).add(key[2])
        for (module, ids), addresses in wanted.items():
            found = self._look(module, ids, sorted(addresses))
            for address in addresses:
                self._known[module, ids, address] = found.get(address, [])

    def of(self, heap: Heap, node: int) -> Lines:
        return self._known.get(_key(heap, node), [])

    def _look(self, module: str, ids: FrozenSet[str], addresses: List[int]) -> Dict[int, Lines]:
        if self._tool:
            for path in self.files.of(module, ids):
                found = self._ask(path, addresses)
                if found:
                    return found
        return {}

    def _ask(self, path: str, addresses: List[int]) -> Dict[int, Lines]:
        asked = "".join("0x%x\n" % address for address in addresses)
        text = _run([self._tool or "", "-a", "-f", "-i", "-C", "-e", path], asked)
        found: Dict[int, Lines] = {}
        lines: Lines = []
        name = ""
        for line in text.splitlines():
            if re.match(r"0x[0-9a-f]+\Z", line):
                lines = found.setdefault(int(line, 16), [])
                name = ""
            elif not name:
                name = line
            else:
                place = _PLACE.match(line)
                if place and int(place.group(2)) and not place.group(1).startswith("??"):
                    lines.append((name, place.group(1), int(place.group(2))))
                name = ""
        return {address: some for address, some in found.items() if some}


def _key(heap: Heap, node: int) -> Tuple[str, FrozenSet[str], int]:
    """Of a native frame its module, that one's build ids, and the address."""
    module, address = heap.frame(node)[:2]
    return module, heap.build_ids().get(module, frozenset()), address
