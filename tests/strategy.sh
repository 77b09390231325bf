#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# strategy.sh SOURCE WORK CMAKE CC: to add a strategy takes two files and a line.
# Adds the example's to a copy of the sources, builds that, and removes it: the
# operation's test walks the new strategy, a golden case passes by it, plans prefer it.
set -eu
source=$1
work=$2
cmake=$3
cc=$4

rm -rf "$work"
mkdir -p "$work/copy"
trap 'rm -rf "$work"' EXIT
for part in CMakeLists.txt cl cmake include ref src tests tools tuning; do
    cp -R "$source/$part" "$work/copy"
done

cp "$source/examples/strategy/pool_plain.cl" "$work/copy/cl"
cp "$source/examples/strategy/pool_plain.c" "$work/copy/src/ops"
sed -i 's/^KERNEL(pool, pool)/KERNEL(pool, pool_plain)\n&/' "$work/copy/src/kernels.def"

"$cmake" -S "$work/copy" -B "$work/build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Debug -DCLGAZE_WERROR=ON \
    -DCLGAZE_BUILD_BENCH=OFF -DCLGAZE_BUILD_EXAMPLES=OFF -DCLGAZE_INSTALL=OFF >"$work/log"
"$cmake" --build "$work/build" --parallel 2 --target test_pool --target test_kernels --target clgaze-run >>"$work/log" || {
    tail -n 40 "$work/log"
    exit 1
}
export CLGAZE_TEST_SIZE=tiny
"$work/build/tests/test_kernels" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
"$work/build/tests/test_pool" 2>&1 | tee "$work/log"
grep -q '^greatest error' "$work/log"
"$work/build/clgaze-run" check "$source/tests/golden/pool_all.safetensors" --kernel pool_plain
"$work/build/clgaze-run" devices | grep pool_plain
