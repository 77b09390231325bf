#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ports.sh PORT SOURCE WORK CMAKE: clgaze compiled for another machine, or by a stricter reading of C.
#
#   gcc, clang   every file as C11 with nothing of GNU's
#   macos        every file of the library, programs and headers, with OpenCL and Apple's words where macOS has them
#   i686, s390x  32 bits; big-endian: library, tools and the tests that need no kernel, run (by qemu)
#   windows      mingw-w64: library and programs; run by wine if it is there
#   sources      cJSON and CMocka from Debian's source packages, for the last three
#
# What is missing makes a port SKIPPED with the package to install.
set -eu
port=$1
source=$2
work=$3
cmake=$4
sources=${work%/*}/ports_sources
tests='test_bench_report test_distill_ref test_kernels test_ptx test_records test_records_text
    test_safetensors test_search test_tune_power test_tuning'

# port      compiler                       packages                      how      runner
table='
gcc         gcc                            gcc                           strict
clang       clang                          clang                         strict
macos       clang                          clang                         macos
i686        i686-linux-gnu-gcc             gcc-i686-linux-gnu,libc6-dev-i386-cross   linux
s390x       s390x-linux-gnu-gcc            gcc-s390x-linux-gnu,libc6-dev-s390x-cross linux    qemu-s390x
windows     x86_64-w64-mingw32-gcc-posix   gcc-mingw-w64-x86-64-posix    windows
sources     dpkg-source                    dpkg-dev                      sources
'

skip() {
    echo "SKIPPED: $port: $1"
    exit 77
}
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || skip "$1 is not installed (package $2)"
}
quietly() { # COMMAND...: its output only if it fails
    "$@" >>"$work/log" 2>&1 || {
        tail -n 60 "$work/log"
        exit 1
    }
}

# shellcheck disable=SC2046 # words
set -- $(echo "$table" | grep "^$port ") ''
cc=${2:?unknown port}
how=$4
runner=${5:-}
need "$cc" "$3"
[ -z "$runner" ] || need "$runner" qemu-user
rm -rf "$work"
mkdir -p "$work/include" "$work/lib"
cd "$source"

includes='-I include -I src -I ref -I tools -I tools/llama -I bench -I tuning -I tests'
posix='-D_POSIX_C_SOURCE=200809L'

# ---- a stricter reading -----------------------------------------------------------

strict() {
    find src ref tools tuning bench examples -name '*.c' ! -name '*_windows.c' >"$work/files"
    # shellcheck disable=SC2086
    xargs -P 2 -n 8 "$cc" -std=c11 -pedantic-errors -Wall -Wextra -Wconversion -Werror $posix $includes \
        -DCLGAZE_EXAMPLES_DIR='""' -fsyntax-only <"$work/files"
    echo "$(wc -l <"$work/files") files, $("$cc" --version | head -n 1)"
}

# Apple's headers are not here: OpenCL stands where it stands there, and only there.
macos() {
    mkdir -p "$work/include/OpenCL"
    for header in /usr/include/CL/*.h; do
        sed 's,<CL/,<OpenCL/,' "$header" >"$work/include/OpenCL/${header##*/}"
    done
    mkdir -p "$work/include/CL"
    for header in cl.h cl_ext.h opencl.h; do
        echo '#error "macOS has <OpenCL/opencl.h>"' >"$work/include/CL/$header"
    done
    find src ref tools tuning bench include -name '*.c' ! -name '*_windows.c' -o -path '*/clgaze/*.h' >"$work/files"
    # shellcheck disable=SC2086
    xargs -P 2 -n 8 "$cc" -x c -std=c11 -Werror $posix -D__APPLE__ -U__linux__ -I "$work/include" $includes \
        -fsyntax-only <"$work/files"
    echo "$(wc -l <"$work/files") files with <OpenCL/cl.h>"
}

# ---- sources ------------------------------------------------------------------------

fetch() {
    [ ! -e "$sources/ready" ] || exit 0
    need apt-get apt
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    rm -rf "$sources"
    mkdir -p "$sources/lists/partial"
    cd "$sources"
    echo "deb-src http://deb.debian.org/debian ${suite:-stable} main" >list
    apt="apt-get -o Dir::Etc::sourcelist=$sources/list -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists=$sources/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
    for command in update 'source cjson cmocka'; do
        # shellcheck disable=SC2086
        $apt $command >"$work/log" 2>&1 || skip "no source packages of Debian's: $(tail -n 1 "$work/log")"
    done
    mv cjson-*/ cjson
    mv cmocka-*/ cmocka
    rm -rf lists
    : >ready
}

prepare() {
    cp -r /usr/include/CL "$work/include/"
    [ -e "$sources/ready" ] || skip "there is no source of cJSON and CMocka (test port_sources)"
}

