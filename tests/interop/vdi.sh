#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vdi.sh xfs|btrfs
#
# VDI from and to every variant, with QEMU as the judge; and what a guest
# writes into our files afterwards.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

fs=$1
begin "vdi-$fs"
need vmdkinfo vhdiinfo qcowinfo
mount=$(fs_make "$fs" 4G)
cd "$mount" || exit 1

our_options[vdi]='-o subformat=normal'
our_options[vdi-fixed]='-o subformat=fixed'
qemu_options[vdi]='static=off'
qemu_options[vdi-fixed]='static=on'

mkdisk sparse 24M 1 standard.raw
mkdisk dense $((9 * 1024 * 1024 + 5 * 4096)) 2 odd.raw
mkdisk sparse $((9 * 1024 * 1024 + 5 * 512)) 4 sector.raw
mkdisk empty 16M 3 empty.raw
sync -f .
remember standard.raw
remember odd.raw
remember empty.raw

no_leak_and_no_error() { # IMAGE
    local output
    output=$(qemu-img check -f vdi "$1" 2>&1) || {
        echo "$output"
        return 1
    }
    "$DISKSHIFT" check "$1"
}

# A guest that goes on with our file must not run into its own blocks.
guest_writes() { # IMAGE RAW
    local -a writes=(-c 'write -P 165 0 64k' -c 'write -P 166 5M 3M')
    cp --reflink=always "$2" written.raw
    qemu-io -f raw "${writes[@]}" written.raw >/dev/null &&
        qemu-io -f vdi "${writes[@]}" "$1" >/dev/null &&
        qemu-img compare -q -f vdi -F raw "$1" written.raw &&
        no_leak_and_no_error "$1"
}

to_vdi() { # DISK
    local variant
    for variant in vdi vdi-fixed; do
        rm -f t.vdi
        convert_case "$1.raw -> $variant" raw "$1.raw" "$variant" t.vdi \
            "$1.raw" 0 || continue
        check "$1, $variant: QEMU's and our check" no_leak_and_no_error t.vdi
        check "$1, $variant: data lies on whole MiB" test \
            "$("$DISKSHIFT" map --json t.vdi | jq '[.extents[] |
                select(.kind == "data") |
                .file_offset_bytes % 1048576] | add // 0')" = 0
        check "$1, $variant: a guest goes on" guest_writes t.vdi "$1.raw"
    done
}

# The same disk in our VDI: aligned, so nothing may be copied.
from_our_vdi() {
    local variant
    "$DISKSHIFT" convert -q -O vdi standard.raw ours.vdi
    sync ours.vdi
    remember ours.vdi
    for variant in "${variants[@]}" vdi; do
        target=o.$variant.$(format_of "$variant")
        convert_case "our vdi -> $variant" vdi ours.vdi "$variant" "$target" \
            standard.raw 0
        remove_image "$target"
    done
}

contents() { # WHAT SOURCE VARIANT TARGET RAW
    local format
    format=$(format_of "$3")
    # shellcheck disable=SC2086
    check "$1" "$DISKSHIFT" convert -q -O "$format" ${our_options[$3]} "$2" "$4"
    check "$1: the contents" qemu-img compare -q -f "$(qemu_format "$format")" \
        -F raw "$4" "$5"
    check "$1: the source is as it was" \
        test "$(image_digest "$2")" = "${digest_of[$2]}"
}

# A disk that ends within a block of the file system, too.
sectors() {
    local variant
    remember sector.raw
    for variant in vdi vdi-fixed; do
        rm -f t.vdi
        contents "sector.raw -> $variant" sector.raw $variant t.vdi sector.raw
        check "sector, $variant: QEMU's and our check" no_leak_and_no_error t.vdi
        check "sector, $variant: a guest goes on" guest_writes t.vdi sector.raw
    done
}

# QEMU's own lies off the page: sharing is not asked for, only the contents.
from_qemu_vdi() {
    local source disk variant
    for source in vdi vdi-fixed; do
        for disk in standard odd sector; do
            qemu_make "$source" $disk.raw q.$source.$disk.vdi
            sync q.$source.$disk.vdi
            remember q.$source.$disk.vdi
            for variant in raw qcow2 vmdk-sparse vdi; do
                target=q.$variant.$(format_of "$variant")
                contents "QEMU's $source, $disk -> $variant" \
                    q.$source.$disk.vdi "$variant" "$target" $disk.raw
                remove_image "$target"
            done
        done
    done
}

into_vdi_from() {
    local variant source
    for variant in "${variants[@]}"; do
        [[ $variant != raw ]] || continue
        source=s.$variant.$(format_of "$variant")
        # shellcheck disable=SC2086
        "$DISKSHIFT" convert -q -O "$(format_of "$variant")" \
            ${our_options[$variant]} standard.raw "$source"
        remember "$source"
        rm -f t.vdi
        convert_case "our $variant -> vdi" "$(format_of "$variant")" \
            "$source" vdi t.vdi standard.raw 0
        remove_image "$source"
    done
}

refused() { # WHAT OFFSET BYTES STATUS MESSAGE
    cp --reflink=never ours.vdi bad.vdi
    printf '%b' "$3" | dd of=bad.vdi bs=1 seek="$2" conv=notrunc status=none
    if status "$1: exit status" "$4" "$DISKSHIFT" convert -q bad.vdi bad.raw; then
        said "$1: says so" "$5"
    fi
    check "$1: no target" test ! -e bad.raw
}

refusals() {
    refused "differencing image" 76 '\x04' 3 'differencing images'
    refused "undo image" 76 '\x03' 3 'undo images'
    refused "version 1.0" 68 '\x00' 3 'version, have 1.0'
    refused "entry beyond the blocks" 512 '\x18\x00\x00\x00' 4 \
        'entry 0, have 24'
    refused "two entries of one block" 512 '\x01\x00\x00\x00' 4 'overlap'
    truncate -s 2M bad.vdi
    status "truncated" 4 "$DISKSHIFT" map bad.vdi
    truncate -s 600 bad.vdi
    status "truncated in its block map" 4 "$DISKSHIFT" info bad.vdi
    truncate -s 400 bad.vdi
    status "truncated in its header" 4 "$DISKSHIFT" info bad.vdi
}

to_vdi standard
to_vdi odd
to_vdi empty
sectors
from_our_vdi
from_qemu_vdi
into_vdi_from
refusals
finish
