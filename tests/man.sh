#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# man.sh MAN PROGRAM...: every option that a program's --help names stands in its man page, every page
# formats without a complaint, and no page names an option that the program has not.
set -eu
man=$1
shift
failed=0

words() { # the options of a text, one a line
    grep -oE -e '(^|[^a-z0-9-])--[a-z0-9][a-z0-9-]*' | grep -oE -e '--[a-z0-9-]*[a-z0-9]' | LC_ALL=C sort -u
}

for program in "$@"; do
    name=${program##*/}
    page=$man/$name.1
    if [ ! -e "$page" ]; then
        echo "$name has no man page $page"
        failed=1
        continue
    fi
    "$program" --help | words >"$name.help"
    sed 's/\\-/-/g' "$page" | words >"$name.page"
    for option in $(LC_ALL=C comm -23 "$name.help" "$name.page"); do
        echo "$name.1 says nothing of $option"
        failed=1
    done
    for option in $(LC_ALL=C comm -13 "$name.help" "$name.page"); do
        echo "$name.1 names $option, which $name --help does not"
        failed=1
    done
    grep -q "^$(echo "$name" | sed 's/-/\\\\*-/g') .*\\\\- " "$page" || {
        echo "$name.1 has no line NAME"
        failed=1
    }
    if command -v groff >/dev/null; then
        groff -man -Tutf8 -ww -z "$page" >"$name.said" 2>&1 || true
        if [ -s "$name.said" ]; then
            cat "$name.said"
            failed=1
        fi
    fi
    echo "$name: $(wc -l <"$name.help") options"
done
exit $failed
