#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# format.sh SOURCE: C and OpenCL C are formatted as .clang-format says.  Other
# versions of clang-format than Debian 12's format some lines otherwise.
set -eu
cd "$1"

if ! command -v clang-format >/dev/null; then
    echo "SKIPPED: clang-format is not installed"
    exit 77
fi
version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
if [ "$version" != 14 ]; then
    echo "SKIPPED: clang-format is version $version, the style is that of 14"
    exit 77
fi
find include src cl ref tests tools tuning bench examples -name '*.[ch]' -o -name '*.cl' -o -name '*.cpp' | LC_ALL=C sort |
    xargs clang-format --dry-run -Werror
