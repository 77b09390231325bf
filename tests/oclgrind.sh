#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# oclgrind.sh WORK KERNELS TEST: run a test at tiny sizes under oclgrind, which
# reports data races, uninitialised reads and accesses out of bounds in its log.
# Its exit code is the test's own: what counts is that the log stays empty, but
# for kernels that are not in the folder KERNELS (CLBlast has its own).
# CLGAZE_OCLGRIND_SHARE=N: every N-th shape only. CLGAZE_OCLGRIND_SECONDS: a test
# that takes longer is SKIPPED, if there is no report until then.
#
# The compiler must not optimise: oclgrind 21.10 cannot run what comes of it
# ("Unsupported instruction: freeze").
set -eu
work=$1
kernels=$2
test=$3

if ! command -v oclgrind >/dev/null; then
    echo "SKIPPED: oclgrind is not installed"
    exit 77
fi
rm -rf "$work"
mkdir -p "$work"
export XDG_CACHE_HOME="$work" CLGAZE_TEST_SIZE=tiny CLGAZE_TEST_DEVICE=Oclgrind
export CLGAZE_TEST_SHARE="${CLGAZE_OCLGRIND_SHARE:-1}"

code=0
timeout "${CLGAZE_OCLGRIND_SECONDS:-0}" oclgrind --data-races --uninitialized --build-options -cl-opt-disable \
    --log "$work/log" "$test" || code=$?
if [ ! -e "$work/log" ]; then
    echo "oclgrind wrote no log: the test did not run on it"
    exit 1
fi

# A report is a paragraph with a line "Kernel: name".
grep -ho 'void *[a-z_0-9]*(\|^[a-z_0-9]*(' "$kernels"/*.cl | sed 's/void *//; s/(//' | LC_ALL=C sort -u >"$work/ours"
awk -v ours="$work/ours" '
    BEGIN { while ((getline name < ours) > 0) own[name] = 1; RS = ""; ORS = "\n\n" }
    { name = $0; foreign = sub(/.*Kernel: */, "", name); sub(/[^A-Za-z0-9_].*/, "", name) }
    !foreign || name in own' "$work/log" >"$work/reports"
if [ -s "$work/reports" ]; then
    echo "oclgrind reports:"
    head -n 60 "$work/reports"
    exit 1
fi
case $code in
0) ;;
124)
    echo "SKIPPED: ${test##*/}: no report, but not done in $CLGAZE_OCLGRIND_SECONDS s"
    code=77
    ;;
*) echo "the test failed under oclgrind" ;;
esac
exit $code
