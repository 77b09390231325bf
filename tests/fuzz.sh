#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh SOURCE WORK CMAKE [FUZZER...]: build the fuzzers and run each for
# CLGAZE_FUZZ_SECONDS, 10 if that is not set, from its corpus in tests/corpus.  What
# is new stays in WORK/corpus; a finding fails and is printed in base64.
set -eu
source=$1
work=$2
cmake=$3
shift 3
seconds=${CLGAZE_FUZZ_SECONDS:-10}

if ! command -v clang >/dev/null; then
    echo "SKIPPED: clang is not installed"
    exit 77
fi
if ! echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return !p && n; }' |
    clang -x c - -fsanitize=fuzzer,address -o /dev/null 2>/dev/null; then
    echo "SKIPPED: this clang has no libFuzzer"
    exit 77
fi
mkdir -p "$work"
cd "$source"
if ! { "$cmake" --preset fuzz -B "$work" && "$cmake" --build "$work" --parallel 2 --target fuzz_programs; } \
    >"$work/build.log" 2>&1; then
    tail -n 60 "$work/build.log"
    exit 1
fi
[ $# -gt 0 ] || set -- "$source"/tests/fuzz_*.c
export OCL_ICD_VENDORS="${OCL_ICD_VENDORS:-/etc/OpenCL/vendors/pocl.icd}" XDG_CACHE_HOME="$work/test-cache"
export LSAN_OPTIONS="suppressions=$source/tests/lsan.supp:print_suppressions=0"
failed=0
for fuzzer in "$@"; do
    name=$(basename "$fuzzer" .c)
    word=${name#fuzz_}
    mkdir -p "$work/corpus/$word"
    case $word in # a context that lives to the end: what is left then is the runtime's
    lists) leaks=0 ;;
    *) leaks=1 ;;
    esac
    if "$work/tests/$name" "$work/corpus/$word" "$source/tests/corpus/$word" -max_total_time="$seconds" \
        -max_len=4096 -timeout=20 -close_fd_mask=3 -detect_leaks=$leaks -print_final_stats=1 \
        -artifact_prefix="$work/$word-" >"$work/$word.log" 2>&1; then
        sed -n 's/^stat::number_of_executed_units: */'"$name"': no finding, executions: /p' "$work/$word.log"
    else
        echo "$name: FAILED"
        tail -n 60 "$work/$word.log"
        failed=1
    fi
done
exit $failed
