#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh SOURCE WORK STUB TEST... -- COMMAND...: host code under valgrind, with tests/stub in
# the place of OpenCL, and one command on PoCL.  Nothing is to be reported but what
# tests/valgrind.supp names, of the runtimes.  A TEST is a program with its arguments, in one word.
set -eu
source=$1
work=$2
stub=$3
shift 3

if ! command -v valgrind >/dev/null; then
    echo "SKIPPED: valgrind is not installed"
    exit 77
fi
mkdir -p "$work"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$work/cache}" CLGAZE_TEST_SIZE=tiny
failed=0

watch() { # COMMAND...
    name=$(basename "$1")
    if valgrind -q --error-exitcode=9 --suppressions="$source/tests/valgrind.supp" --leak-check=full \
        --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect "$@" >"$work/log" 2>&1; then
        echo "$name: nothing reported"
    else
        echo "$name: FAILED"
        cat "$work/log"
        failed=1
    fi
}

export LD_PRELOAD="$stub"
while [ "$1" != -- ]; do
    # shellcheck disable=SC2086 # a test and its arguments
    watch $1
    shift
done
shift
unset LD_PRELOAD
export OCL_ICD_VENDORS="${OCL_ICD_VENDORS:-/etc/OpenCL/vendors/pocl.icd}"
if [ -f "$OCL_ICD_VENDORS" ]; then
    watch "$@"
fi
exit $failed
