#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The server is restarted in the middle of conversions, each time a bit later.
# Each either makes the whole target or fails and leaves nothing; in peace the
# next one is made.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

moments=(0.02 0.05 0.1 0.2)
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

restart_after() {
    sleep "$1"
    server_run 'rpc.nfsd 0; nfs-start' 20 >/dev/null && : >"$run/restarted.$1"
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

for moment in "${moments[@]}"; do
    # Else all of them would wait where the first question about locks is.
    server_out_of_grace
    spawn restart_after "$moment"
    timeout 60 "$DISKSHIFT" convert -q \
        "$server_url/disk.qcow2$server_query&patience=20" \
        "$server_url/out$moment.vhdx" >"$run/out" 2>"$run/err"
    outcome=$?
    wait "$spawned"
    check "it was restarted after $moment s" test -e "$run/restarted.$moment"
    check "exit status $outcome, $(head -c 150 "$run/err")" \
        whole_or_absent "out$moment.vhdx" "$outcome"
done
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
