# SPDX-License-Identifier: MIT
"""tracemalloc's functions: profiling this process, from within.

They work with the library preloaded (then the process is profiled from its first allocation, and
C code's memory is seen) or not (then `start` hooks the interpreter's allocators). Figures are
estimates where samples are drawn, and exact where every allocation is recorded.

A snapshot goes the same way as one that a signal asks for: the library writes it, to a file in
memory, and the reader reads it.

Invariants:
- no state is kept here but the lock: what is in force is what the library says;
- a function that tracemalloc has takes what tracemalloc's takes, and fails as tracemalloc's fails;
- before figures or stacks are taken from the library its hooks are made sure of: where another
  tracer took them away, what may have been freed unseen is forgotten and not shown as alive.

Thread safety: all may be called from any thread, not from handlers of signals in C. What several
threads start and stop at once takes effect in some order. A new rate is in force at once in the
thread that asks for it, in others within their next 64 KiB of requests.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock
from operator import index
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from ._library import RATE_OFF, Library, LibraryError, in_process, load

if TYPE_CHECKING:
    from ._frames import Traceback
    from .snapshot import Snapshot

FRAMES_DEFAULT = 128
FRAMES_MAX = 65535
#: As for MPROFILERATE.
RATE_MAX = 1 << 40

_C_INT = range(-(1 << 31), 1 << 31)
_PATH_BYTES = 8192

_lock = RLock()


def _new_lock() -> None:
    """In a forked child: the thread that held it is not there."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_new_lock)


def _tracing() -> Optional[Library]:
    """The library, if it records."""
    library = in_process()
    return library if library is not None and library.rate() != RATE_OFF else None


def _must_trace(purpose: str) -> Library:
    library = _tracing()
    if library is None:
        raise RuntimeError(
            "the mprofile module must be tracing memory allocations to %s" % purpose
        )
    return library


def _attach(library: Library) -> None:
    why = library.attach()
    if why is not None:
        raise RuntimeError("mprofile cannot profile this process: %s" % why.decode())


def _check(error: int, what: str) -> None:
    if error:
        raise RuntimeError("%s: %s" % (what, os.strerror(error)))


def _frames_of(nframe: Any) -> int:
    number = index(nframe)
    if number not in _C_INT:
        raise OverflowError("Python int too large to convert to C int")
    if not 1 <= number <= FRAMES_MAX:
        raise ValueError("the number of frames must be in range [1; %d]" % FRAMES_MAX)
    return number


def _rate_of(sample_rate: Any) -> int:
    rate = index(sample_rate)
    if not 0 <= rate <= RATE_MAX:
        raise ValueError("the sample rate must be in range [0; %d]" % RATE_MAX)
    return rate


_NOT_GIVEN: Any = object()


def start(
    nframe: int = FRAMES_DEFAULT, sample_rate: int = 0, *, max_frames: int = _NOT_GIVEN
) -> None:
    """Start to record where memory is allocated.

    *nframe* is how many frames of a stack are kept at most, the nearest first: 1 to 65535. mprofile
    0.0.15 calls it *max_frames*. *sample_rate* is the mean number of bytes from one sample to the
    next, 0 to 2**40; 0 and 1 record every allocation, as tracemalloc does. For programs that work:

        mprofile.start(sample_rate=128 * 1024)

    What was allocated before is not known, unless the library was preloaded with a rate. Where
    memory is recorded already, *nframe* is checked and ignored, as in tracemalloc; a *sample_rate*
    other than 0 is the rate from now on, and what is recorded stays.

    Raises ValueError, OverflowError or TypeError for a number that is out of range or none,
    RuntimeError where the process cannot be profiled (the text says why), or the rate was changed
    to more than 255 different ones. Any thread.
    """
    if max_frames is not _NOT_GIVEN:
        if nframe != FRAMES_DEFAULT:
            raise TypeError("nframe and max_frames are the same: expected one of them")
        nframe = max_frames
    frames, rate = _frames_of(nframe), _rate_of(sample_rate)
    if rate <= 1:
        # What asks for figures is not among what is counted: it is there before.
        from . import _blocks, _found, snapshot  # noqa: F401
    with _lock:
        library = load()
        _attach(library)
        if library.rate() == RATE_OFF:
            _check(library.set_frames(frames), "%d frames" % frames)
        elif not rate:
            return
        _check(library.set_rate(rate), "sample rate %d" % rate)


def stop() -> None:
    """Stop recording, and forget what was recorded. Nothing happens where it was stopped."""
    with _lock:
        library = _tracing()
        if library is not None:
            _check(library.set_rate(RATE_OFF), "stop")
            library.clear()


def is_tracing() -> bool:
    """Whether memory is recorded: since `start()`, MPROFILERATE at import, or from the beginning
    where the library was preloaded."""
    return _tracing() is not None


