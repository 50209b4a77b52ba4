# SPDX-License-Identifier: MIT
"""The very first call of the malloc family in a process, whichever it is: what stands in until libc's own functions are known."""
from __future__ import annotations

import cc
import pytest
from harness import LIBRARY, RawFile
from test_loader import HOLD, ended_well, lost, preload

#: Each way to allocate as the first call that any object of the program makes, and each way to free.
FIRST = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *kept;

static char *take(void)
{
    void *block = NULL;
    switch (FIRST_CALL) {
    case 0: return malloc(1000003);
    case 1: return calloc(1, 1000003);
    case 2: return realloc(NULL, 1000003);
    case 3: return posix_memalign(&block, 64, 1000003) == 0 ? block : NULL;
    case 4: return aligned_alloc(64, 1000003);
    case 5: return memalign(64, 1000003);
    case 6: return valloc(1000003);
    case 7: return pvalloc(1000003);
    case 8: free(NULL); return malloc(1000003);
    default: return reallocarray(NULL, 1000003, 1);
    }
}

static void use(char *block)
{
    if (block == NULL) {
        _exit(90);
    }
    memset(block, 7, 1000003);
}

static __attribute__((constructor)) void early(void)
{
    use(kept = take());
}

/* Frees what was kept, and a block of today in each way of C23; keeps another. */
void later(void)
{
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    free(kept);
    char *block = take();
    use(block);
    free_sized(block, 1000003);
    use(block = aligned_alloc(64, 1000003));
    free_aligned_sized(block, 64, 1000003);
    use(kept = take());
}
"""


@pytest.mark.few
@pytest.mark.parametrize("call", range(10))
def test_the_first_call_of_all(python, run, tmp_path, call):
    """Before libc itself has asked for anything, whatever comes first; C23's frees, which no libc here has yet."""
    first = cc.library(FIRST, tmp_path / "first.so", "-DFIRST_CALL=%d" % call, "-Wl,-z,initfirst")
    program = run(python, "import ctypes, sys\nctypes.CDLL('./first.so').later()\n" + HOLD,
                  env=preload(first, LIBRARY)).ready()
    raw = RawFile(program.dump())
    size = 1000003
    assert len(raw.samples(size)) == 1 and not lost(raw), [one.size for one in raw.live if one.size > 900000]
    ended_well(program)
