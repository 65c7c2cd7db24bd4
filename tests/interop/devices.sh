#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Block devices as sources: their size, their bytes, and that a device without
# a map of holes does not make a full target.
source "$(dirname "$0")/../lib/lib.bash"

begin devices
need losetup blockdev
mount=$(fs_make xfs 2G)
cd "$mount" || exit 1

device=
attach() { # FILE
    device=$(losetup --find --show "$1") || die "no loop device"
}
detach() {
    losetup -d "$device"
    device=
}

# number FILTER: from a report in $run/out
number() {
    jq "$1" "$run/out"
}

converts() { # WHAT RAW FORMAT
    local kib
    rm -f "t.$3"
    status "$1 -> $3" 0 "$DISKSHIFT" convert --json -f raw -O "$3" "$device" \
        "t.$3" || return
    check "$1 -> $3: the contents" qemu-img compare -q -f raw \
        -F "$(qemu_format "$3")" "$2" "t.$3"
    check "$1 -> $3: all of it is copied, and why" test "$(number \
        '.targets[0] | .shared_bytes == 0 and
        .copied_bytes == ([.copied_bytes_by_reason[]] | add)')" = true
    check "$1 -> $3: verified by reading" test "$(number \
        '.targets[0].verify.identical')" = true
    kib=$(du -k "t.$3" | cut -f1)
    check "$1 -> $3: zeros take no room ($kib KiB)" \
        test "$kib" -le $(($(du -k "$2" | cut -f1) + 8192))
    check "verify $3" "$DISKSHIFT" verify -f raw -F "$3" "$device" "t.$3"
}

# Data in a few places; what is small between is copied with it.
make_disk() { # SIZE
    rm -f disk.raw
    mkdisk sparse "$1" 1 disk.raw
    fallocate --punch-hole --offset 2M --length 5M disk.raw
    if (($(stat -c %s disk.raw) > 16777216)); then
        fallocate --punch-hole --offset 12M --length 48M disk.raw
    fi
    sync disk.raw
}

whole() { # SIZE
    local size
    make_disk "$1"
    attach disk.raw
    size=$(blockdev --getsize64 "$device")
    check "$1: size by the kernel" test "$("$DISKSHIFT" info --json -f raw \
        "$device" | jq '[.. | .size_bytes? // empty][0]')" = "$size"
    for format in qcow2 vhdx vmdk vdi raw; do
        converts "device of $1" disk.raw $format
    done
    check "the device is as it was" cmp -n "$size" disk.raw "$device"
    detach
}

# An image in a device, as on a logical volume: the format is found, and the
# device may be longer than the image.
image_inside() {
    mkdisk sparse 8M 2 inner.raw
    qemu-img convert -f raw -O qcow2 inner.raw inner.qcow2
    cp inner.qcow2 volume
    truncate -s 24M volume
    attach volume
    check "qcow2 in a device" grep -q '"format": "qcow2"' \
        <("$DISKSHIFT" info --json "$device")
    rm -f t.raw
    check "is converted" "$DISKSHIFT" convert -q "$device" t.raw
    check "and is the same" cmp t.raw inner.raw
    detach
}

refusals() {
    local node
    attach disk.raw
    node=$(stat -c '%t %T' "$device")
    # By a name of its own, lest a failure cost the machine its device.
    mknod -m 600 node b $((16#${node% *})) $((16#${node#* }))
    ln -s node link
    for target in node link; do
        status "a $target as a target" 6 \
            "$DISKSHIFT" convert -q -O raw --force inner.raw $target &&
            said "says so" 'have a block device expect a regular file'
        status "nor is it planned" 6 "$DISKSHIFT" plan -O raw inner.raw $target
        check "$target is left as it was" test -b $target
        check "without a partial file" test ! -e $target.partial
    done
    check "and so is its content" cmp disk.raw "$device"
    status "the source by another node" 6 \
        "$DISKSHIFT" convert -q -O raw --force -f raw "$device" node
    detach
    status "a character device" 6 "$DISKSHIFT" info /dev/zero
    qemu-img create -q -f qcow2 -b /dev/null -F raw -u ref.qcow2 8M
    "$DISKSHIFT" info ref.qcow2 >"$run/out" 2>"$run/err"
    check "a device that an image names is never opened" test $? -ne 0
}

whole 64M
whole $((9 * 1024 * 1024 + 512))
image_inside
refusals
finish
