#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# faults.sh [STEP]
#
# Between us and a kernel NFS server stands nfs_proxy. At each STEPth call of a
# conversion, once each: the connection is cut in place of the reply, the reply
# is dropped, the call and the two behind it are put off (JUKEBOX, DELAY). The
# conversion goes on and makes the same target, and leaves nothing else.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

step=${1:-1}
begin nfs-faults
server_need
disk_make xfs 2G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk fragmented 8M 41 disk.raw
    qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
    mv disk.raw "$run/disk.raw"
    # Held by an ESXi, as a file beside it says.
    mkdir held
    cp disk.qcow2 held/disk.qcow2
    echo esx-3 >"held/.lck-$(printf %016x "$(stat -c %i held/disk.qcow2)" |
        fold -w2 | tac | tr -d '\n')"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async
server_out_of_grace

near='nfs://127.0.0.1/srv'
query="$server_query&timeout=1&patience=20"
convert() { # NAME
    timeout 60 "$DISKSHIFT" convert -q --no-verify --require-clone \
        "$near/disk.qcow2$query" "$near/$1" >"$run/out" 2>"$run/err"
}

proxy 20048
mount_proxy=$spawned
proxy 2049
convert calm.vhdx || die "nothing wrong, and yet: $(cat "$run/err")"
reap "$spawned"
count=$(grep -c '^100003 ' "$run/calls.2049")
check "a conversion takes 30 calls at least, $count" test "$count" -ge 30

# A listing of the directory that is not answered says nothing of VMware's
# locks: it is asked for again.
listings() { grep -c '^100003 3 16$' "$run/calls.2049"; }
asked=$(listings)
proxy 2049 lose 16
convert listing.vhdx || die "no answer to a READDIR: $(cat "$run/err")"
check "the listing that got no answer was asked for again" \
    test "$(listings)" = $((asked + 1))
reap "$spawned"
proxy 2049 lose 16
status "a lock is seen in the second answer" 6 timeout 60 "$DISKSHIFT" convert \
    "$near/held/disk.qcow2$query" "$near/held.vhdx"
said "by name" 'esx-3'
check "it had been asked for twice" test "$(listings)" -ge 2
reap "$spawned"

# Counted by a stranger: what --stats says is true.
proxy 2049
"$DISKSHIFT" convert --json --stats --no-verify "$near/disk.qcow2$query" \
    "$near/stats.vhdx" >"$run/stats" 2>"$run/err"
reap "$spawned"
said_trips=$(jq '[.traffic.procedures[] | select(.protocol | test("^NFS"))
    .round_trips] | add' "$run/stats")
check "--stats says $said_trips, the wire has two more, which end the session" \
    test $((said_trips + 2)) = "$(grep -c '^100003 ' "$run/calls.2049")"
check "each compound is told by its purpose" diff \
    <(jq -r '.traffic.procedures[] | select(.protocol == "NFSv4.2" and
        .procedure == "CLONE").round_trips' "$run/stats") \
    <(grep -c '^100003 4 1 71$' "$run/calls.2049")

wrong=()
for fault in "cut N" "drop N" "delay N 3"; do
    name=${fault%% *} stride=$step
    # Each that is dropped takes a second.
    [[ $name != drop ]] || stride=$((step * 2 - 1))
    for ((n = 1; n <= count; n += stride)); do
        # shellcheck disable=SC2086
        proxy 2049 ${fault/N/$n}
        convert "$name.$n.vhdx" ||
            wrong+=("$name $n: exit status $?: $(head -c 200 "$run/err")")
        reap "$spawned"
    done
    if ((${#wrong[@]} == 0)); then
        case_ok "$name at each ${stride}th of $count calls"
    else
        case_fail "$name at each ${stride}th of $count calls" "${wrong[@]}"
    fi
    wrong=()
done
reap "$mount_proxy"

server_end
disk_mount
different() {
    local target
    for target in "$disk_at"/*.vhdx; do
        qemu-img compare -q -f vhdx -F raw "$target" "$run/disk.raw" ||
            echo "$target differs"
    done
}
check "each target is what its source is" test -z "$(different)"
check "nothing is left over" test -z \
    "$(find "$disk_at" -mindepth 1 ! -path '*/held' ! -path '*/held/*' \
        ! -name '*.vhdx' ! -name disk.qcow2)"
disk_unmount
finish