object() { # LIBRARY FILE FLAG...: compile into a static library in $work/lib
    library=$1
    file=$2
    shift 2
    name=${file##*/}
    quietly "$cc" -O2 -w -I "$work/include" "$@" -c "$file" -o "$work/$name.o"
    quietly "${cc%gcc*}ar" rcs "$work/lib/lib$library.a" "$work/$name.o"
}

configure() { # OPTION...
    mkdir -p "$work/include/cjson"
    cp "$sources/cjson/cJSON.h" "$work/include/cjson/"
    cp "$sources"/cmocka/include/cmocka*.h "$work/include/"
    object cjson "$sources/cjson/cJSON.c"
    quietly "$cmake" -S . -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCLGAZE_WERROR=ON -DCLGAZE_WITH_CLBLAST=OFF \
        -DOpenCL_INCLUDE_DIR="$work/include" -DCLGAZE_cjson_INCLUDE="$work/include" \
        -DCLGAZE_cjson_LIBRARY="$work/lib/libcjson.a" "$@"
}

build() { # TARGET...
    quietly "$cmake" --build "$work/build" --parallel 2 --target "$@"
}

# ---- other machines ------------------------------------------------------------------

# Their OpenCL is a stub, and all is linked statically: no library of theirs is here.
linux() {
    prepare
    sed -n 's/^    \(cl[A-Za-z]*\)$/\1/p' cmake/opencl.def | while read -r name; do
        grep -q "[ *]$name(" tests/stub/opencl.c || echo "int $name(void); int $name(void) { return 0; }"
    done >"$work/rest.c"
    object OpenCL tests/stub/opencl.c
    object OpenCL "$work/rest.c"
    object cmocka "$sources/cmocka/src/cmocka.c" -I "$sources/cmocka/include" -DHAVE_SIGNAL_H=1 -DHAVE_STRSIGNAL=1 \
        -DHAVE_CLOCK_GETTIME_REALTIME=1 -D_GNU_SOURCE -include inttypes.h
    configure -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR="$port" -DCMAKE_C_COMPILER="$cc" \
        -DCMAKE_EXE_LINKER_FLAGS=-static -DOpenCL_LIBRARY="$work/lib/libOpenCL.a" \
        -DCLGAZE_cmocka_INCLUDE="$work/include" -DCLGAZE_cmocka_LIBRARY="$work/lib/libcmocka.a" \
        -DCLGAZE_BUILD_EXAMPLES=OFF -DCLGAZE_INSTALL=OFF
    # shellcheck disable=SC2086
    build $tests
    for test in $tests; do
        # shellcheck disable=SC2086 # no runner is no word
        quietly $runner "$work/build/tests/$test"
        echo "$test: $(grep '\[  PASSED  \]' "$work/log" | tail -n 1)"
    done
}

windows() {
    prepare
    quietly x86_64-w64-mingw32-dlltool -d cmake/opencl.def -l "$work/lib/libOpenCL.dll.a"
    configure -DCMAKE_TOOLCHAIN_FILE="$source/cmake/mingw.cmake" -DOpenCL_LIBRARY="$work/lib/libOpenCL.dll.a" \
        -DCLGAZE_BUILD_TESTS=OFF -DCLGAZE_BUILD_EXAMPLES=OFF \
        "-DCLGAZE_NOTICES=$sources/cjson/LICENSE;/usr/share/doc/mingw-w64-common/copyright"
    build all
    foreign=$(x86_64-w64-mingw32-objdump -p "$work"/build/*.exe "$work"/build/*.dll | sed -n 's/.*DLL Name: //p' |
        sort -u | grep -v -x -e OpenCL.dll -e KERNEL32.dll -e msvcrt.dll || true)
    if [ -n "$foreign" ]; then
        echo "programs need what Windows has not: $foreign"
        exit 1
    fi
    (cd "$work/build" && quietly cpack -G ZIP)
    mkdir "$work/elsewhere"
    cd "$work/elsewhere"
    quietly "$cmake" -E tar xf "$work"/build/clgaze-*-windows-*.zip
    cd clgaze-*/bin
    ls -l
    run_windows
}

# Wine's OpenCL is that of this machine, and its user's folder lies in WINEPREFIX.
run_windows() {
    if ! command -v wine >/dev/null; then
        echo "wine is not installed (package wine64): compiled, not run"
        return
    fi
    export WINEPREFIX="$work/wine" WINEDEBUG=-all
    unset XDG_CACHE_HOME HOME
    for program in clgaze-run clgaze-tune bench_sparse; do
        wine "./$program.exe" --version 2>>"$work/log" | grep "^$program [0-9]"
    done
    devices=0
    wine ./clgaze-run.exe devices >"$work/devices" 2>>"$work/log" || devices=$?
    if [ $devices -ne 0 ]; then
        echo "wine shows no OpenCL device: $devices"
        return
    fi
    head -n 1 "$work/devices"
    quietly wine ./clgaze-run.exe check "$source"/tests/golden/select_*.safetensors
    quietly wine ./clgaze-tune.exe --problem 'pool f32 d64' --budget 60
    find "$WINEPREFIX" -path '*/AppData/Local/clgaze/*.tuning' | grep . || {
        echo "clgaze-tune kept no record in %LOCALAPPDATA%"
        exit 1
    }
}

case $how in
sources) fetch ;;
*) $how ;;
esac
