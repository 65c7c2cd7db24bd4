#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No space left, or none by quota: an error that says so, and nothing left
# behind.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

begin space
need fallocate

# Reading 400 GiB of holes would take minutes.
image_digest() {
    stat -c '%s %Y %Z %b' "$1"
}

# Takes all that can be taken.
fill_up() {
    local piece count=0
    for piece in 64M 8M 1M 128k 16k 4k; do
        while fallocate -l $piece "filler.$((count++))" 2>/dev/null; do
            :
        done
        sync -f .
    done
}

no_space() { # WHAT SOURCE VARIANT
    local what="$1 -> $3" target
    target=t.$(format_of "$3")
    status "$what: exit 5" 5 convert_to "$3" "$2" "$target"
    said "$what: says why" "${said_as:-[Nn]o space left|disk full|free}"
    check "$what: names the target" grep -q "$target\|t-flat" "$run/err"
    check "$what: nothing left" absent "$target"
    check "$what: the source is as before" test -z "$(wrong_source "$2")"
}

# The data is shared, the tables do not fit.
on_xfs() {
    local mount variant
    mount=$(fs_make xfs 320M)
    cd "$mount" || exit 1
    mkdisk sparse 32M 1 a.raw
    qemu_make qcow2-v2-4k a.raw a.qcow2
    truncate -s 400G a.raw
    mkdisk tag DATA a.raw 399G 64k
    sync -f .
    remember a.raw
    remember a.qcow2
    fill_up
    for variant in vmdk-sparse vhdx-dynamic vhd-dynamic qcow2-v2-4k; do
        no_space "full XFS, raw" a.raw "$variant"
    done
    no_space "full XFS, qcow2" a.qcow2 vmdk-sparse
    rm -f filler*
    status "room again" 0 convert_to vmdk-sparse a.raw t.vmdk
}

# The copy does not fit; it must not be begun where that can be seen.
on_ext4() {
    local mount variant
    mount=$(fs_make ext4 128M)
    cd "$mount" || exit 1
    mkdisk dense 64M 2 a.raw
    sync -f .
    remember a.raw
    for variant in qcow2 raw vmdk-flat vmdk-sparse vhdx-dynamic vhd-fixed; do
        no_space "ext4" a.raw "$variant"
    done
}

# A quota group on btrfs: there is room on the disk, but not for these files.
# (XFS has quotas too, but not in every kernel.)
by_quota() {
    local mount variant said_as=quota source=$run/q.raw
    mount=$(fs_make btrfs 1G)
    cd "$mount" || exit 1
    btrfs -q subvolume create s && btrfs quota enable . && cd s &&
        btrfs qgroup limit 8M . || die "no quota groups"
    mkdisk dense 24M 3 "$source"
    remember "$source"
    for variant in raw qcow2 vhdx-dynamic vmdk-flat vhd-fixed; do
        no_space "quota" "$source" "$variant"
    done
    btrfs qgroup limit none .
    status "no quota any more" 0 convert_to qcow2 "$source" t.qcow2
}

on_xfs
on_ext4
by_quota
finish
