#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sanitize.sh PRESET SOURCE WORK CMAKE TEST...: build with the flags of a preset of
# CMakePresets.json and run tests at tiny sizes.  A TEST is test_x, or a command
# in the build folder with its arguments, in one word.
#
# Compiled kernels come from XDG_CACHE_HOME, those of the other tests.  asan and tsan: PoCL
# alone, as Mesa's libraries abort under the address sanitizer.  msan: tests/stub/opencl.c
# alone, as a runtime would have to be built for it.
set -eu
preset=$1
source=$2
work=$3
cmake=$4
shift 4

opencl=
if [ "$preset" = msan ]; then
    if ! echo 'int main(void) { return 0; }' | clang -x c - -fsanitize=memory -o /dev/null 2>/dev/null; then
        echo "SKIPPED: there is no clang with the memory sanitizer"
        exit 77
    fi
    opencl=-DOpenCL_LIBRARY=$work/tests/libstub_opencl.so
else
    icd=
    for file in ${OCL_ICD_VENDORS:-} /etc/OpenCL/vendors/pocl.icd; do
        [ -f "$file" ] && icd=$file
    done
    if [ -z "$icd" ]; then
        echo "SKIPPED: there is no pocl.icd"
        exit 77
    fi
    export OCL_ICD_VENDORS="$icd"
fi
cd "$source"
targets=
for test in "$@"; do
    targets="$targets ${test%% *}"
done
# shellcheck disable=SC2086 # targets are words; the stub comes first, the others are linked with it
{
    "$cmake" --preset "$preset" -B "$work" -DCLGAZE_BUILD_EXAMPLES=OFF $opencl &&
        "$cmake" --build "$work" --parallel 2 --target stub_opencl &&
        "$cmake" --build "$work" --parallel 2 --target $targets
} >"$work.log" 2>&1 || {
    cat "$work.log"
    exit 1
}

export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$work/test-cache}" CLGAZE_TEST_SIZE=tiny
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS="suppressions=$source/tests/lsan.supp:print_suppressions=0"
export TSAN_OPTIONS=second_deadlock_stack=1

run() { # TEST
    # shellcheck disable=SC2086 # a test and its arguments
    "$work/tests/"$1 >"$work.log" 2>&1
}

failed=0
for test in "$@"; do
    code=0
    run "$test" || code=$?
    if grep -q 'LeakSanitizer has encountered a fatal error' "$work.log"; then
        code=0 # it could not look: a thread of the runtime ended the while
        run "$test" || code=$?
    fi
    if [ $code -eq 0 ] || [ $code -eq 77 ]; then
        echo "$test: $(grep -m 1 SKIPPED: "$work.log" || echo nothing reported)"
    else
        echo "$test: FAILED"
        cat "$work.log"
        failed=1
    fi
done
exit $failed
