#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exports.sh LIBRARY ABI NM STRUCTS SONAME: the shared library exports the names in ABI and nothing else,
# its public structs have the sizes that stand there, and it bears SONAME.  After a deliberate change:
# exports.sh LIBRARY - NM STRUCTS > tests/abi.txt
set -eu
library=$1
abi=$2
nm=$3
structs=$4
soname=${5:-}

names() {
    "$nm" -D --defined-only "$library" | awk '{print $NF}' | grep -v '^__\(asan\|odr_asan\|tsan\|ubsan\)' | LC_ALL=C sort
    "$structs"
}
if [ "$abi" = - ]; then
    names
    exit
fi
names | diff -u "$abi" - || {
    echo "names and structs of the library (+) are not those of tests/abi.txt (-)"
    exit 1
}
if command -v readelf >/dev/null; then
    readelf -d "$library" | grep -F "soname: [$soname]" || {
        echo "the library does not bear the name $soname"
        exit 1
    }
fi
