#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# matrix.sh NAME WORK CONSUMER PROGRAM...: run programs at tiny sizes on another
# runtime, or with another way of PoCL to compile a work-group: pocl_loops,
# pocl_loopvec, pocl_workitemloops, pocl_repl, rusticl, intel_cpu, nvidia.
#
# A program is a test, or clgaze-run: then its self-test and the golden cases.  Each may take
# CLGAZE_MATRIX_SECONDS, 300 if that is not set; one that takes longer is SKIPPED:
# some runtimes are a thousand times slower than others.
set -eu
name=$1
work=$2
consumer=$3
shift 3
most=${CLGAZE_MATRIX_SECONDS:-300}

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
nvidia)
    platform='NVIDIA CUDA'
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
failed=0
measure() { # TITLE COMMAND...
    title=$1
    shift
    case $name/$title in
    pocl_repl/test_pool | pocl_repl/test_gate) ;;
    pocl_repl/*) # which writes a kernel out anew for each work-item of a group
        echo "SKIPPED: $title on $name: minutes to compile a kernel"
        return
        ;;
    esac
    code=0
    start=$(date +%s)
    timeout "$most" "$@" >"$work/log" 2>&1 || code=$?
    echo "== $title, $(($(date +%s) - start)) s"
    if grep -q 'Unknown work group' "$work/log"; then
        echo "SKIPPED: this PoCL has no work-group method ${name#pocl_}"
        exit 77
    fi
    [ $code -eq 0 ] || [ $code -eq 77 ] || tail -n 60 "$work/log"
    case $code in
    0) tail -n 12 "$work/log" ;;
    77) grep SKIPPED "$work/log" ;;
    124) echo "SKIPPED: $title on $name: not done in $most s" ;;
    *)
        echo "$title FAILED on $name: $code"
        failed=1
        ;;
    esac
}
for program in "$@"; do
    case ${program##*/} in
    clgaze-run)
        measure selftest "$program" selftest --device "$CLGAZE_TEST_DEVICE"
        measure golden sh "${0%/*}/golden.sh" "$program" "${0%/*}/golden"
        ;;
    *) measure "${program##*/}" "$program" ;;
    esac
done
exit $failed
