# SPDX-License-Identifier: MIT
"""The block of memory that a Python object begins in: where the allocator put it, by its type.

`id(obj)` is where the object is; its block begins with what CPython keeps before objects: the
collector's header, and since 3.11 the pointers to the dictionary and the weak references that it
manages itself. `_PyType_PreHeaderSize` of CPython's pycore_object.h, which tracemalloc uses, asks
the type's flags, and so does this. What a static type, or an instance of a type with a `tp_is_gc`,
has instead makes the address one at which no block begins, and nothing is found, as in tracemalloc.

Invariants: nothing is read from memory; a class cannot lie about its flags.
"""

from __future__ import annotations

import sys
import sysconfig
from typing import Any

_HAVE_GC = 1 << 14
_MANAGED_DICT = 1 << 4
_MANAGED_WEAKREF = 1 << 3
_TWO_POINTERS = 16

_GC_BYTES = 0 if sysconfig.get_config_var("Py_GIL_DISABLED") else _TWO_POINTERS
if sys.version_info >= (3, 12):
    _MANAGED = _MANAGED_DICT | _MANAGED_WEAKREF
elif sys.version_info >= (3, 11):
    _MANAGED = _MANAGED_DICT
else:
    _MANAGED = 0

_flags_of: Any = type.__dict__["__flags__"].__get__  # type: ignore[index, unused-ignore]


def block_address(obj: Any) -> int:
    """The address at which the block of *obj* begins."""
    flags = _flags_of(type(obj))
    before = _GC_BYTES if flags & _HAVE_GC else 0
    if flags & _MANAGED:
        before += _TWO_POINTERS
    return id(obj) - before
