#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# offline.sh VARIANTS TARGET WORK: compile every kernel that TARGET may run, with
# default values and a sample of its space, for problems of many kinds; no card
# is needed.  TARGET is a processor of AMD's (gfx1100), of Intel's (dg2), or
# spir64: LLVM's intermediate form, which says nothing of registers.
#
# Fails if a kernel does not compile, or keeps registers in memory at default
# values.  The last lines are a table: of each kernel function the most that any
# default variant needs, and the fewest work-items in step.  CLGAZE_CLANG,
# CLGAZE_LIBCLC (the folder that holds amdgcn--amdhsa.bc) and CLGAZE_OCLOC say where
# these are.  CLGAZE_OFFLINE_SHARE=N: of each kernel's variants every N-th only.
set -eu
variants=$1
target=$2
work=$3
share=${CLGAZE_OFFLINE_SHARE:-1}
clang=${CLGAZE_CLANG:-clang-19}
libclc=${CLGAZE_LIBCLC:-/usr/lib/clc}
ocloc=${CLGAZE_OCLOC:-ocloc}

skip() {
    echo "SKIPPED: $target: $1"
    exit 77
}
has() { command -v "$1" >/dev/null 2>&1; }

# unpack FOLDER PACKAGE...: what Debian's packages hold, not installed: Intel's runtime
# would be loaded by every program here, and aborts under the sanitizers.
unpack() (
    mkdir -p "$1" && cd "$1" || exit 1
    shift
    exec 9>lock
    if has flock; then
        flock 9
    fi
    [ -e unpacked ] && exit 0
    has apt-get && has dpkg && apt-get download "$@" >log 2>&1 || exit 1
    for package in *.deb; do
        dpkg -x "$package" . || exit 1
        rm "$package"
    done
    touch unpacked
)

# Its local memory, and the largest work-group that its runtime offers.
kinds=gpu
local=65536
group=256
case $target in
gfx*)
    maker=amd
    has "$clang" || skip "$clang is not installed"
    [ -e "$libclc/amdgcn--amdhsa.bc" ] || skip "there is no $libclc/amdgcn--amdhsa.bc (package libclc-19)"
    readelf=$("$clang" -print-prog-name=llvm-readelf)
    has "$readelf" || skip "llvm-readelf is not installed"
    ;;
spir64)
    maker=spir
    kinds='gpu cpu'
    group=1024
    has "$clang" || skip "$clang is not installed"
    ;;
*)
    maker=intel
    if [ -z "${CLGAZE_OCLOC:-}" ] && ! has ocloc &&
        unpack "$work/../ocloc" intel-opencl-icd libigc1 libigdfcl1 libigdgmm12 libllvmspirvlib14 libopencl-clang14; then
        ocloc=$(cd "$work/../ocloc" && pwd)/usr/bin/ocloc
        LD_LIBRARY_PATH=$(dirname "$ocloc")/../lib/$(uname -m)-linux-gnu:${LD_LIBRARY_PATH:-}
        export LD_LIBRARY_PATH
    fi
    has "$ocloc" || skip "$ocloc is not installed, and Debian's package intel-opencl-icd cannot be had"
    has llvm-objcopy || skip "llvm-objcopy is not installed"
    ;;
esac
rm -rf "$work"
mkdir -p "$work"

# compile_<maker> SOURCE OPTIONS: a line for each kernel function, with
# its name, registers, work-items in step, bytes of local memory, bytes of
# private memory, registers spilled.
compile_amd() {
    # shellcheck disable=SC2086 # options are words
    "$clang" -x cl $2 -target amdgcn-amd-amdhsa -mcpu="$target" -nogpulib -Xclang -mlink-builtin-bitcode \
        -Xclang "$libclc/amdgcn--amdhsa.bc" -Wno-linker-warnings -c "$1" -o "$work/o" || return 1
    "$readelf" --notes "$work/o" | awk '
        { sub(/^ *- /, "") }
        $1 == ".agpr_count:" { agpr = $2 }
        $1 == ".group_segment_fixed_size:" { lds = $2 }
        $1 == ".private_segment_fixed_size:" { scratch = $2 }
        $1 == ".symbol:" { name = $2; sub(/\.kd$/, "", name) }
        $1 == ".vgpr_count:" { vgpr = $2 }
        $1 == ".vgpr_spill_count:" { spill = $2 }
        $1 == ".wavefront_size:" { print name, vgpr, $2, lds, scratch, spill }'
}
compile_spir() {
    # shellcheck disable=SC2086
    "$clang" -x cl $2 -target spir64 -emit-llvm -c "$1" -o "$work/o" # and no line
}
compile_intel() {
    "$ocloc" compile -device "$target" -file "$1" -options "$2" -internal_options -cl-intel-allow-zebin \
        -output o -out_dir "$work" >"$work/said" 2>&1 || {
        cat "$work/said"
        return 1
    }
    llvm-objcopy -O binary --dump-section .ze_info="$work/info" "$work"/o_*.bin /dev/null
    awk -v said="$work/said" '
        BEGIN {
            while ((getline line < said) > 0)
                if (line ~ /spilled around/) { n = split(line, w, " "); spilled[w[3]] = w[n] }
        }
        /^kernels:/ { on = 1 }
        /^kernels_misc_info:|^\.\.\./ { put(); on = 0 }
        on && /^  - name:/ { put(); name = $3; slm = bytes = memory = 0 }
        /grf_count:/ { grf = $2 }
        /simd_size:/ { simd = $2 }
        /slm_size:/ { slm = $2 }
        /per_thread_memory_buffers:/ { memory = 1 }
        memory && $1 == "size:" { bytes += $2 }
        function put() { if (on && name) print name, grf, simd, slm, bytes, spilled[name] + 0; name = "" }
        ' "$work/info"
}

tab=$(printf '\t')
failed=0
for kind in $kinds; do
    "$variants" "$work" $kind $local $group >"$work/list.all"
    awk -F "$tab" -v share="$share" '/^#/ || n[$2]++ % share == 0' "$work/list.all" >"$work/list"
    while IFS=$tab read -r what kernel values options; do
        case $what in
        '#'*)
            echo "$what"
            continue
            ;;
        esac
        compile_$maker "$work/$kernel.cl" "$options" >"$work/lines" 2>"$work/errors" || {
            echo "$target: $values does not compile with $options"
            head -n 20 "$work/lines" "$work/errors"
            failed=1
        }
        cat "$work/errors"
        sed "s/^/$what $kernel /; s/\$/ $tab$values/" "$work/lines" >>"$work/all"
    done <"$work/list"
    echo "$kind: $(grep -vc '^#' "$work/list") variants"
done
touch "$work/all"
awk '$1 == "sample" && $8 > 0 { n++ } END { if (n) print n " functions of the samples spill" }' "$work/all"
if awk '$1 == "default" && $8 > 0' "$work/all" | grep .; then
    echo "these spill at default values"
    failed=1
fi
[ $maker != spir ] || exit $failed
echo "kernel function registers items_in_step local private spilled"
awk '$1 == "default" {
        k = $2 " " $3
        if (!(k in seen)) { order[++n] = k; seen[k] = 1; step[k] = $5 }
        if ($5 < step[k]) step[k] = $5
        for (i = 4; i <= 8; i++) if ($i > most[k, i] + 0) most[k, i] = $i + 0
    }
    END {
        for (j = 1; j <= n; j++) {
            k = order[j]
            print k, most[k, 4], step[k], most[k, 6] + 0, most[k, 7] + 0, most[k, 8] + 0
        }
    }' "$work/all"
exit $failed
