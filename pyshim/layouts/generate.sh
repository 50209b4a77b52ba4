#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the layout table of one CPython: generate.sh PYTHON_INCLUDE_DIR [free-threaded]
#
# PYTHON_INCLUDE_DIR is the directory that has Python.h and internal/, for instance
# `python3.13 -c 'import sysconfig; print(sysconfig.get_path("include"))'`. Debian keeps pyconfig.h
# in a directory of its own; its Python.h directory finds it by the compiler's multiarch include.
set -eu

include=${1:?usage: generate.sh PYTHON_INCLUDE_DIR [free-threaded]}
flags=
[ "${2:-}" != free-threaded ] || flags=-DPy_GIL_DISABLED=1

here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${CC:-cc}" -std=gnu11 -O0 -w $flags -I"$include" -I"$include/internal" \
    -I"$include/internal/mimalloc" -I"$include/.." -o "$scratch/generate" "$here/generate.c"
"$scratch/generate"
