#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# no_clblast.sh SOURCE WORK CMAKE CC TEST FLAG...: the library built without
# CLBlast passes TEST and refers to nothing of CLBlast.
set -eu
source=$1
work=$2
cmake=$3
cc=$4
test=$5
shift 5
flags=$*

"$cmake" -S "$source" -B "$work" -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS="$flags" \
    -DCLGAZE_WITH_CLBLAST=OFF -DCMAKE_DISABLE_FIND_PACKAGE_CLBlast=ON \
    -DCLGAZE_BUILD_TESTS=ON -DCLGAZE_BUILD_BENCH=OFF -DCLGAZE_BUILD_TOOLS=OFF -DCLGAZE_BUILD_EXAMPLES=OFF
"$cmake" --build "$work" --parallel 2 --target "$test"
if nm -u "$work/libclgaze.a" 2>/dev/null | grep ' U CLBlast'; then
    echo "the library refers to CLBlast"
    exit 1
fi
"$work/tests/$test"
