#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Find every CPython that the tests can use, and say what each of them is.

    tests/pythons/find.py            one line an interpreter
    tests/pythons/find.py --json     the same, for programs

Looked at: the system's (/usr/bin, /usr/local/bin), pyenv's, uv's, what tests/pythons/install brought,
and what MPROFILE_TEST_PYTHONS names (a colon-separated list of executables, or of folders). An
interpreter that does not start is left out aloud; one that is found twice counts once (real paths).

Python 3.8 and later, standard library only.
"""
from __future__ import annotations

import argparse
import glob
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional, Tuple

OLDEST, NEWEST = (3, 8), (3, 15)
WANTED = ["3.%d" % minor for minor in range(OLDEST[1], NEWEST[1] + 1)]

# Runs in the candidate; Python 2 and other implementations must survive it long enough to say no.
PROBE = r"""
import json, sys, sysconfig
var = sysconfig.get_config_var
try:
    import importlib.util
    pip = importlib.util.find_spec("pip") is not None
except Exception:
    pip = False
maps = [line.split()[-1] for line in open("/proc/self/maps") if "/libpython" in line]
flags = " ".join(str(value) for value in sysconfig.get_config_vars().values())
linked_shared = bool(maps)
# Debian builds twice, shared and static, and describes the shared one in both; its static
# executable is the optimized one.
distribution = bool(var("Py_ENABLE_SHARED")) and not linked_shared
print(json.dumps({
    "implementation": sys.implementation.name if hasattr(sys, "implementation") else "other",
    "version": ".".join(map(str, sys.version_info[:3])) + (
        "" if sys.version_info[3] == "final" else "%s%d" % tuple(sys.version_info[3:5])),
    "minor": list(sys.version_info[:2]),
    "build": sys.version,
    "shared": linked_shared,
    "libpython": maps[0] if maps else None,
    "instsoname": var("INSTSONAME"),
    "libdir": var("LIBDIR"),
    "prefix": sys.prefix,
    "include": sysconfig.get_path("include"),
    "pgo": distribution or "--enable-optimizations" in flags or "-fprofile-use" in flags.replace(
        str(var("PGO_PROF_USE_FLAG")), ""),
    "debug": hasattr(sys, "gettotalrefcount"),
    "free_threaded": bool(var("Py_GIL_DISABLED")),
    "pip": pip,
}))
"""


def candidates() -> List[str]:
    """Paths that may be interpreters, in the order in which they are to be preferred."""
    home = os.path.expanduser("~")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    pythons = os.environ.get("MPROFILE_PYTHONS") or os.path.join(cache, "mprofile", "pythons")
    pyenv = os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    uv = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share"), "uv", "python")
    versioned = "python3.*[0-9]"
    free_threaded = "python3.*[0-9]t"
    patterns = ["/usr/bin/python3", "/usr/bin/" + versioned, "/usr/local/bin/" + versioned]
    for folder in [os.path.join(pyenv, "versions", "*"), os.path.join(uv, "cpython-*"),
                   os.path.join(pythons, "*"), os.path.join(pythons, "*", "usr")]:
        patterns += [os.path.join(folder, "bin", versioned), os.path.join(folder, "bin", free_threaded)]
    found: List[str] = []
    for pattern in patterns:
        found += sorted(glob.glob(pattern))
    for named in filter(None, os.environ.get("MPROFILE_TEST_PYTHONS", "").split(":")):
        if os.path.isdir(named):
            for below in ("bin", os.path.join("usr", "bin")):
                found += sorted(glob.glob(os.path.join(named, below, versioned)))
                found += sorted(glob.glob(os.path.join(named, below, free_threaded)))
        else:
            found.append(named)
    return found


def is_elf(path: str) -> bool:
    """Whether it is a program of its own: a shim or a wrapper script is not what is preloaded into."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def shared_library(facts: Dict[str, Any], path: str) -> Optional[str]:
    """The libpython to link an embedding program with, or None."""
    if facts["libpython"]:
        return facts["libpython"]
    name = facts["instsoname"] or ""
    if not name.startswith("libpython") or ".so" not in name:
        return None
    triplet = "%s-linux-gnu" % os.uname().machine
    for folder in (facts["libdir"], os.path.join(facts["prefix"], "lib"),
                   os.path.join(os.path.dirname(path), "..", "lib", triplet)):
        library = os.path.normpath(os.path.join(folder or "", name))
        same_tree = library.startswith(os.path.dirname(os.path.dirname(path)) + os.sep)
        if same_tree and os.path.exists(library):
            return library
    return None


def probe(path: str) -> Tuple[Optional[Dict[str, Any]], Optional[str]]:
    """What the interpreter says of itself; or None and why it cannot be used."""
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith(("PYTHON", "MPROFILE")) and key != "LD_PRELOAD"}
    try:
        done = subprocess.run([path, "-E", "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, env=clean, timeout=60, cwd="/")
        facts = json.loads(done.stdout.decode() if done.returncode == 0 else "")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None, "does not start"
    if facts["implementation"] != "cpython":
        return None, "is %s, not CPython" % facts["implementation"]
    if not OLDEST <= tuple(facts["minor"]) <= NEWEST:
        return None, "is %s, not 3.%d to 3.%d" % (facts["version"], OLDEST[1], NEWEST[1])
    facts["path"] = path
    facts["shared_library"] = shared_library(facts, path)
    return facts, None


def find(complain: bool = False) -> List[Dict[str, Any]]:
    """Every usable interpreter, oldest version first, each with its facts."""
    paths: List[str] = []
    files = set()
    for path in candidates():
        real = os.path.realpath(path)
        if not is_elf(real):
            continue
        status = os.stat(real)  # `make install` links python3.N and python3.Nt hard
        if (status.st_dev, status.st_ino) not in files:
            files.add((status.st_dev, status.st_ino))
            paths.append(real)
    with ThreadPoolExecutor(4) as pool:
        probed = list(pool.map(probe, paths))
    usable = []
    for path, (facts, why) in zip(paths, probed):
        if facts is not None:
            usable.append(facts)
        elif complain:
            print("%s %s: left out" % (path, why), file=sys.stderr)
    usable.sort(key=lambda facts: (facts["minor"], facts["free_threaded"], facts["build"], facts["shared"]))
    return usable


def describe(facts: Dict[str, Any]) -> str:
    kind = ["shared" if facts["shared"] else "static"]
    kind += [word for word, true in [("PGO", facts["pgo"]), ("debug", facts["debug"]),
                                     ("free-threaded", facts["free_threaded"])] if true]
    return "%-10s %-22s %s" % (facts["version"], " ".join(kind), facts["path"])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args()
    found = find(complain=not args.json)
    if args.json:
        json.dump(found, sys.stdout, indent=1)
        print()
        return 0
    for facts in found:
        print(describe(facts))
    there = {"%d.%d" % tuple(facts["minor"]) for facts in found}
    missing = [version for version in WANTED if version not in there]
    if missing:
        print("not found: " + ", ".join(missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
