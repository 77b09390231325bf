#!/bin/sh
# sanitize.sh PRESET SOURCE WORK CMAKE TEST...: build with the flags of a preset of
# CMakePresets.json and run tests at tiny sizes.  A TEST is test_x, or a command
# in the build folder with its arguments, in one word.
#
# PoCL alone: Mesa's libraries abort under the address sanitizer.  What PoCL compiles
# leaks inside LLVM the first time: a test of which only leaks are reported runs again.
set -eu
preset=$1
source=$2
work=$3
cmake=$4
shift 4

icd=
for file in ${OCL_ICD_VENDORS:-} /etc/OpenCL/vendors/pocl.icd; do
    [ -f "$file" ] && icd=$file
done
if [ -z "$icd" ]; then
    echo "SKIPPED: there is no pocl.icd"
    exit 77
fi
cd "$source"
"$cmake" --preset "$preset" -B "$work" -DCLGAZE_BUILD_EXAMPLES=OFF >"$work.log" 2>&1 || {
    cat "$work.log"
    exit 1
}
targets=
for test in "$@"; do
    targets="$targets ${test%% *}"
done
# shellcheck disable=SC2086 # targets are words
"$cmake" --build "$work" --parallel 2 --target $targets >"$work.log" 2>&1 || {
    cat "$work.log"
    exit 1
}

export OCL_ICD_VENDORS="$icd" XDG_CACHE_HOME="$work/test-cache" CLGAZE_TEST_SIZE=tiny
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS="suppressions=$source/tests/lsan.supp:print_suppressions=0"
export TSAN_OPTIONS=second_deadlock_stack=1
failed=0
for test in "$@"; do
    code=0
    # shellcheck disable=SC2086 # a test and its arguments
    "$work/tests/"$test >"$work.log" 2>&1 || code=$?
    if [ $code -ne 0 ] && grep -q 'LeakSanitizer' "$work.log" &&
        ! grep -q 'AddressSanitizer: [a-z]*-\|runtime error\|FAILED' "$work.log"; then
        code=0 # leaks alone: perhaps of a first compilation
        # shellcheck disable=SC2086
        "$work/tests/"$test >"$work.log" 2>&1 || code=$?
    fi
    if [ $code -eq 0 ] || [ $code -eq 77 ]; then
        echo "$test: $(grep -m 1 SKIPPED "$work.log" || echo nothing reported)"
    else
        echo "$test: FAILED"
        cat "$work.log"
        failed=1
    fi
done
exit $failed
