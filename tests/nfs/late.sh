#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A server that is far away: nfs_proxy hands on each reply 100 ms late. Of what
# is long several calls are in flight, so that it takes a small part of the
# time that one after the other would take; and no more than are admitted.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

begin nfs-late
server_need
mib=32 late_ms=100 flight_max=16
disk_make xfs 2G
disk_mount
(
    cd "$disk_at" || exit 1
    head -c 1M /dev/urandom >small.raw
    head -c ${mib}M /dev/urandom >large.raw
    cp small.raw small.same.raw
    cp small.raw small.other.raw
    cp large.raw large.same.raw
    cp large.raw large.other.raw
    printf X | dd of=large.other.raw bs=1 seek=$((mib * 1048576 - 5000)) \
        conv=notrunc status=none
    cp small.raw large.raw "$run/"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async
server_out_of_grace

proxy 20048
mount_proxy=$spawned
near='nfs://127.0.0.1/srv'
query=$server_query

# How long the command takes, in ms, and what went through.
took=
timed() { # WHAT EXIT COMMAND...
    local what=$1 exit=$2 begun
    shift 2
    proxy 2049 late $late_ms
    begun=$(date +%s%N)
    status "$what" "$exit" timeout 60 "$@"
    took=$((($(date +%s%N) - begun) / 1000000))
    reap "$spawned"
}

# The command with @ for a disk of 1 MiB, and for the large one: what the large
# one takes more is so many calls at least and a third of their time at most.
far() { # WHAT EXIT CALLS PROCEDURE COMMAND...
    local what=$1 exit=$2 least=$3 procedure=$4 small calls flying
    shift 4
    timed "$what, small" 0 "${@//@/small}"
    small=$took
    timed "$what" "$exit" "${@//@/large}"
    calls=$(grep -cE "^100003 3 ($procedure)\$" "$run/calls.2049")
    flying=$(sed -n 's/^flying //p' "$run/calls.2049" | tail -n 1)
    check "$what: $calls calls of $late_ms ms" test "$calls" -ge "$least"
    check "$what: $took ms, small $small" \
        test $(((took - small) * 3)) -lt $((least * late_ms))
    check "$what: $flying in flight" test "$flying" -ge 8 \
        -a "$flying" -le $flight_max
}

far "verify" 0 $((2 * mib)) 6 \
    "$DISKSHIFT" verify "$near/@.raw$query" "$near/@.same.raw"
far "verify what differs" 1 $((2 * mib)) 6 \
    "$DISKSHIFT" verify "$near/@.raw$query" "$near/@.other.raw"
far "verify against what is here" 0 $mib 6 \
    "$DISKSHIFT" verify "$near/@.raw$query" "$run/@.raw"
far "copy from there" 0 $mib 6 \
    "$DISKSHIFT" convert -q "$near/@.raw$query" "$run/@.qcow2"
check "QEMU reads it" qemu-img compare -q -F raw "$run/large.qcow2" \
    "$run/large.raw"
far "copy to there and read it back" 0 $((2 * mib)) '6|7' \
    "$DISKSHIFT" convert -q "$run/@.raw" "$near/@.there.qcow2$query"
far "copy there" 0 $((2 * mib)) '6|7' \
    "$DISKSHIFT" convert -q --no-verify "$near/@.raw$query&nfs42=0" \
    "$near/@.copied.qcow2"
reap "$mount_proxy"

server_end
disk_mount
for name in there copied; do
    check "QEMU reads $name" qemu-img compare -q -F raw \
        "$disk_at/large.$name.qcow2" "$run/large.raw"
done
disk_unmount
finish
