# SPDX-License-Identifier: MIT
"""The dump signal by its name: as the library reads MPROFILESIGNAL (preload/options.c)."""

from __future__ import annotations

import re
import signal
from typing import Optional

_NAMES = frozenset(
    "HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF IO PWR "
    "SYS WINCH".split()
)
#: Signals that cannot be caught, or that report a fault of the program.
_UNUSABLE = frozenset("KILL STOP SEGV BUS ILL FPE TRAP ABRT".split())
_REAL_TIME = re.compile(r"RT(?:MIN(?:\+([0-9]+))?|MAX(?:-([0-9]+))?)", re.ASCII)


def signal_number(text: str) -> Optional[int]:
    """The number of the signal that *text* names (not `none`); None: there is none that will do.

    Names are those of the library, with SIG before them or not, in either case; RTMIN+3, RTMAX-3;
    or a decimal number.
    """
    name = text.upper() if text.isascii() else ""
    name = name[3:] if name.startswith("SIG") else name
    if name in _NAMES:
        return int(getattr(signal, "SIG" + name))
    real_time = _REAL_TIME.fullmatch(name)
    if real_time:
        above, below = (number and int(number[-9:]) for number in real_time.groups())
        if (above or 0) > 64 or (below or 0) > 30:
            return None
        base = signal.SIGRTMAX if name.startswith("RTMAX") else signal.SIGRTMIN
        number = int(base) + int(above or 0) - int(below or 0)
    elif re.fullmatch("0*[0-9]{1,2}", name):
        number = int(name)
    else:
        return None
    faults = {int(getattr(signal, "SIG" + word)) for word in _UNUSABLE}
    real = range(int(signal.SIGRTMIN), int(signal.SIGRTMAX) + 1)
    return number if number in real or (0 < number < 32 and number not in faults) else None
