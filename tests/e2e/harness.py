# SPDX-License-Identifier: MIT
"""Start a program under the profiler, wait until it is ready, signal it, wait for the file, read it.

Nothing here sleeps to let something happen: a program says `ready` on its standard output, holds
until its standard input closes, and a file is waited for until it is there or a generous limit is
over. The limits are for hangs; no test depends on how fast the machine is.
"""
from __future__ import annotations

import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from rawfile import RawFile

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MPROFILE_BUILD") or ROOT / "build").absolute()
LIBRARY = BUILD / "libmprofile.so"
READER = BUILD / "mprofile-read"
PROGRAMS = ROOT / "tests" / "programs"
# Seconds after which something that should have happened is taken to hang.
LIMIT = float(os.environ.get("MPROFILE_TEST_LIMIT") or 120)
POLL = 0.005

sys.path.insert(0, str(ROOT / "tools"))


@dataclass(frozen=True)
class Python:
    """An interpreter under test."""

    path: str
    version: str
    minor: Tuple[int, int]
    shared: bool
    free_threaded: bool
    pip: bool
    facts: Dict[str, Any] = field(compare=False, repr=False)

    @classmethod
    def from_facts(cls, facts: Dict[str, Any]) -> "Python":
        return cls(facts["path"], facts["version"], (facts["minor"][0], facts["minor"][1]), facts["shared"],
                   facts["free_threaded"], facts["pip"], facts)

    @property
    def minor_name(self) -> str:
        return "%d.%d%s" % (*self.minor, "t" if self.free_threaded else "")

    @property
    def name(self) -> str:
        return "%s%s-%s" % (self.version, "t" if self.free_threaded else "", "shared" if self.shared else "static")

    @property
    def qualified(self) -> bool:
        """Whether its code objects have a qualified name."""
        return self.minor >= (3, 11)

    def bytes_size(self, length: int) -> int:
        """What `bytes(length)` asks for: objects of a free-threaded interpreter have a longer header."""
        return length + (49 if self.free_threaded else 33)


def environment(extra: Optional[Mapping[str, str]] = None, preload: bool = True) -> Dict[str, str]:
    """The environment of a profiled program: nothing of Python's or of ours but what the test says."""
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith(("PYTHON", "MPROFILE")) and key not in ("LD_PRELOAD", "LD_LIBRARY_PATH")}
    clean["PYTHONDONTWRITEBYTECODE"] = "1"
    if preload:
        clean["LD_PRELOAD"] = str(LIBRARY)
    clean.update(extra or {})
    return clean


