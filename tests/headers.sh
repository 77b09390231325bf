#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# headers.sh INCLUDE CC CXX [OPENCL]: each public header compiles alone, as C11 and
# as C++17, without a warning.
set -eu
include=$1
cc=$2
cxx=$3
opencl=${4:-}

warnings='-Wall -Wextra -Wpedantic -Wconversion -Werror'
[ -z "$opencl" ] || [ "$opencl" = /usr/include ] || warnings="$warnings -isystem $opencl"
for header in "$include"/clgaze/*.h; do
    name=clgaze/${header##*/}
    echo "$name"
    echo "#include <$name>" | $cc -std=c11 $warnings -I "$include" -fsyntax-only -x c -
    if [ -n "$cxx" ] && [ "${cxx%-NOTFOUND}" = "$cxx" ]; then
        echo "#include <$name>" | $cxx -std=c++17 $warnings -I "$include" -fsyntax-only -x c++ -
    else
        echo "no C++ compiler: C++17 not tried"
    fi
done
