#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a server without CLONE (ext4 below it) does, NFSv3 alone, local sources,
# and what is refused, by the words it is refused with.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

begin nfs-fallback
server_need
url=$server_url query=$server_query

disk_make ext4 1G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk sparse 8M 21 disk.raw
    cp disk.raw "$run/disk.raw"
    qemu-img convert -f raw -O qcow2 disk.raw base.qcow2
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
    qemu-io -f qcow2 -c 'write -P 7 1M 64k' over.qcow2 >/dev/null
    qemu-img convert -f qcow2 -O raw over.qcow2 "$run/over.raw"
    qemu-img create -q -f qcow2 -u -b ../outside.qcow2 -F qcow2 out.qcow2 8M
    ln -s disk.raw link.raw
    cp disk.raw locked.vmdk
    mkdir locked.vmdk.lck
    echo 'workstation-7' >locked.vmdk.lck/M12345.lck
    mkdir vm
    cp disk.raw vm/e-flat.vmdk
    cp disk.raw vm/other.raw
    inode=$(printf '%016x' "$(stat -c %i vm/e-flat.vmdk)")
    printf '\1\0\0\0esx7.lab\0' \
        >"vm/.lck-$(fold -w2 <<<"$inode" | tac | tr -d '\n')"
    mkdir dir
    : >taken.qcow2
    : >stale.vhdx.partial
    sync .
) || die "cannot make sources"
disk_unmount
server_start ext4

note() { jq -r '.targets[0].notes | join(" ")' "$run/out"; }
noted() {
    check "$1" grep -qE -- "$2" <(note)
}
copied() { jq ".targets[0].copied_bytes_by_reason.$1" "$run/out"; }
same() { # NAME RAW
    check "$1 holds the disk" "$DISKSHIFT" verify -F raw \
        "$url/$1$query" "$2"
}

# The server copies.
status "convert where CLONE is not to be had" 0 "$DISKSHIFT" convert --json \
    "$url/base.qcow2$query" "$url/copied.vhdx"
noted "it says that the server copied" '[1-9][0-9]* bytes copied by the server'
check "it says why" test "$(copied no_reflink)" -gt 0
same copied.vhdx "$run/disk.raw"
status "--require-clone refuses it" 6 "$DISKSHIFT" convert --require-clone \
    "$url/base.qcow2$query" "$url/never.vhdx"
status "and made nothing" 5 "$DISKSHIFT" info "$url/never.vhdx$query"

# We read and write.
status "convert by NFSv3 alone" 0 "$DISKSHIFT" convert --json \
    "$url/base.qcow2$query&nfs42=0" "$url/byhand.qcow2"
noted "it says that we copied" '[1-9][0-9]* read and [1-9][0-9]* written'
noted "and why" 'switched off by nfs42=0'
same byhand.qcow2 "$run/disk.raw"

# Chains, from elsewhere, to elsewhere.
status "a chain whose parent lies beside it" 0 "$DISKSHIFT" convert -q \
    "$url/over.qcow2$query" "$url/flat.raw"
same flat.raw "$run/over.raw"
status "a local source" 0 "$DISKSHIFT" convert --json "$run/disk.raw" \
    "$url/local.vmdk$query"
check "what was copied here is not read here again" test \
    "$(jq '.targets[0].verify.witnessed_bytes' "$run/out")" -gt 0
same local.vmdk "$run/disk.raw"
for to in raw vmdk; do
    status "a local target, $to" 0 "$DISKSHIFT" convert --json \
        "$url/over.qcow2$query" "$run/local.$to"
    check "it says why it was copied" test "$(copied other_filesystem)" -gt 0
    [[ $to != raw ]] || check "nothing was read for it twice" test \
        "$(jq '.targets[0].verify.hashed_bytes' "$run/out")" = 0
    check "it is for us alone" test "$(stat -c %a "$run/local.$to")" = 600
    check "QEMU reads it" qemu-img compare -q -f "$to" -F raw \
        "$run/local.$to" "$run/over.raw"
done
status "--require-clone refuses it" 6 "$DISKSHIFT" convert --require-clone \
    "$url/base.qcow2$query" "$run/never.raw"
status "so does --share-source-file" 3 "$DISKSHIFT" convert \
    --share-source-file -o data_file=yes "$url/disk.raw$query" \
    "$run/never.qcow2"
check "and nothing is made" test -z "$(find "$run" -name 'never*')"

# Refusals.
refused() { # WHAT EXIT PATTERN COMMAND...
    local what=$1 exit=$2 pattern=$3
    shift 3
    status "$what" "$exit" "$@" && said "$what: it says so" "$pattern"
}
refused "a parent outside" 6 'own directory' \
    "$DISKSHIFT" info "$url/out.qcow2$query"
refused "a symbolic link" 6 'symbolic link' \
    "$DISKSHIFT" info "$url/link.raw$query"
refused "a directory" 6 'a directory' "$DISKSHIFT" info "$url/dir$query"
refused "a file that is not there" 5 'No such file' \
    "$DISKSHIFT" info "$url/none.raw$query"
refused "dots in the path" 2 'not followed' \
    "$DISKSHIFT" info "$url/../srv/disk.raw$query"
refused "an option that is not known" 2 'option' \
    "$DISKSHIFT" info "$url/disk.raw$query&color=red"
refused "a lock of VMware" 6 'VMware .*holds' "$DISKSHIFT" convert -f raw \
    "$url/locked.vmdk$query" "$url/unlocked.raw"
said "whose it is" 'workstation-7'
refused "a lock of ESXi" 6 'VMware on "esx7.lab"' "$DISKSHIFT" convert -f raw \
    "$url/vm/e-flat.vmdk$query" "$url/unlocked.raw"
status "another file beside that lock" 0 "$DISKSHIFT" convert -q -f raw \
    "$url/vm/other.raw$query" "$url/beside.qcow2"
refused "a target that exists" 6 'exists' "$DISKSHIFT" convert \
    "$url/disk.raw$query" "$url/taken.qcow2"
status "--force replaces it" 0 "$DISKSHIFT" convert -q --force \
    "$url/disk.raw$query" "$url/taken.qcow2"
same taken.qcow2 "$run/disk.raw"
refused "a .partial that is there" 6 'remove it if' "$DISKSHIFT" convert \
    "$url/disk.raw$query" "$url/stale.vhdx"
refused "the source itself" 6 'source itself' "$DISKSHIFT" convert --force \
    -O raw "$url/disk.raw$query" "$url/disk.raw"
refused "a server that is not there" 5 'cannot mount' \
    "$DISKSHIFT" info "nfs://10.0.2.2/srv/disk.raw$query"

server_end
disk_mount
check "the source is as before" cmp "$disk_at/disk.raw" "$run/disk.raw"
check "nothing is left over" test \
    "$(cd "$disk_at" && echo *.partial .diskshift*)" = stale.vhdx.partial
disk_unmount
finish