def clear_traces() -> None:
    """Forget what was recorded so far, and record on. The peak is that of what follows."""
    library = in_process()
    if library is not None:
        library.attach()
        library.clear()


def get_traced_memory() -> Tuple[int, int]:
    """Estimated bytes that are alive and were recorded, and the most they were: (current, peak).

    (0, 0) where nothing is recorded. Exact where every allocation is. The peak is the highest of
    many estimates and leans upwards.
    """
    library = in_process()
    if library is None or library.rate() == RATE_OFF:
        return 0, 0
    library.attach()
    return library.traced()


def reset_peak() -> None:
    """From now on the peak is that of what follows: it becomes the current size. (All versions of
    Python have it here.)"""
    library = in_process()
    if library is not None:
        library.reset_peak()


def get_tracemalloc_memory() -> int:
    """Bytes that the profiler itself uses."""
    library = in_process()
    return library.own_bytes() if library is not None else 0


def get_traceback_limit() -> int:
    """Most frames that are kept of a stack: of the last `start()`, or MPROFILEFRAMES; 1 before."""
    library = in_process()
    return (library.frames() if library is not None else 0) or 1


def get_sample_rate() -> int:
    """Mean bytes between samples, as it was given; 0 and 1: every allocation is recorded.

    Raises RuntimeError where nothing is recorded.
    """
    return int(_must_trace("have a sample rate").rate())


def get_object_traceback(obj: Any) -> Optional[Traceback]:
    """Where the memory of *obj* was allocated; None where that is not recorded.

    Of samples: None for most objects. What a type takes from a free list of its own, as floats and
    small tuples do, keeps the stack that it was first allocated at. Frames of C are not in it.
    """
    frames = _object_frames(obj)
    if frames is None:
        return None
    from ._frames import Traceback

    return Traceback(frames)


def _object_frames(obj: Any) -> Optional[List[Tuple[str, str, int, int]]]:
    """(function, file, its first line, line) of the frames, nearest first."""
    library = _tracing()
    if library is None:
        return None
    library.attach()
    from ._blocks import block_address
    from ._found import frames_at

    return frames_at(library, block_address(obj))


def _get_object_traceback(obj: Any) -> Optional[Tuple[Tuple[str, int], ...]]:
    """tracemalloc's own private function, for programs that use it: ((file, line), ...) or None."""
    frames = _object_frames(obj)
    return None if frames is None else tuple((file, line) for _, file, _, line in frames)


def take_snapshot() -> Snapshot:
    """What is alive now and was recorded, by where it was allocated.

    Raises RuntimeError where nothing is recorded, OSError where the system has no room for it. The
    interpreter runs on while the library writes, to memory: for a moment some 40 bytes for each
    live sample besides what the snapshot takes, which is about as much. To leave out what the
    profiler itself took for earlier snapshots, filter `os.path.dirname(mprofile.__file__) + "/*"`.
    """
    library = _must_trace("take a snapshot")
    library.attach()
    from .snapshot import Snapshot

    descriptor = _memory_file()
    try:
        error = library.dump_fd(descriptor)
        if error:
            raise OSError(error, os.strerror(error))
        return Snapshot._from_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _memory_file() -> int:
    """A descriptor of a file without a name, which is memory if the system lets us."""
    try:
        return os.memfd_create("mprofile")
    except (AttributeError, OSError):
        import tempfile

        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def _get_traces() -> List[Tuple[Any, ...]]:
    """tracemalloc's own private function, for programs that use it: raw traces; [] when stopped."""
    if not is_tracing():
        return []
    return list(take_snapshot().traces._traces)


def dump(path: Any = None) -> str:
    """Write a snapshot file now, as the dump signal does, and return its path.

    Without *path* it goes where MPROFILEOUT says. No file is replaced: a name that is taken gets
    .2, .3 and so on before its extension. Raises RuntimeError where nothing is recorded, OSError
    where the file cannot be written.
    """
    library = _must_trace("write a snapshot")
    library.attach()
    import ctypes

    name = None
    if path is not None:
        name = os.fsencode(os.path.abspath(path))
        if b"\0" in name:
            raise ValueError("embedded null byte")
    written = ctypes.create_string_buffer(_PATH_BYTES)
    error = library.dump(name, written, _PATH_BYTES)
    if error:
        raise OSError(error, os.strerror(error), path)
    return os.fsdecode(written.value)


def start_from_environment() -> None:
    """What importing the package does where MPROFILERATE is set: start, unless it runs already.

    Never raises: a program that cannot be profiled runs on, and one line says why. The library
    reads the variables itself, and says itself what makes no sense in them.
    """
    try:
        with _lock:
            library = load()
            if library.attach() is None:
                _check(library.begin(), "MPROFILERATE")
    except (LibraryError, RuntimeError) as error:
        if sys.stderr is not None:
            print("mprofile: %s" % error, file=sys.stderr)
