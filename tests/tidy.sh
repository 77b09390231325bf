#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tidy.sh SOURCE BUILD: clang-tidy has nothing to say.
set -eu
cd "$1"

if ! command -v clang-tidy >/dev/null; then
    echo "SKIPPED: clang-tidy is not installed"
    exit 77
fi
find src ref tools tuning bench examples tests -name '*.c' ! -path 'tests/consumer/*' ! -name '*_windows.c' | LC_ALL=C sort |
    xargs -n 4 -P 2 clang-tidy --quiet -p "$2" "--extra-arg=-I$PWD/src"
