#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The installed library as its users meet it: headers that compile alone as
# C11 and C++, pkg-config, the CMake package, shared and static, and nothing
# exported but ds_*.
# usage: test_install.sh BUILD_DIRECTORY SCRATCH
set -euo pipefail
build=$1
scratch=$2/install.$$
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"
root=$scratch/root
cmake --install "$build" --prefix "$root" >"$scratch/log"
libdir=$(dirname "$(find "$root" -name libdiskshift.a)")
pass() { echo "ok: $1"; }

for header in "$root"/include/diskshift/*.h; do
    name=diskshift/$(basename "$header")
    echo "#include <$name>" >"$scratch/alone.c"
    cp "$scratch/alone.c" "$scratch/alone.cc"
    cc -std=c11 -pedantic -Wall -Wextra -Werror -I"$root/include" \
        -fsyntax-only "$scratch/alone.c"
    c++ -std=c++11 -pedantic -Wall -Wextra -Werror -I"$root/include" \
        -fsyntax-only "$scratch/alone.cc"
    pass "$name compiles alone as C11 and C++"
done

cat >"$scratch/user.c" <<'END'
#include <stdio.h>
#include <diskshift/diskshift.h>
int main(void)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;
    int result = ds_disk_open("/nonexistent", NULL, &disk, &err);

    printf("%s %s\n", ds_version(), ds_error_class_name(err.error_class));
    return result == -DS_ERR_SYSTEM ? 0 : 1;
}
END
export PKG_CONFIG_PATH=$libdir/pkgconfig
pc() { pkg-config --define-variable=prefix="$root" "$@"; }
# The words of pkg-config are meant to be split.
# shellcheck disable=SC2046
cc "$scratch/user.c" -o "$scratch/shared" $(pc --cflags --libs diskshift)
LD_LIBRARY_PATH=$libdir "$scratch/shared"
pass "linked by pkg-config, shared"
# shellcheck disable=SC2046
cc "$scratch/user.c" -o "$scratch/static" $(pc --cflags diskshift) \
    "$libdir/libdiskshift.a" -pthread \
    $(pkg-config --libs $(pc --print-requires-private diskshift))
"$scratch/static"
pass "linked with the static library"

mkdir "$scratch/project"
cp "$scratch/user.c" "$scratch/project"
cat >"$scratch/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(diskshift 0.1 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE diskshift::diskshift)
add_executable(user_static user.c)
target_link_libraries(user_static PRIVATE diskshift::diskshift-static)
END
cmake -S "$scratch/project" -B "$scratch/project/build" -G Ninja \
    -DCMAKE_PREFIX_PATH="$root" >"$scratch/log" 2>&1 ||
    { cat "$scratch/log"; exit 1; }
cmake --build "$scratch/project/build" >"$scratch/log" 2>&1 ||
    { cat "$scratch/log"; exit 1; }
"$scratch/project/build/user"
"$scratch/project/build/user_static"
pass "linked by the CMake package, both libraries"

foreign=$(nm -D --defined-only "$libdir/libdiskshift.so" |
    awk '$2 != "A" && $3 !~ /^ds_/ { print $3 }')
[ -z "$foreign" ] || { echo "exported beyond ds_*: $foreign"; exit 1; }
pass "only ds_* is exported"
lacking=$(comm -23 \
    <(grep -ohzP 'DS_PUBLIC[^;]*?\bds_\w+(?=\()' "$root"/include/diskshift/*.h |
        tr '\0' '\n' | grep -o 'ds_[a-z0-9_]*$' | sort -u) \
    <(nm -D --defined-only "$libdir/libdiskshift.so" |
        awk '$3 ~ /^ds_/ { print $3 }' | sed 's/@.*//' | sort -u))
[ -z "$lacking" ] || { echo "declared and not exported: $lacking"; exit 1; }
pass "all that the headers declare is exported"

for file in bin/diskshift share/man/man1/diskshift.1 \
    share/bash-completion/completions/diskshift; do
    [ -e "$root/$file" ] || { echo "not installed: $file"; exit 1; }
    pass "$file is installed"
done

if [ -x "$build/tools/orchestrator/diskshift-migrate" ]; then
    "$root/bin/diskshift" migrate --help >"$scratch/help" &&
        grep -q '^  rollback ' "$scratch/help" ||
        { echo "diskshift migrate does not find its program"; exit 1; }
    [ -e "$root/share/man/man1/diskshift-migrate.1" ] ||
        { echo "its manual is not installed"; exit 1; }
    pass "diskshift migrate finds its program"
fi
