# SPDX-License-Identifier: MIT
"""The C library in this process: finding it, binding it.

What its functions do is said in preload/control.h.

Two ways in: the library was preloaded, and is in the process's global scope; or it is loaded from a
file, beside this package, or in a source tree's `build/`. One that was preloaded is never joined by
a second.

Invariants:
- a library whose interface is not INTERFACE is not used: the two belong together;
- asking (`in_process`) loads nothing; only `load` does;
- all argument and result types are declared here, in one table.

Thread safety: any thread; two that come first at once bind the same library twice, which does no
harm.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Dict, List, Optional, Tuple

INTERFACE = 1
#: MP_CONTROL_RATE_OFF: nothing is recorded.
RATE_OFF = (1 << 64) - 1
FILE_NAME = "libmprofile.so"

_U32, _U64, _TEXT, _INT = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_int
_SIZE, _BUFFER = ctypes.c_size_t, ctypes.c_void_p

#: Name without `mprofile_`: (called with the GIL, result, arguments). Arguments of None are
#: not converted, so that the call allocates nothing: where every allocation is recorded, asking
#: what there is must not change it.
_FUNCTIONS: Dict[str, Tuple[bool, Any, Optional[List[Any]]]] = {
    "attach": (True, _TEXT, []),
    "begin": (True, _INT, []),
    "rate": (True, _U64, []),
    "set_rate": (True, _INT, [_U64]),
    "set_frames": (True, _INT, [_U32]),
    "frames": (True, _U32, []),
    "clear": (False, None, []),
    "traced": (True, None, None),
    "reset_peak": (True, None, []),
    "own_bytes": (True, _U64, []),
    "traceback": (True, _SIZE, [_U64, _BUFFER, _SIZE]),
    "dump_fd": (False, _INT, None),
    "dump": (False, _INT, [_TEXT, _BUFFER, _SIZE]),
}


class LibraryError(RuntimeError):
    """The library is not there, or does not belong to this package; the text says which."""


class Library:
    """The functions of the library, bound, by their names without `mprofile_`."""

    attach: Any
    begin: Any
    rate: Any
    set_rate: Any
    set_frames: Any
    frames: Any
    clear: Any
    reset_peak: Any
    own_bytes: Any
    traceback: Any
    dump_fd: Any
    dump: Any
    _traced: Any

    def __init__(self, name: Optional[str]) -> None:
        """Bind the library in file *name*; None: in the process. AttributeError: it is none."""
        held, free = ctypes.PyDLL(name), ctypes.CDLL(name)
        interface = held.mprofile_interface
        interface.restype = _U32
        if interface() != INTERFACE:
            raise LibraryError(
                "%s belongs to another version of mprofile (interface %d; this package has %d)"
                % (name or "the %s that was preloaded" % FILE_NAME, interface(), INTERFACE)
            )
        for short, (with_gil, result, arguments) in _FUNCTIONS.items():
            function = getattr(held if with_gil else free, "mprofile_" + short)
            function.restype = result
            if arguments is not None:
                function.argtypes = arguments
            setattr(self, "_traced" if short == "traced" else short, function)
        self._current, self._peak = ctypes.c_uint64(), ctypes.c_uint64()
        self._pair = (ctypes.byref(self._current), ctypes.byref(self._peak))

    def traced(self) -> Tuple[int, int]:
        """Estimated bytes alive now, and the most so far.

        What the call needs is made beforehand, so that it allocates nothing. Two threads at once
        may get each other's, later, answer.
        """
        self._traced(*self._pair)
        return self._current.value, self._peak.value


_library: Optional[Library] = None


def in_process() -> Optional[Library]:
    """The library, if this process has it, preloaded or by `load`, and it is this package's."""
    global _library
    if _library is None:
        try:
            _library = Library(None)
        except (AttributeError, LibraryError):
            return None
    return _library


def path() -> Optional[str]:
    """The library's file, for LD_PRELOAD and for `load`; None where there is none."""
    here = os.path.dirname(os.path.abspath(__file__))
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    for place in (here, os.path.join(source, "build")):
        name = os.path.join(place, FILE_NAME)
        if os.path.isfile(name):
            return name
    return None


def load() -> Library:
    """The library; it is loaded if need be, which alone records nothing. Raises LibraryError."""
    global _library
    if _library is None:
        try:
            _library = Library(None)
        except AttributeError:  # it was not preloaded
            _library = _load_file()
    return _library


def _load_file() -> Library:
    name = path()
    if name is None:
        raise LibraryError(
            "%s is not beside the package in %s, nor in the build folder of a source tree"
            % (FILE_NAME, os.path.dirname(os.path.abspath(__file__)))
        )
    try:
        return Library(name)
    except OSError as error:
        raise LibraryError("%s cannot be loaded: %s" % (name, error)) from None
    except AttributeError:
        raise LibraryError("%s is not mprofile's library" % name) from None
