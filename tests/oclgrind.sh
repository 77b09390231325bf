#!/bin/sh
# oclgrind.sh WORK TEST: run a test at tiny sizes under oclgrind, which reports
# data races, uninitialised reads and accesses out of bounds in its log.  Its
# exit code is the test's own: what counts is that the log stays empty.
set -eu
work=$1
test=$2

if ! command -v oclgrind >/dev/null; then
    echo "SKIPPED: oclgrind is not installed"
    exit 77
fi
rm -rf "$work"
mkdir -p "$work"
export XDG_CACHE_HOME="$work" CLGAZE_TEST_SIZE=tiny CLGAZE_TEST_DEVICE=Oclgrind

oclgrind --data-races --uninitialized --log "$work/log" "$test" || {
    echo "the test failed under oclgrind"
    [ -s "$work/log" ] && head -n 60 "$work/log"
    exit 1
}
if [ ! -e "$work/log" ]; then
    echo "oclgrind wrote no log: the test did not run on it"
    exit 1
fi
if [ -s "$work/log" ]; then
    echo "oclgrind reports:"
    head -n 60 "$work/log"
    exit 1
fi
