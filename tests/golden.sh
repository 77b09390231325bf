#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# golden.sh CLGAZE-RUN FOLDER: check every golden case in a folder.
# FOLDER may be CLGAZE_GOLDEN_DIR: then the folder that this variable names, of
# which only the operations of this version are taken.
set -eu
run=$1
folder=$2

set --
if [ "$folder" = CLGAZE_GOLDEN_DIR ]; then
    folder=${CLGAZE_GOLDEN_DIR:-}
    if [ -z "$folder" ]; then
        echo "SKIPPED: CLGAZE_GOLDEN_DIR is not set"
        exit 77
    fi
    for file in "$folder"/*.safetensors; do
        case ${file##*/} in
        pool* | gate* | score* | select* | attend* | prefill* | truth* | distill*) set -- "$@" "$file" ;;
        esac
    done
else
    for file in "$folder"/*.safetensors; do
        [ -e "$file" ] && set -- "$@" "$file"
    done
fi
if [ $# -eq 0 ]; then
    echo "no golden case in $folder"
    exit 1
fi
if [ -n "${CLGAZE_TEST_DEVICE:-}" ]; then
    exec "$run" check "$@" --device "$CLGAZE_TEST_DEVICE"
fi
exec "$run" check "$@"
