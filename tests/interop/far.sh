#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# far.sh xfs|btrfs
#
# Disks beyond 2 TiB, nearly all holes: what can name such places is right,
# what cannot says so by name and writes nothing.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

fs=$1
begin "far-$fs"
need strace jq
mount=$(fs_make "$fs" 4G)
cd "$mount" || exit 1
TiB=$((1 << 40)) GiB=$((1 << 30))

# Reading 2.5 TiB of holes would take hours: samples instead of a digest.
image_digest() {
    local -a files
    mapfile -t files < <(image_files "$1")
    stat -c '%s %Y %Z %b' "${files[@]}" | sha256sum | cut -d' ' -f1
}

# QEMU does not say where a VHDX has holes and asks a VMDK grain by grain, so
# that comparing takes minutes: compare what is around each range of data.
wrong_contents() { # FORMAT IMAGE RAW
    local offset length size expected format
    format=$(qemu_format "$1")
    size=$(virtual_size "$1" "$2") expected=$(stat -c %s "$3")
    [[ $size == "$expected" ]] ||
        echo "guest size, have $size expect $expected"
    if [[ $1 != vhdx && $1 != vmdk ]]; then
        qemu-img compare -q -f "$format" -F raw "$2" "$3" 2>&1 ||
            echo "qemu-img compare: $2 differs from $3"
        return
    fi
    while read -r offset length _; do
        offset=$((offset < 65536 ? 0 : offset / 4096 - 8))
        qemu-img dd -f "$format" -O raw bs=4096 count=$((offset + 32)) \
            skip=$offset if="$2" of="$run/piece" &&
            dd if="$3" bs=4096 count=32 skip=$offset status=none |
            cmp -s - "$run/piece" ||
            echo "the 128 KiB from block $offset differ"
    done < <(fiemap --map "$3")
}

# limited WHAT VARIANT PATTERN: exit 3, nothing written.
limited() {
    local format
    format=$(format_of "$2")
    # shellcheck disable=SC2086
    status "$1: refused" 3 "$DISKSHIFT" convert -f raw -O "$format" \
        ${our_options[$2]} far.raw "no.$format" || return
    said "$1: names the limit" "$3"
    check "$1: nothing written" test -z "$(echo no*)"
}

far() {
    local variant
    mkdisk far $((5 * TiB / 2 + 512)) 1 far.raw
    remember far.raw
    for variant in raw vmdk-flat vhdx-dynamic qcow2 qcow2-2m; do
        convert_case "2.5 TiB -> $variant" raw far.raw "$variant" \
            "far.$variant.$(format_of "$variant")" far.raw 512 || continue
    done
    for variant in vhdx-dynamic qcow2; do
        local format source
        format=$(format_of "$variant") source=far.$variant.$format
        [[ -e $source ]] || continue
        remember "$source"
        convert_case "2.5 TiB $variant -> raw" "$format" "$source" raw \
            back.raw far.raw 512
        rm -f back.raw
    done
    limited "VHD dynamic of 2.5 TiB" vhd-dynamic 'vhd: .*(2040|2190433320960)'
    limited "VHD fixed of 2.5 TiB" vhd-fixed 'vhd: .*(2040|2190433320960)'
}

borders() {
    # 2040 GiB is the largest that every reader of a VHD takes.
    mkdisk far $((2040 * GiB)) 2 far.raw
    remember far.raw
    convert_case "2040 GiB -> vhd-dynamic" raw far.raw vhd-dynamic a.vhd \
        far.raw 0
    mkdisk far $((2040 * GiB + 512)) 2 far.raw
    limited "VHD of 2040 GiB and a sector" vhd-dynamic \
        'vhd: .*(2040|2190433320960)'
    mkdisk far $((2 * TiB - GiB)) 3 far.raw
    remember far.raw
    convert_case "2 TiB less 1 GiB -> vmdk-sparse" raw far.raw vmdk-sparse \
        b.vmdk far.raw 0
    mkdisk far $((5 * TiB / 2)) 3 far.raw
    remember far.raw
    # Grains count sectors in 32 bits: of the file, not of the guest's disk.
    # Either is a right answer, a wrong disk is not.
    if "$DISKSHIFT" convert -q -O vmdk -o subformat=monolithicSparse far.raw \
        c.vmdk 2>"$run/err"; then
        rm -f c.vmdk
        convert_case "2.5 TiB -> vmdk-sparse" raw far.raw vmdk-sparse c.vmdk \
            far.raw 0
    else
        limited "VMDK monolithicSparse of 2.5 TiB" vmdk-sparse \
            'vmdk: .*(2 TiB|2199023)'
    fi
}

# 16 TiB of which each holds a little: tables whose pages nobody needs are holes
# of the file, for the reader as well.
wide() {
    local size tib variant
    truncate -s 16T wide.raw
    for ((tib = 0; tib < 16; tib++)); do
        dd if=/dev/urandom of=wide.raw bs=64k count=1 seek=$((tib << 24)) \
            conv=notrunc status=none
    done
    sync -f .
    remember wide.raw
    for variant in qcow2 qcow2-2m; do
        convert_case "16 TiB -> $variant" raw wide.raw "$variant" \
            "wide.$variant.qcow2" wide.raw 0 || continue
        # L1 of 256 KiB at most, a page for each L2 table, refcounts.
        size=$("$DISKSHIFT" plan --json -O qcow2 ${our_options[$variant]} \
            wide.raw none.qcow2 | jq '.targets[0].metadata_bytes')
        check "16 TiB -> $variant: $size bytes of tables" \
            test "$size" -lt $((1 << 20))
        check "16 TiB -> $variant: no more is read back than written" \
            bytes_read_below $((4 << 20)) "$DISKSHIFT" convert -q -f raw \
            -O qcow2 ${our_options[$variant]} wide.raw again.qcow2
        rm -f again.qcow2
    done
}

bytes_read_below() { # BYTES COMMAND...
    local most=$1 have
    shift
    strace -f -qq -e trace=pread64,preadv -o "$run/reads" "$@" || return 1
    have=$(awk '{ sum += $NF } END { print sum + 0 }' "$run/reads")
    ((have < most)) || { echo "have $have expect below $most" && return 1; }
}

far
borders
[[ $fs != xfs ]] || wide # btrfs would tell nothing else
finish
