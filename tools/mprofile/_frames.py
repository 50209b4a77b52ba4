# SPDX-License-Identifier: MIT
"""Frame, Traceback and Trace: tracemalloc's classes with what it does not have, as attributes only.

They compare, hash, sort and print as tracemalloc's own do, so that a script written for it works
and a dictionary may mix both. Names of functions, weights and ages ride along and take no part in
equality.

Invariants: `_frame`, `_frames` and `_trace` hold exactly what the running Python's tracemalloc
would hold there.
"""

from __future__ import annotations

import tracemalloc
from typing import Any, Iterable, List, Optional, Sequence, Tuple, Union

from ._heap import NATIVE

#: (function, its first line) of a frame, where known; NATIVE for the line where it is native.
Detail = Tuple[Optional[str], Optional[int]]
NO_DETAIL: Detail = (None, None)

#: Python 3.9 made traces one field longer.
HAS_TOTAL_NFRAME = hasattr(tracemalloc.Traceback, "total_nframe")


def plain_trace(trace: Sequence[Any]) -> Tuple[Tuple[Any, ...], Optional[List[Detail]]]:
    """mprofile 0.0.15's (size, frames), or frames of four fields, in tracemalloc's form."""
    domain, size, frames = trace[:3] if len(trace) > 2 else (0, *trace)
    total = trace[3] if len(trace) > 3 else None
    split = [split_frame(frame) for frame in frames]
    plain = tuple(frame for frame, _ in split)
    return trace_tuple(domain, size, plain, total), [detail for _, detail in split]


def split_frame(frame: Sequence[Any]) -> Tuple[Tuple[str, int], Detail]:
    """tracemalloc's (file, line), or mprofile 0.0.15's (name, file, first line, line)."""
    if len(frame) == 4:
        name, filename, firstlineno, lineno = frame
        return (filename, lineno), (name, firstlineno)
    filename, lineno = frame
    return (filename, lineno), NO_DETAIL


class Frame(tracemalloc.Frame):
    """A frame of a traceback; `name` and `firstlineno` are those of its function, or None.

    Where `native` is true the frame is of native code: `filename` is its program or library, and
    `lineno` the offset in that.
    """

    __slots__ = ("name", "firstlineno", "native")

    def __init__(self, frame: Sequence[Any], detail: Detail = NO_DETAIL) -> None:
        plain, own = split_frame(frame)
        super().__init__(plain)
        self.name, self.firstlineno = own if own is not NO_DETAIL else detail
        self.native = self.firstlineno == NATIVE
        if self.native:
            self.firstlineno = None


class Traceback(tracemalloc.Traceback):
    """A sequence of frames, oldest first. It is made from frames with the nearest first."""

    __slots__ = ("_details", "_nframe")

    def __init__(
        self,
        frames: Iterable[Sequence[Any]],
        total_nframe: Optional[int] = None,
        details: Optional[Sequence[Detail]] = None,
    ) -> None:
        split = [split_frame(frame) for frame in frames]
        plain: Any = tuple(frame for frame, _ in split)
        if HAS_TOTAL_NFRAME:
            super().__init__(plain, total_nframe)
        else:
            super().__init__(plain)
        chosen = [detail for _, detail in split] if details is None else details
        self._details = tuple(reversed(chosen))
        self._nframe = total_nframe

    @property
    def total_nframe(self) -> Optional[int]:
        """Frames the whole stack had, before it was cut at the frame limit."""
        return self._nframe

    def __getitem__(self, index: Any) -> Any:
        frames: Tuple[Any, ...] = self._frames  # type: ignore[attr-defined]
        if isinstance(index, slice):
            pairs = zip(frames[index], self._details[index])
            return tuple(Frame(frame, detail) for frame, detail in pairs)
        return Frame(frames[index], self._details[index])


class Trace(tracemalloc.Trace):
    """A live sample. It stands for `weight` blocks like it.

    It is made from a raw trace of tracemalloc's, or of mprofile 0.0.15's: (size, frames).
    """

    __slots__ = (
        "weight",
        "age",
        "thread_id",
        "thread_name",
        "domain_name",
        "type_name",
        "_details",
        "_nframe",
    )

    def __init__(
        self,
        trace: Tuple[Any, ...],
        details: Optional[Sequence[Detail]] = None,
        total_nframe: Optional[int] = None,
    ) -> None:
        if len(trace) == 2 or (trace[2] and len(trace[2][0]) == 4):
            trace, details = plain_trace(trace)
        super().__init__(trace)
        self._details = details
        # Python 3.8's raw traces have no room for it.
        self._nframe = trace[3] if len(trace) > 3 else total_nframe
        #: Blocks that this one stands for: 1 where every allocation was recorded.
        self.weight: float = 1.0
        #: Seconds from its allocation to the snapshot, if known.
        self.age: Optional[float] = None
        #: The kernel's id of the thread that made it (`threading.get_native_id()`), if known.
        self.thread_id: Optional[int] = None
        self.thread_name: Optional[str] = None
        #: obj, mem, raw, malloc, mmap: what `domain` has only a number for.
        self.domain_name: Optional[str] = None
        #: What the block was, for a Python object whose type could be told.
        self.type_name: Optional[str] = None

    @property
    def traceback(self) -> Traceback:
        fields: Tuple[Any, ...] = self._trace  # type: ignore[attr-defined]
        return Traceback(fields[2], self._nframe, self._details)


def trace_tuple(
    domain: int, size: int, frames: Tuple[Tuple[str, int], ...], total: Optional[int]
) -> Tuple[Any, ...]:
    """A raw trace as the running Python's tracemalloc has it."""
    if HAS_TOTAL_NFRAME:
        return (domain, size, frames, total)
    return (domain, size, frames)


class Statistic(tracemalloc.Statistic):
    """Estimated size and number of the blocks of one group, with one standard error of each."""

    __slots__ = ("size_error", "count_error")

    def __init__(
        self,
        traceback: tracemalloc.Traceback,
        size: int,
        count: int,
        size_error: float = 0.0,
        count_error: float = 0.0,
    ) -> None:
        super().__init__(traceback, size, count)
        self.size_error = size_error
        self.count_error = count_error


class StatisticDiff(tracemalloc.StatisticDiff):
    """The difference of two statistics.

    The errors are those of the differences: what is alive in both takes no part in them.
    """

    __slots__ = ("size_error", "count_error")

    def __init__(
        self,
        traceback: tracemalloc.Traceback,
        size: int,
        size_diff: int,
        count: int,
        count_diff: int,
        size_error: float = 0.0,
        count_error: float = 0.0,
    ) -> None:
        super().__init__(traceback, size, size_diff, count, count_diff)
        self.size_error = size_error
        self.count_error = count_error


AnyTraceback = Union[Traceback, tracemalloc.Traceback]
