#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tests' own tools: what they make is gone afterwards, also after kill -9,
# and what must be noticed is noticed.
source "$(dirname "$0")/lib.bash"
begin lib

# What a script leaves: its directory, mounts, loop devices, processes.
remains() {
    local pid found=0
    [[ ! -e $1 ]] || { echo "directory $1" && found=1; }
    grep -F "$1" /proc/self/mounts && found=1
    losetup -ln -O BACK-FILE | grep -F "$1/" && found=1
    for pid in /proc/[0-9]*/environ; do
        grep -qzxF "DS_RUN=$1" "$pid" 2>/dev/null && echo "$pid" && found=1
    done
    return $found
}

gone() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        remains "$1" >/dev/null && return 0
        sleep 0.1
    done
    remains "$1"
    return 1
}

# other SIGNAL: a script with file systems and processes dies by SIGNAL.
other() {
    local other place
    env -u DS_RUN bash -c '
        source "$1/lib.bash"
        begin other
        xfs=$(fs_make xfs 400M) btrfs=$(fs_make btrfs 200M)
        spawn sleep 1000
        (cd "$xfs" && exec sleep 1001) &
        echo "$run" >"$2"
        wait' - "$lib_dir" "$run/other" >/dev/null 2>&1 &
    other=$!
    while [[ ! -s $run/other ]]; do
        kill -0 $other 2>/dev/null || break
        sleep 0.05
    done
    place=$(<"$run/other")
    check "$1: file systems are mounted" \
        test "$(grep -cF "$place" /proc/self/mounts)" = 2
    kill -"$1" $other
    wait $other 2>/dev/null
    check "$1: nothing is left" gone "$place"
    rm -f "$run/other"
}

helpers() {
    local at
    for kind in xfs btrfs; do
        at=$(fs_make $kind 400M)
        mkdisk dense 1M 1 "$at/a"
        mkdisk dense 1M 1 "$at/b"
        cp --reflink=always "$at/a" "$at/c"
        check "$kind: equal contents are not shared blocks" test \
            "$(fiemap "$at/a" -- "$at/b" | cut -d' ' -f2)" = 0
        check "$kind: a clone is" test \
            "$(fiemap "$at/a" -- "$at/c" | cut -d' ' -f2)" = 1048576
        dd if=/dev/zero of="$at/c" bs=4k count=1 conv=notrunc,fsync status=none
        check "$kind: a rewritten block is not" test \
            "$(fiemap "$at/a" -- "$at/c" | cut -d' ' -f2)" = $((1048576 - 4096))
    done
    mkdisk dense 1M 2 "$run/d"
    check "mkdisk: no two sectors alike" test \
        "$(xxd -p -c 512 "$run/d" | sort | uniq -d | wc -l)" = 0
    mkdisk tag SECRET "$run/d" 123904 512
    check "leakscan finds a tag" test \
        "$(leakscan "$run/d" OTHER SECRET)" = "SECRET 85 123904"
    check "leakscan finds no other" leakscan "$run/d" OTHER
}

# In a subshell: its failures are expected and must not count as ours.
failing() {
    (
        failures=0 cases=0
        "$@" >/dev/null
        ((failures == 1))
    )
}

cases_fail() {
    check "check notices a failure" failing check x false
    check "status notices a wrong one" failing status x 3 true
    check "said notices what was not said" failing said x nothing
}

other TERM
other KILL
helpers
cases_fail
finish
