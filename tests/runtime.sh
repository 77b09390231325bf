#!/bin/sh
# runtime.sh NAME WORK CONSUMER TEST...: run the tests at tiny sizes on another
# runtime, or with another way of PoCL to compile a work-group:
# pocl_loops, pocl_loopvec, pocl_workitemloops, pocl_repl, rusticl, intel_cpu.
set -eu
name=$1
work=$2
consumer=$3
shift 3

# PoCL's cache does not tell the methods apart, and only a compilation shows
# whether this PoCL has the method: start from an empty cache.
rm -rf "$work"
mkdir -p "$work"
unset POCL_CACHE_DIR
export XDG_CACHE_HOME="$work" CLGAZE_TEST_SIZE=tiny

case $name in
pocl_*)
    platform='Portable Computing Language'
    export POCL_WORK_GROUP_METHOD="${name#pocl_}"
    ;;
rusticl)
    platform=rusticl
    export RUSTICL_ENABLE=llvmpipe
    ;;
intel_cpu) # not a package of Debian's: OCL_ICD_VENDORS may name a folder with its .icd
    platform='Intel(R) OpenCL'
    ;;
*)
    echo "unknown runtime $name"
    exit 1
    ;;
esac

# By index: other platforms' devices may have Intel in their names, too.
"$consumer" >"$work/devices"
line=$(grep -n "^$platform: " "$work/devices" | head -n 1 | cut -d : -f 1)
if [ -z "$line" ]; then
    echo "SKIPPED: no device of the platform $platform on this machine"
    exit 77
fi
export CLGAZE_TEST_DEVICE=$((line - 2)) # after the line with the version
sed -n "${line}p" "$work/devices"
for test in "$@"; do
    echo "== ${test##*/}"
    failed=0
    "$test" >"$work/log" 2>&1 || failed=$?
    if grep -q 'Unknown work group' "$work/log"; then
        echo "SKIPPED: this PoCL has no work-group method ${name#pocl_}"
        exit 77
    fi
    cat "$work/log"
    [ $failed -eq 0 ] || exit 1
done