def wait_until(true: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    """Wait for a condition, for a bounded time."""
    end = time.monotonic() + limit
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < end, "waited %d s for %s" % (limit, what)
        time.sleep(POLL)


def write(path: Path, source: str) -> Path:
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return path


def package() -> Path:
    """A folder to put on the path of a program, with the package as it is installed: the library inside it."""
    root = BUILD / "package"
    folder = root / "mprofile"
    folder.mkdir(parents=True, exist_ok=True)
    for source in [*(ROOT / "tools" / "mprofile").glob("*.py"), LIBRARY]:
        link = folder / source.name
        if not link.is_symlink():
            try:
                link.symlink_to(source)
            except FileExistsError:  # another run of the tests was quicker
                pass
    return root


def wheels(minor: str, *pins: str) -> Optional[Path]:
    """A folder of packages for a version of Python (as 3.12, 3.13t); made once, kept in the cache. None: they cannot be had."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    root = Path(os.environ.get("MPROFILE_PROGRAMS") or os.path.join(cache, "mprofile", "programs"))
    where = root / ("%s-%s" % (minor, hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]))
    if where.exists():
        return where
    part = where.with_name(where.name + ".part%d" % os.getpid())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-compile",
           "--target", str(part), "--python-version", minor.rstrip("t"), "--only-binary=:all:", *pins]
    if minor.endswith("t"):
        pip += ["--abi", "cp" + minor.replace(".", "")]
    if subprocess.run(pip, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        return None
    try:
        part.rename(where)
    except OSError:  # another run was quicker
        shutil.rmtree(part, ignore_errors=True)
    return where


class Running:
    """A program that runs under the profiler.

    argv is the program and its arguments; or `python` with `code`, written to app.py in the folder.
    """

    def __init__(self, python: Optional[Python] = None, code: Optional[str] = None, *,
                 argv: Sequence[Union[str, Path]] = (), args: Sequence[Union[str, Path]] = (),
                 options: Sequence[str] = (), env: Optional[Mapping[str, str]] = None, cwd: Path,
                 preload: bool = True, name: str = "app.py") -> None:
        self.cwd = cwd
        command = [str(word) for word in argv]
        if python is not None:
            command = [python.path, *options]
            if code is not None:
                command.append(str(write(cwd / name, code)))
            command += [str(word) for word in argv]
        command += [str(word) for word in args]
        self.command = command
        self.stderr_path = cwd / ("stderr.%d" % id(self))
        self._seen = b""
        with open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(command, cwd=str(cwd), env=environment(env, preload), stderr=stderr,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                            start_new_session=True)
        self.pid = self.process.pid

    # Talking to it.

    def line(self, limit: float = LIMIT) -> str:
        """Its next line of standard output."""
        assert self.process.stdout is not None
        end = time.monotonic() + limit
        while b"\n" not in self._seen:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            assert readable, "no line from %s; its standard error: %s" % (self.command, self.stderr)
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, "%s ended (%s); its standard error: %s" % (self.command, self.process.poll(), self.stderr)
            self._seen += piece
        found, _, self._seen = self._seen.partition(b"\n")
        return found.decode("utf-8", "surrogateescape")

    def ready(self, word: str = "ready") -> "Running":
        """Wait until it says so."""
        said = self.line()
        assert said == word, "%r instead of %r; standard error: %s" % (said, word, self.stderr)
        return self

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words.encode() + b"\n")

    def signal(self, number: int = signal.SIGUSR2) -> None:
        os.kill(self.pid, number)

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text("utf-8", "backslashreplace")

    # Snapshots.

    def path(self, number: int = 1, pid: Optional[int] = None) -> Path:
        return self.cwd / ("mprofile.%d.%d.bin" % (pid or self.pid, number))

    def wait_for(self, path: Path) -> Path:
        """Wait for a file; not longer than the process lives, if it is the process's own."""
        def there() -> bool:
            gone = self.process.poll() is not None
            if path.exists():
                return True
            assert not gone, "ended with %s before %s was there; standard error: %s" % (
                self.process.returncode, path.name, self.stderr)
            return False

        wait_until(there, str(path))
        return path

    def snapshot(self, number: int = 1) -> Path:
        return self.wait_for(self.path(number))

    def dump(self, number: int = 1) -> Path:
        """Signal it, and wait for the snapshot of that number."""
        self.signal()
        return self.snapshot(number)

    # Its end.

    def finish(self, limit: float = LIMIT) -> int:
        """Close its standard input and wait for its end; its exit status (negative: killed by a signal)."""
        out, _ = self.process.communicate(timeout=limit)
        self._seen += out or b""
        return self.process.returncode

    @property
    def stdout(self) -> str:
        """What it printed that no test has read yet; whole once it has ended."""
        return self._seen.decode("utf-8", "surrogateescape")

    def kill(self) -> None:
        """End it and what it started (they are in a session of their own)."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except OSError:
                    pass
        self.process.wait()


# Reading.


class Line(NamedTuple):
    """What the reader says of one source line."""

    size: float
    error: float
    count: float
    count_error: float


def load(path: Path) -> Any:
    """The snapshot, by the project's reader."""
    import mprofile

    return mprofile.Snapshot.load(str(path))


def by_line(path: Path) -> Dict[Tuple[str, int], Line]:
    """(base name of the file, line) to its live bytes and blocks, as estimated by the reader.

    Of files of one base name (there are many __init__.py) the larger line is given.
    """
    found: Dict[Tuple[str, int], Line] = {}
    for one in load(path).statistics("lineno"):  # the largest first, as tracemalloc's
        frame = one.traceback[0]
        key = (os.path.basename(frame.filename), frame.lineno)
        found.setdefault(key, Line(one.size, one.size_error, one.count, one.count_error))
    return found


def raw_by_line(raw: RawFile, domains: Sequence[int] = (0, 1, 2, 3, 4)) -> Dict[Tuple[str, int], Line]:
    """The same, by the independent reading of the file and the formula of FORMAT.md; of some domains."""
    sums: Dict[Tuple[str, int], List[float]] = {}
    for sample in raw.live:
        if not sample.stack or sample.domain not in domains:
            continue
        near, weight = sample.stack[0], sample.weight
        size = sample.size
        row = sums.setdefault((near.file, near.line), [0.0, 0.0, 0.0, 0.0])
        row[0] += weight * size
        row[1] += weight * (weight - 1) * size * size
        row[2] += weight
        row[3] += weight * (weight - 1)
    found: Dict[Tuple[str, int], Line] = {}
    for (file, line), row in sorted(sums.items(), key=lambda item: -item[1][0]):
        found.setdefault((os.path.basename(file), line), Line(row[0], row[1] ** 0.5, row[2], row[3] ** 0.5))
    return found


def marks(source: str) -> Dict[str, int]:
    """Lines of a program that end in `# @name`, by name."""
    found = {}
    for number, line in enumerate(textwrap.dedent(source).split("\n"), 1):
        match = re.search(r"# @(\w+)$", line)
        if match:
            found[match.group(1)] = number
    return found


def reader(*args: Union[str, Path], check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run build/mprofile-read."""
    done = subprocess.run([str(READER), *map(str, args)], env=environment(preload=False), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    assert not check or done.returncode == 0, done.stderr
    return done


def leftovers(folder: Path) -> List[str]:
    """Files in a folder that look like ours and are not finished snapshots."""
    return sorted(path.name for path in folder.iterdir()
                  if "mprofile" in path.name and not re.fullmatch(r"mprofile\.\d+\.\d+\.bin", path.name))


__all__ = ["BUILD", "LIBRARY", "LIMIT", "Line", "PROGRAMS", "Python", "READER", "ROOT", "RawFile", "Running",
           "by_line", "environment", "leftovers", "load", "marks", "package", "raw_by_line", "reader", "wait_until", "write"]
