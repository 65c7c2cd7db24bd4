#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The server is restarted again and again while disks are converted on it. Each
# conversion either makes the whole target or fails and leaves nothing; in
# peace the next one is made.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

rounds=4
begin nfs-restart
server_need
disk_make xfs 1G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk fragmented 24M 31 disk.raw
    qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
    cp disk.raw "$run/disk.raw"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async

restart_often() {
    while [[ ! -e $run/peace ]]; do
        sleep 0.3
        server_run 'rpc.nfsd 0; nfs-start' 20 >/dev/null
        echo restarted >>"$run/restarts"
    done
}

whole_or_absent() { # NAME EXIT
    local listing
    listing=$(server_run "ls -a /srv")
    [[ $listing != *partial* ]] || {
        echo "a .partial is left: $listing"
        return 1
    }
    if (($2 == 0)); then
        "$DISKSHIFT" verify -F raw "$server_url/$1$server_query" \
            "$run/disk.raw"
    else
        [[ $listing != *"$1"* ]] || {
            echo "it failed and the target is there: $listing"
            return 1
        }
    fi
}

spawn restart_often
restarter=$spawned
outcomes=()
for ((i = 0; i < rounds; i++)); do
    timeout 60 "$DISKSHIFT" convert -q \
        "$server_url/disk.qcow2$server_query&patience=20" \
        "$server_url/out$i.vhdx" >"$run/out$i" 2>"$run/err$i"
    outcomes+=($?)
done
: >"$run/peace"
wait "$restarter"
for ((i = 0; i < rounds; i++)); do
    check "round $i: exit status ${outcomes[i]}, $(head -c 150 "$run/err$i")" \
        whole_or_absent "out$i.vhdx" "${outcomes[i]}"
done
check "it was restarted meanwhile" test "$(wc -l <"$run/restarts")" -gt 2
status "in peace it is made" 0 "$DISKSHIFT" convert -q --require-clone \
    "$server_url/disk.qcow2$server_query" "$server_url/peace.vhdx"
server_end
disk_mount
check "the source is as before" cmp <(qemu-img convert -f qcow2 -O raw \
    "$disk_at/disk.qcow2" "$run/now.raw" && cat "$run/now.raw") "$run/disk.raw"
check "QEMU reads the disk" qemu-img compare -q -f vhdx -F raw \
    "$disk_at/peace.vhdx" "$run/disk.raw"
disk_unmount
finish
