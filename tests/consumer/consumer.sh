#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# consumer.sh SOURCE BUILD WORK CMAKE CC CXX CONFIG FLAG...: install to a temporary
# prefix, move it, and build and run a C and a C++ user by each way to find
# clgaze.  Each runs twice, the second time on a machine without OpenCL.
set -eu
source=$1
build=$2
work=$3
cmake=$4
cc=$5
cxx=$6
config=$7
shift 7
flags=$*

case $cxx in
'' | *-NOTFOUND)
    echo "SKIPPED: no C++ compiler"
    exit 77
    ;;
esac
if ! command -v pkg-config >/dev/null; then
    echo "SKIPPED: pkg-config is not installed"
    exit 77
fi
rm -rf "$work"
mkdir -p "$work/no-icd"

try() { # PROGRAM...
    for program in "$@"; do
        "$program"
        OCL_ICD_VENDORS="$work/no-icd" "$program" | grep '^clgaze .* 0 devices$'
    done
}

by_cmake() { # WAY FOLDER OPTION...
    echo "== $1 ${4:-}"
    way=$1
    folder=$work/$2
    shift 2
    "$cmake" -S "$source/tests/consumer" -B "$folder" -DWAY="$way" -DCMAKE_BUILD_TYPE="$config" \
        -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_C_FLAGS="$flags" \
        -DCMAKE_CXX_FLAGS="$flags" "$@" >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    "$cmake" --build "$folder" --parallel 2 >>"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    if grep -i 'warning' "$folder.log"; then
        exit 1
    fi
    try "$folder/consumer_c" "$folder/consumer_cpp"
}

"$cmake" --install "$build" --config "$config" --prefix "$work/there" >"$work/install.log" || {
    cat "$work/install.log"
    exit 1
}
if [ -x "$work/there/bin/clgaze-tune" ]; then
    find "$work/there" -path '*/man1/clgaze-tune.1' | grep -q .
fi
mv "$work/there" "$work/prefix"
prefix=$work/prefix
by_cmake find_package package-static -DCMAKE_PREFIX_PATH="$prefix"
by_cmake find_package package-shared -DCMAKE_PREFIX_PATH="$prefix" -DBUILD_SHARED_LIBS=ON

# The sources as a release holds them: no repository, no tests.
mkdir "$work/source"
(cd "$source" && cp -R CMakeLists.txt cmake include src cl ref "$work/source")
by_cmake add_subdirectory subdirectory -DCLGAZE_SOURCE="$work/source"
by_cmake FetchContent fetch -DCLGAZE_SOURCE="$work/source" -DBUILD_SHARED_LIBS=ON

pc=$(find "$prefix" -name clgaze.pc)
libdir=${pc%/pkgconfig/clgaze.pc}
PKG_CONFIG_PATH=${pc%/clgaze.pc}${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
by_pkg_config() { # OPTION
    echo "== pkg-config $1"
    $cc -std=c11 $flags "$source/tests/consumer/consumer.c" $(pkg-config $1 --cflags --libs clgaze) -o "$work/pc_c"
    $cxx -std=c++17 $flags "$source/tests/consumer/consumer.cpp" $(pkg-config $1 --cflags --libs clgaze) \
        -o "$work/pc_cpp"
    LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} try "$work/pc_c" "$work/pc_cpp"
}
by_pkg_config ''
rm "$libdir"/libclgaze.so* # leaves the static one
by_pkg_config --static
