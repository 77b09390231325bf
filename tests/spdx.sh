#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# spdx.sh SOURCE [write]: every source file names its licence in its first two lines; `write` adds the line
# where it is missing.
set -eu
cd "$1"
write=${2:-}
line='SPDX-License-Identifier: Apache-2.0'

find CMakeLists.txt .ci cmake include src cl ref tests tools tuning bench examples -name CMakeLists.txt -o -path .ci/run \
    -o -name '*.[ch]' -o -name '*.cl' -o -name '*.cpp' -o -name '*.def' -o -name '*.cmake' -o -name '*.sh' |
    LC_ALL=C sort | while read -r file; do
    head -n 2 "$file" | grep -q -F "$line" && continue
    if [ -z "$write" ]; then
        echo "$file does not name its licence"
        continue
    fi
    case $file in
    cmake/*.def) sed -i "1i ; $line" "$file" ;;
    *.c | *.h | *.cl | *.cpp | *.def) sed -i "1i /* $line */" "$file" ;;
    *.sh | .ci/run) sed -i "1a # $line" "$file" ;;
    *) sed -i "1i # $line" "$file" ;;
    esac
done | { if grep .; then exit 1; fi; }
