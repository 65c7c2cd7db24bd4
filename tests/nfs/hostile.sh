#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hostile.sh [STEP]
#
# Replies of a server that means ill: nfs_proxy hands on each STEPth reply of
# NFSv3, once each, as noise, with a word that is all ones, cut in its middle,
# and with a record said to be 2 GiB long. A conversion from there, and one there,
# ends in time and in 1 GiB of address space: with a target that is right, or
# with an error. (NFSv4.2's lies: test_nfs_session, fuzz mode nfs.)
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

step=${1:-1}
begin nfs-hostile
server_need
disk_make xfs 2G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk fragmented 4M 41 disk.raw
    qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
    mv disk.raw "$run/disk.raw"
    cp disk.qcow2 "$run/disk.qcow2"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async
server_out_of_grace

near='nfs://127.0.0.1/srv'
query="$server_query&timeout=1&patience=2&nfs42=0"
# Arenas of malloc take 64 MiB of addresses for each thread, used or not.
export MALLOC_ARENA_MAX=2
convert() { # SOURCE TARGET
    (ulimit -v 1048576 && exec timeout 30 "$DISKSHIFT" convert -q "$1" "$2") \
        >"$run/out" 2>"$run/err"
}
from_there() { # NAME
    rm -f "$run/target.vhdx"
    convert "$near/disk.qcow2$query" "$run/target.vhdx"
}
to_there() {
    convert "$run/disk.qcow2" "$near/$1.vhdx$query"
}

proxy 20048
mount_proxy=$spawned
judge() { # WHAT STATUS
    case $2 in
    0)
        [[ $1 == to_there* ]] || qemu-img compare -q -f vhdx -F raw \
            "$run/target.vhdx" "$run/disk.raw" || wrong+=("$1: differs")
        ;;
    1 | 3 | 4 | 5 | 6)
        grep -q '^diskshift: ' "$run/err" || wrong+=("$1: $2 without a word")
        [[ $1 == to_there* || ! -e $run/target.vhdx ]] ||
            wrong+=("$1: $2, and a target")
        ;;
    *) wrong+=("$1: exit status $2: $(head -c 200 "$run/err")") ;;
    esac
}

for way in from_there to_there; do
    proxy 2049
    $way calm || die "nothing wrong, and yet: $(cat "$run/err")"
    reap "$spawned"
    count=$(grep -c '^100003 ' "$run/calls.2049")
    for fault in noise word shorten swell; do
        wrong=() refused=0
        for ((n = 1; n <= count; n += step)); do
            proxy 2049 $fault "$n"
            $way "$fault.$n"
            status=$?
            reap "$spawned"
            judge "$way $fault $n" $status
            ((status == 0)) || refused=$((refused + 1))
        done
        if ((${#wrong[@]} == 0)); then
            case_ok "$way: $fault at each ${step}th of $count, $refused refused"
        else
            case_fail "$way: $fault at each ${step}th of $count" "${wrong[@]}"
        fi
    done
done
reap "$mount_proxy"

server_end
disk_mount
check "the source is as it was" cmp "$disk_at/disk.qcow2" "$run/disk.qcow2"
different() {
    local target
    for target in "$disk_at"/*.vhdx; do
        qemu-img compare -q -f vhdx -F raw "$target" "$run/disk.raw" ||
            echo "$target differs"
    done
}
check "each target that is there is whole" test -z "$(different)"
disk_unmount
finish
