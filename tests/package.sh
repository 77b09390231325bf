#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# package.sh SOURCE WORK CMAKE: Debian's packages and the relocatable archive, made, looked into and run
# from folders that they were not made for.  Without a device the programs still say what they are.
set -eu
source=$1
work=$2
cmake=$3
golden="$source"/tests/golden/select_values.safetensors

for tool in cpack dpkg-deb dpkg-shlibdeps readelf; do
    command -v $tool >/dev/null || {
        echo "SKIPPED: $tool is not installed (packages cmake, dpkg-dev, binutils)"
        exit 77
    }
done
rm -rf "$work"
mkdir -p "$work/home"

quietly() { # COMMAND...: its output only if it fails
    "$@" >>"$work/log" 2>&1 || {
        tail -n 60 "$work/log"
        exit 1
    }
}

pack() { # FOLDER GENERATOR OPTION...
    folder=$work/$1
    generator=$2
    shift 2
    quietly "$cmake" -S "$source" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DCLGAZE_BUILD_TESTS=OFF \
        -DCLGAZE_BUILD_EXAMPLES=OFF "$@"
    quietly "$cmake" --build "$folder" --parallel 2
    (cd "$folder" && quietly cpack -G "$generator")
}

holds() { # PACKAGE NAME...: these files, whatever folder of libraries this machine has
    package=$1
    shift
    dpkg-deb -c "$package" | awk '{ print $6 }' >"$work/names"
    for name in "$@"; do
        grep -qE "$name" "$work/names" || {
            echo "${package##*/} holds no $name:"
            cat "$work/names"
            exit 1
        }
    done
}

# The programs in BIN say what they are, and compute if there is a device.
runs() { # BIN
    for program in clgaze-run clgaze-tune clgaze-distill clgaze-llama; do
        env -i HOME="$work/home" "$1/$program" --version | grep "^$program [0-9]"
    done
    for program in bench_sparse bench_ops; do
        env -i HOME="$work/home" "$1/$program" --help | grep "^$program: "
    done
    code=0
    (cd / && HOME="$work/home" "$1/clgaze-run" check "$golden") || code=$?
    [ $code -eq 0 ] || [ $code -eq 3 ] # 3: no device
}

pack deb DEB -DCMAKE_INSTALL_PREFIX=/usr
holds "$work"/deb/libclgaze1_*.deb '/libclgaze\.so\.1$' '/libclgaze\.so\.1\.[0-9.]*$' '/doc/libclgaze1/copyright$'
holds "$work"/deb/libclgaze-dev_*.deb '/include/clgaze/clgaze\.h$' '/libclgaze\.a$' '/libclgaze\.so$' \
    '/pkgconfig/clgaze\.pc$' '/cmake/clgaze/clgazeConfig\.cmake$' '/doc/libclgaze-dev/copyright$'
for name in clgaze-run clgaze-tune clgaze-distill clgaze-llama bench_sparse bench_ops; do
    holds "$work"/deb/clgaze-tools_*.deb '/doc/clgaze-tools/copyright$' "/bin/$name\$" "/man1/$name\.1$"
done
dpkg-deb -I "$work"/deb/libclgaze1_*.deb shlibs | grep '^libclgaze 1 libclgaze1'
for package in "$work"/deb/*.deb; do
    echo "== ${package##*/} depends on $(dpkg-deb -f "$package" Depends)"
    dpkg-deb -x "$package" "$work/root"
done
runs "$work/root/usr/bin"

pack tgz TGZ -DCLGAZE_BUNDLE=ON -DCLGAZE_WITH_CLBLAST=OFF -DCLGAZE_NOTICES=/usr/share/doc/libcjson1/copyright
mkdir "$work/elsewhere"
tar xzf "$work"/tgz/clgaze-*.tar.gz -C "$work/elsewhere"
mv "$work"/elsewhere/clgaze-* "$work/elsewhere/moved"
moved=$work/elsewhere/moved
# shellcheck disable=SC2016 # as it stands in the file
readelf -d "$moved/bin/clgaze-run" | grep -F '$ORIGIN/../lib'
foreign=$(ldd "$moved"/bin/* | sed -n 's/^\t\([^ ]*\).*/\1/p' | sort -u |
    grep -v -e '^libOpenCL' -e '^libcjson' -e '^libc\.' -e '^libm\.' -e ld-linux -e linux-vdso || true)
if [ -n "$foreign" ]; then
    echo "the archive's programs need $foreign"
    exit 1
fi
ldd "$moved/bin/clgaze-run" | grep "libcjson.* => $moved/"
echo "needs of the C library: $(readelf -V "$moved"/bin/* | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)"
ls "$moved/share/doc/clgaze"
runs "$moved/bin"
