#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# matrix.sh quick|full xfs|btrfs [SOURCE_VARIANT]
#
# All pairs of formats: each source made by qemu-img and by diskshift, each
# variant as a target. `full` is everything; `quick` has every pair of formats
# with the standard disk, variants and other disks in rotation.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

list=$1 fs=$2 only=${3:-}
begin "matrix-$list-$fs"
need vmdkinfo vhdiinfo qcowinfo
mount=$(fs_make "$fs" 8G)
cd "$mount" || exit 1

# disk   kind        size
disks=(standard dense odd shuffled empty)
make_disks() {
    mkdisk sparse 24M 1 standard.raw
    mkdisk dense 16M 2 dense.raw
    mkdisk sparse $((9 * 1024 * 1024 + 3 * 512)) 3 odd.raw
    mkdisk fragmented 24M 4 shuffled.raw
    mkdisk empty 16M 5 empty.raw
}

# make_source MAKER VARIANT DISK: sets $source and remembers its digest.
make_source() {
    local maker=$1 variant=$2 disk=$3 extension
    extension=$(format_of "$variant")
    if [[ $variant == raw ]]; then
        source=$disk.raw
    else
        source=$disk.$maker.$variant.$extension
    fi
    [[ -z ${digest_of[$source]:-} ]] || return 0
    case $maker:$variant:$disk in
    *:raw:*) ;;
    qemu:*:shuffled)
        if [[ -n ${cluster_sizes[$variant]:-} ]]; then
            qemu_make_shuffled "$variant" "$disk.raw" "$source"
        else
            qemu_make "$variant" "$disk.raw" "$source"
        fi
        ;;
    qemu:*) qemu_make "$variant" "$disk.raw" "$source" ;;
    # shellcheck disable=SC2086
    ours:*) "$DISKSHIFT" convert -q -f raw -O "$extension" \
        ${our_options[$variant]} "$disk.raw" "$source" ;;
    esac >"$run/out" 2>"$run/err" || {
        case_fail "$maker makes $source" "$(cat "$run/err")"
        return 1
    }
    sync "$source"
    remember "$source"
}

# What may be copied: QEMU's dynamic VHD drifts by a sector per block, which
# only sector-granular pointers can follow; a disk that ends within a block
# has less than one block that cannot be shared.
allowed_copy() { # MAKER SOURCE_VARIANT TARGET_VARIANT RAW
    local size
    size=$(stat -c %s "$4")
    case $1:$2:$3 in
    # By graft: what lies under the target's head moves, with ragged ends.
    qemu:vhd-dynamic:vmdk-sparse) echo $((4096 + size % 4096)) ;;
    qemu:vhd-dynamic:*) echo "$size" ;;
    *) echo $((size % 4096)) ;;
    esac
}

one() { # MAKER SOURCE_VARIANT DISK TARGET_VARIANT
    local source target what="$1 $2 $3 -> $4"
    make_source "$1" "$2" "$3" || return
    target=target.$(format_of "$4")
    convert_case "$what" "$(format_of "$2")" "$source" "$4" "$target" \
        "$3.raw" "$(allowed_copy "$1" "$2" "$4" "$3.raw")"
    remove_image "$target"
}

full() {
    local maker from to turn=0
    for from in "${variants[@]}"; do
        [[ -z $only || $only == "$from" ]] || continue
        for maker in qemu ours; do
            [[ $maker:$from != ours:raw ]] || continue
            for to in "${variants[@]}"; do
                one "$maker" "$from" standard "$to"
                turn=$((turn + 1))
                one "$maker" "$from" "${disks[turn % 4 + 1]}" "$to"
            done
        done
    done
}

# Variants of a format, the turn-th of them.
pick() {
    local -a mine=()
    local variant
    for variant in "${variants[@]}"; do
        [[ $(format_of "$variant") == "$1" ]] && mine+=("$variant")
    done
    echo "${mine[$2 % ${#mine[@]}]}"
}

quick() {
    local from to turn=0 formats=(raw vmdk vhd vhdx qcow2)
    [[ $fs == xfs ]] || turn=1
    for from in "${formats[@]}"; do
        for to in "${formats[@]}"; do
            turn=$((turn + 1))
            one qemu "$(pick "$from" $turn)" standard "$(pick "$to" $turn)"
            one ours "$(pick "$from" $((turn + 1)))" standard \
                "$(pick "$to" $((turn + 2)))"
            one qemu "$(pick "$from" $((turn + 1)))" \
                "${disks[turn % 4 + 1]}" "$(pick "$to" $((turn / 2)))"
        done
        turn=$((turn + 1))
    done
}

make_disks
"$list"
finish
