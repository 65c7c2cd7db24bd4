#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# diff.sh xfs|btrfs
#
# Chains of differencing VHD and VHDX, three deep, made by mkdiff after the
# specs (no tool here writes them): flattened to each target. Where everything
# lies on pages nothing may be copied; the guest reads what mkdiff's model has;
# the parents are as before; libyal's vhdiinfo sees the same chain.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

fs=$1
begin "diff-$fs"
need vhdiinfo
mount=$(fs_make "$fs" 2G)
cd "$mount" || exit 1
size=$((16 * 1024 * 1024 + 4096 * 5))
declare -A block_of=([vhd]=2097152 [vhdx]=1048576)

# make_chain FORMAT NAME OPTION...: NAME0 to NAME2 and their models.
make_chain() {
    local format=$1 name=$2 parent= i
    shift 2
    for i in 0 1 2; do
        ((i == 0)) || cp "$name$((i - 1)).raw" "$name$i.raw"
        mkdiff "$format" $size $((40 + i)) "$name$i.$format" "$name$i.raw" \
            block="${block_of[$format]}" ${parent:+"parent=$parent"} "$@" ||
            die "mkdiff"
        parent=$((40 + i)):$name$i.$format
    done
    sync -f .
}

chain_digest() {
    digest "$2"[012]."$1"
}

# Others see that they are children, and of whom.
others() { # FORMAT NAME
    local output i
    check "$2: qemu-img reads the base" \
        qemu-img compare -q -f "$(qemu_format "$1")" -F raw "${2}0.$1" "${2}0.raw"
    for i in 1 2; do
        output=$(vhdiinfo "$2$i.$1" 2>&1)
        if [[ $output == *Differential* && $output == *$size\ bytes* ]]; then
            case_ok "$2: vhdiinfo takes layer $i for a child"
        else
            case_fail "$2: vhdiinfo takes layer $i for a child" "$output"
        fi
    done
}

# flatten NAME FORMAT TARGET_VARIANT ALLOWED_COPY: ALLOWED_COPY is - for what
# alignment does not promise.
flatten() {
    local name=$1 format=$2 to=$3 allowed=$4 target wrong= copied shared proven
    local -a files
    local what="$1 $2 -> $3"
    target=target.$(format_of "$to")
    # shellcheck disable=SC2086
    if ! "$DISKSHIFT" convert --json -f "$format" -O "$(format_of "$to")" \
        ${our_options[$to]} "${name}2.$format" "$target" \
        >"$run/out" 2>"$run/err"; then
        case_fail "$what" "$(cat "$run/err")"
        return
    fi
    copied=$(report '$t.copied_bytes') shared=$(report '$t.shared_bytes')
    mapfile -t files < <(image_files "$target")
    proven=$(fiemap "$name"[012]."$format" -- "${files[@]}" | cut -d' ' -f2)
    wrong=$(wrong_contents "$(format_of "$to")" "$target" "${name}2.raw"
        wrong_structure "$(format_of "$to")" "$target")
    [[ $(chain_digest "$format" "$name") == "$before" ]] ||
        wrong+="a layer has changed"
    [[ $allowed == - ]] || ((copied <= allowed)) ||
        wrong+="copied, have $copied expect at most $allowed"
    ((shared > 0)) || wrong+="nothing is shared"
    ((proven >= shared)) ||
        wrong+="shared blocks, have $proven expect $shared as reported"
    if [[ -n $wrong ]]; then
        case_fail "$what" "$wrong"
    else
        case_ok "$what: shared $shared, copied $copied"
    fi
    remove_image "$target"
}

# chain NAME FORMAT ALLOWED_COPY OPTION...: what is not aligned only to one
# target of each kind.
chain() {
    local name=$1 format=$2 allowed=$3 to
    local -a targets=(raw vmdk-sparse vhd-dynamic qcow2)
    [[ $allowed == - ]] || targets+=(vmdk-flat vhd-fixed vhdx-dynamic
        vhdx-fixed qcow2-v2-4k)
    shift 3
    make_chain "$format" "$name" "$@"
    [[ $* == *sector=4096* ]] || others "$format" "$name"
    before=$(chain_digest "$format" "$name")
    for to in "${targets[@]}"; do
        flatten "$name" "$format" "$to" "$allowed"
    done
    status "$name: check finds nothing" 0 "$DISKSHIFT" check "${name}2.$format"
}

# Clusters that are cut between layers cannot be one clone, but each of their
# pages can.
chain vhd-pages vhd 0 grain=4096
chain vhd-sectors vhd - grain=512
chain vhd-old vhd - grain=4096 unaligned
chain vhdx-pages vhdx 0 grain=4096
chain vhdx-sectors vhdx - grain=512
chain vhdx-4k vhdx 0 sector=4096

# A wrong parent, a missing one, one that is elsewhere.
mkdiff vhd $size 99 vhd-pages0.vhd other.raw
status "another base is refused" 4 "$DISKSHIFT" info vhd-pages2.vhd
said "and its id is named" 'vhd: parent: unique id, have .* expect '
mkdiff vhdx $size 99 vhdx-pages0.vhdx other.raw
status "another vhdx base is refused" 4 "$DISKSHIFT" info vhdx-pages2.vhdx
said "and its guid is named" 'vhdx: parent: DataWriteGuid, have .* expect '
mkdir elsewhere && mv vhd-old0.vhd elsewhere
status "a base that is not there is an error" 5 "$DISKSHIFT" info vhd-old2.vhd
said "and it is named" '"vhd-old0.vhd"'
status "a base elsewhere is found where that is allowed" 0 \
    "$DISKSHIFT" info --allow-refs "$mount/elsewhere" vhd-old1.vhd
status "no references, no chain" 6 "$DISKSHIFT" info --no-refs vhdx-4k2.vhdx
finish
