#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# raw.sh xfs|btrfs
#
# Raw disks and what their files are: odd sizes, holes, NOCOW, subvolumes,
# attributes.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

fs=$1
begin "raw-$fs"
need chattr lsattr setfattr getfattr btrfs
mount=$(fs_make "$fs" 2G)
cd "$mount" || exit 1

odd_size() {
    local extra
    for extra in 1 511 513 4095; do
        mkdisk dense $((1048576 + extra)) 1 odd.raw
        remember odd.raw
        cp --reflink=never odd.raw padded
        truncate -s $((1048576 + (extra + 511) / 512 * 512)) padded
        for variant in raw qcow2 vhdx-dynamic vmdk-sparse vmdk-flat \
            vhd-dynamic vhd-fixed; do
            odd_target "$variant" $extra
        done
    done
}

odd_target() {
    local target=odd.$1.target
    target+=.$(format_of "$1")
    convert_case "raw of 1 MiB and $2 bytes -> $1" raw odd.raw "$1" "$target" \
        padded 4096
    [[ ! -e $target ]] ||
        check "which says that it was padded" \
            grep -qiE 'padded|multiple of 512' "$run/out" "$run/err"
    remove_image "$target"
}

sparse() {
    local variant before after
    truncate -s 1G sparse.raw
    dd if=/dev/urandom of=sparse.raw bs=64k count=4 seek=100 conv=notrunc \
        status=none
    dd if=/dev/urandom of=sparse.raw bs=64k count=4 seek=16000 conv=notrunc \
        status=none
    sync sparse.raw
    remember sparse.raw
    before=$(du -k sparse.raw | cut -f1)
    for variant in raw vmdk-flat vhd-fixed vhdx-dynamic qcow2; do
        rm -f s.*
        convert_case "1 GiB with 512 KiB of data -> $variant" raw sparse.raw \
            "$variant" "s.$(format_of "$variant")" sparse.raw 0 || continue
        after=$(image_files "s.$(format_of "$variant")" | xargs du -kc |
            tail -n1 | cut -f1)
        # VHDX has a log of 1 MiB or more.
        check "takes $after KiB where the source takes $before" \
            test "$after" -le $((before + 8192))
    done
    check "raw again takes no more" \
        "$DISKSHIFT" convert -q -O raw s.qcow2 back.raw
    check "the same blocks" test "$(du -k back.raw | cut -f1)" -le $((before + 64))
}

attributes() {
    mkdisk sparse 4M 2 mine.raw
    chown 1234:2345 mine.raw
    chmod 640 mine.raw
    setfattr -n user.note -v hello mine.raw
    remember mine.raw
    for variant in raw qcow2 vmdk-sparse vmdk-flat; do
        rm -f m.raw m.qcow2 m.vmdk m-flat.vmdk
        convert_case "owner, mode and attributes: $variant" raw mine.raw \
            "$variant" "m.$(format_of "$variant")" mine.raw 0 || continue
        for file in $(image_files "m.$(format_of "$variant")"); do
            check "$file: owner and mode follow" test \
                "$(stat -c '%u:%g %a' "$file")" = "1234:2345 640"
            check "$file: extended attributes follow" test \
                "$(getfattr --only-values -n user.note "$file" 2>&1)" = hello
        done
    done
}

nocow() {
    touch nocow.raw && chattr +C nocow.raw
    mkdisk sparse 4M 3 plain.raw
    dd if=plain.raw of=nocow.raw bs=1M conv=notrunc,fsync status=none
    remember nocow.raw
    for variant in raw qcow2 vhdx-dynamic vmdk-sparse vmdk-flat; do
        rm -f n.raw n.qcow2 n.vhdx n.vmdk n-flat.vmdk
        convert_case "NOCOW -> $variant" raw nocow.raw "$variant" \
            "n.$(format_of "$variant")" plain.raw 0 || continue
        [[ $variant == vmdk-flat ]] ||
            check "the target is NOCOW" \
                grep -q C <(lsattr "n.$(format_of "$variant")" | cut -d' ' -f1)
    done
    # The same by graft, whose base is a clone of the whole file.
    "$DISKSHIFT" convert -q -O vmdk --force n.raw n.vmdk
    remember n.vmdk
    convert_case "NOCOW VMDK -> qcow2 by graft" vmdk n.vmdk qcow2 g.qcow2 \
        plain.raw 0 --strategy graft
}

subvolumes() {
    btrfs -q subvolume create one && btrfs -q subvolume create two
    mkdisk sparse 4M 4 one/a.raw
    remember one/a.raw
    for variant in raw qcow2 vmdk-sparse vhdx-dynamic; do
        convert_case "into another subvolume: $variant" raw one/a.raw \
            "$variant" "two/a.$(format_of "$variant")" one/a.raw 0
    done
    check "verify proves without reading" grep -qE '"hashed_bytes": 0,' \
        <("$DISKSHIFT" verify --json one/a.raw two/a.qcow2)
}

odd_size
sparse
attributes
if [[ $fs == btrfs ]]; then
    nocow
    subvolumes
fi
finish
