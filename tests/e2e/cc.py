# SPDX-License-Identifier: MIT
"""Compile C and C++ at test time. A compiler that is missing is a failure: tests/setup installs it."""
from __future__ import annotations

import subprocess
from pathlib import Path

from harness import write


def _compile(source: str, target: Path, compiler: str, *flags: str) -> Path:
    code = write(target.with_name(target.name + (".cc" if compiler == "c++" else ".c")), source)
    subprocess.run([compiler, "-O2", "-g", "-o", str(target), str(code), *flags], check=True)
    return target


def library(source: str, target: Path, *flags: str, compiler: str = "cc") -> Path:
    """A shared library. No call of malloc is optimised away."""
    return _compile(source, target, compiler, "-fPIC", "-shared", "-fno-builtin", "-pthread", *flags)


def program(source: str, target: Path, *flags: str) -> Path:
    return _compile(source, target, "cc", "-fno-builtin", "-pthread", *flags)


#: C for a program that needs <signal.h>. AT_MINSIGSTKSZ says how much the kernel might take: with it 8 KiB of AMX's registers, that nobody here uses.
KERNEL_FRAME = r"""
static unsigned char *volatile entered;

static void only_enter(int number)
{
    entered = __builtin_frame_address(0);
}

/* Bytes of a signal's stack that the kernel takes. Leaves that stack, and a handler of SIGUSR1. */
static size_t of_the_kernel(void)
{
    static unsigned char large[65536] __attribute__((aligned(64)));
    stack_t stack = {.ss_sp = large, .ss_size = sizeof large};
    struct sigaction action = {.sa_handler = only_enter, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    return large + sizeof large - entered;
}
"""
