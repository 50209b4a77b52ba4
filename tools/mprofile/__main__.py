# SPDX-License-Identifier: MIT
"""`python -m mprofile`: the command `mprofile`."""

import sys

from .commands import main

sys.exit(main())
