#!/bin/sh
# exports.sh LIBRARY ABI NM: the shared library exports the names in ABI and
# nothing else.  After a deliberate change: exports.sh LIBRARY - NM > tests/abi.txt
set -eu
library=$1
abi=$2
nm=$3

names() {
    "$nm" -D --defined-only "$library" | awk '{print $NF}' | grep -v '^__\(asan\|odr_asan\|tsan\|ubsan\)' | LC_ALL=C sort
}
if [ "$abi" = - ]; then
    names
    exit
fi
names | diff -u "$abi" - || {
    echo "the exported names (+) are not those of tests/abi.txt (-)"
    exit 1
}
