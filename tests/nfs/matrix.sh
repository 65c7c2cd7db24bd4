#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# matrix.sh full|quick xfs|btrfs
#
# All pairs of formats (quick: each to the next one) between paths of a kernel
# NFS server, by its CLONE alone (--require-clone). Then the server ends, its disk is mounted here, and QEMU,
# libyal and FIEMAP judge what was made, as for local conversions.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

extent=$1 fs=$2
begin "nfs-matrix-$fs"
server_need
formats=(raw vmdk vhd vhdx qcow2)

make_sources() {
    local format
    mkdisk sparse 8M 11 disk.raw
    for format in vmdk vhdx qcow2; do
        qemu-img convert -f raw -O "$format" disk.raw "disk.$format"
    done
    # QEMU's dynamic VHD does not lie on pages: much of it could not be shared.
    "$DISKSHIFT" convert -q -f raw -O vhd disk.raw disk.vhd
    for format in "${formats[@]}"; do
        sync "disk.$format"
        remember "disk.$format"
    done
}

# Each format to the next one is verified over the network as well.
declare -A next=([raw]=vmdk [vmdk]=vhd [vhd]=vhdx [vhdx]=qcow2 [qcow2]=raw)
pairs=()
for from in "${formats[@]}"; do
    for to in "${formats[@]}"; do
        [[ $extent == quick && ${next[$from]} != "$to" ]] || pairs+=("$from $to")
    done
done

convert_all() {
    local from to verify
    while read -r from to; do
        verify=--no-verify
        [[ ${next[$from]} != "$to" ]] || verify=
        # shellcheck disable=SC2086
        "$DISKSHIFT" convert --json --require-clone $verify -f "$from" \
            -O "$to" "$server_url/disk.$from$server_query" \
            "$server_url/$from.to.$to" \
            >"$run/$from.$to.json" 2>"$run/$from.$to.err" ||
            echo "exit status $?" >>"$run/$from.$to.err"
    done < <(printf '%s\n' "${pairs[@]}")
}

# A raw source's holes are not seen over NFS: they are shared as they are, and
# there is no address to compare.
wrong_raw_sharing() {
    local data proven
    data=$("$DISKSHIFT" map --json -f raw disk.raw |
        jq '[.extents[] | select(.kind == "data").length_bytes] | add')
    proven=$(fiemap disk.raw -- "$1" "${1%.vmdk}"-flat.vmdk 2>/dev/null |
        cut -d' ' -f2)
    [[ -n $proven ]] || proven=$(fiemap disk.raw -- "$1" | cut -d' ' -f2)
    ((proven == data)) || echo "shared blocks, have $proven expect $data"
}

judge() {
    local from=$1 to=$2 what="$fs $1 -> $2" wrong
    cp "$run/$from.$to.json" "$run/out"
    if [[ -s $run/$from.$to.err ]]; then
        case_fail "$what" "$(cat "$run/$from.$to.err")"
        return
    fi
    wrong=$(
        wrong_contents "$to" "$from.to.$to" disk.raw
        wrong_structure "$to" "$from.to.$to"
        wrong_libyal "$to" "$from.to.$to"
        if [[ $from == raw ]]; then
            wrong_raw_sharing "raw.to.$to"
        else
            wrong_sharing "$to" "$from.to.$to" "disk.$from" 0 "$from"
        fi
        [[ ${next[$from]} != "$to" ||
            $(report '$t.verify.identical') == true ]] ||
            echo "not verified over the network"
        (($(report '$t.copied_bytes') == 0)) || echo "something was copied"
        (($(report '$t.shared_bytes') > 0)) || echo "nothing was shared"
        report '$t.notes | join(" ")' | grep -q 'CLONE' ||
            echo "the report does not say by what"
    )
    [[ -z $wrong ]] || {
        case_fail "$what" "$wrong"
        return
    }
    case_ok "$what: shared $(report '$t.shared_bytes')"
}

disk_make "$fs" 2G
disk_mount
(cd "$disk_at" && make_sources) || die "cannot make sources"
cd "$disk_at" || exit 1
for format in "${formats[@]}"; do
    remember "disk.$format"
done
cd "$run" || exit 1
disk_unmount
# As servers are set up unless told otherwise: only low ports are heard.
server_start "$fs" sync,secure
convert_all
server_end
disk_mount
cd "$disk_at" || exit 1
while read -r from to; do
    judge "$from" "$to"
done < <(printf '%s\n' "${pairs[@]}")
for from in "${formats[@]}"; do
    check "$fs $from: the source is as before" test \
        "$(image_digest "disk.$from")" = "${digest_of[disk.$from]}"
done
leftovers() {
    local left
    left=$(find . -name '*.partial*' -o -name '.diskshift*')
    echo "$left"
    [[ -z $left ]]
}
check "$fs: nothing is left over" leftovers
cd "$run" || exit 1
disk_unmount
finish
