#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# reproducible.sh SOURCE WORK CMAKE CC: built twice, from two folders, at two times, the libraries and a
# program are the same bytes, debug information included.
set -eu
source=$1
work=$2
cmake=$3
cc=$4

rm -rf "$work"
for place in one another/place; do
    here=$work/$place
    mkdir -p "$here"
    (cd "$source" && cp -R CMakeLists.txt cmake include src cl ref tuning tools docs LICENSE README.md CHANGELOG.md "$here")
    { "$cmake" -S "$here" -B "$here/build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DCLGAZE_BUILD_TESTS=OFF -DCLGAZE_BUILD_BENCH=OFF -DCLGAZE_BUILD_EXAMPLES=OFF &&
        "$cmake" --build "$here/build" --parallel 2 --target clgaze clgaze-run; } >"$here/log" 2>&1 || {
        tail -n 40 "$here/log"
        exit 1
    }
done
failed=0
for file in libclgaze.a libclgaze.so clgaze-run clgaze.pc; do
    cmp "$work/one/build/$file" "$work/another/place/build/$file" && echo "$file: the same bytes" || failed=1
    if grep -q -F "$work" "$work/one/build/$file"; then
        echo "$file holds the path of the folder that it was built in"
        failed=1
    fi
done
exit $failed
