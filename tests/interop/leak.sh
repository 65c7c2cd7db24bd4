#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# leak.sh xfs|btrfs
#
# A graft begins as the whole source file. What the guest's present view does
# not hold must not be found in the target: old snapshots, discarded clusters,
# the source's tables and names, bytes beyond the disk's end. Each secret is a
# text of its own; leakscan looks for it at every byte of the target's files.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

fs=$1
begin "leak-$fs"
need xxd
mount=$(fs_make "$fs" 4G)
cd "$mount" || exit 1

secrets=(SECRET-SNAPSHOT SECRET-NAME SECRET-BITMAP SECRET-DISCARDED
    SECRET-ZEROED SECRET-APPENDED SECRET-HEADER SECRET-TAIL SECRET-GAP)

# What the guest sees carries texts too: they must be there as often as in the
# guest's disk, no more (no stale copy under the new records) and no fewer.
guest() {
    mkdisk dense 8M "$1" "$2"
    mkdisk tag GUEST-HEAD "$2" 0 131072
    mkdisk tag GUEST-TAIL "$2" $((8 * 1024 * 1024 - 65536)) 65536
}

# put FORMAT IMAGE TAG OFFSET LENGTH: the guest writes it.
put() {
    mkdisk tag "$3" "$run/text" 0 "$5"
    qemu-io -f "$1" -c "write -s $run/text $4 $5" "$2" >/dev/null ||
        die "qemu-io write"
    rm -f "$run/text"
}

# unmap IMAGE COMMAND: clusters are freed, their bytes stay in the file.
unmap() {
    qemu-io -c "$2" --image-opts \
        "driver=qcow2,pass-discard-request=off,file.filename=$1" >/dev/null ||
        die "qemu-io $2"
}

qcow2_source() { # IMAGE [OPTIONS]
    guest 1 guest.raw
    qemu-img convert -f raw -O qcow2 ${2:+-o "$2"} guest.raw "$1"
    put qcow2 "$1" SECRET-SNAPSHOT 1M 2M
    qemu-img snapshot -c SECRET-NAME "$1"
    put qcow2 "$1" GUEST-HEAD 1M 2M
    mkdisk tag GUEST-HEAD guest.raw 1M 2M
    put qcow2 "$1" SECRET-DISCARDED 4M 1M
    put qcow2 "$1" SECRET-ZEROED 5M 1M
    unmap "$1" "discard 4M 1M"
    unmap "$1" "write -z 5M 1M"
    fallocate -p -o 4M -l 2M guest.raw
    mkdisk tag SECRET-APPENDED "$1" "$(stat -c %s "$1")" 256k
    [[ ${2:-} == *0.10* ]] ||
        qemu-img bitmap -f qcow2 --add "$1" SECRET-BITMAP
}

# The snapshot is gone, what it held is not.
qcow2_freed_source() {
    qcow2_source "$1"
    qemu-img snapshot -d SECRET-NAME --image-opts \
        "driver=qcow2,pass-discard-snapshot=off,file.filename=$1"
}

# Shrunk to a size within a cluster, whose rest keeps what the guest wrote.
qcow2_shrunk_source() {
    guest 2 guest.raw
    qemu-img convert -f raw -O qcow2 guest.raw "$1"
    put qcow2 "$1" SECRET-TAIL 7M 1M
    qemu-img resize -q -f qcow2 --shrink "$1" $((7 * 1024 * 1024))
    put qcow2 "$1" SECRET-TAIL $((7 * 1024 * 1024 - 65536)) 65536
    qemu-img resize -q -f qcow2 --shrink "$1" $((7 * 1024 * 1024 - 512 * 99))
    put qcow2 "$1" GUEST-HEAD $((7 * 1024 * 1024 - 65536)) $((512 * 29))
    truncate -s $((7 * 1024 * 1024 - 512 * 99)) guest.raw
    mkdisk tag GUEST-HEAD guest.raw $((7 * 1024 * 1024 - 65536)) $((512 * 29))
}

vmdk_source() {
    guest 3 guest.raw
    qemu-img convert -f raw -O vmdk -o zeroed_grain=on guest.raw "$1"
    put vmdk "$1" SECRET-ZEROED 5M 1M
    qemu-io -f vmdk -c "write -z 5M 1M" "$1" >/dev/null
    fallocate -p -o 5M -l 1M guest.raw
    # The descriptor's sectors 1 to 20 end in zeros, which QEMU ignores.
    mkdisk tag SECRET-HEADER "$1" $((512 * 15)) 1024
    mkdisk tag SECRET-APPENDED "$1" "$(stat -c %s "$1")" 256k
}

vhdx_source() {
    guest 4 guest.raw
    qemu-img convert -f raw -O vhdx -o block_size=1M guest.raw "$1"
    # [MS-VHDX] 2.1: only parts of the first MiB are records; 2.3: a log whose
    # GUID is zero is not read.
    mkdisk tag SECRET-HEADER "$1" 512k 256k
    mkdisk tag SECRET-GAP "$1" 1M 512k
    mkdisk tag SECRET-APPENDED "$1" "$(stat -c %s "$1")" 1M
}

vhd_source() {
    local end
    guest 5 guest.raw
    qemu-img convert -f raw -O vpc -o force_size=on guest.raw "$1"
    end=$(stat -c %s "$1")
    # Between the last block and the footer.
    tail -c 512 "$1" >"$run/footer"
    mkdisk tag SECRET-GAP "$1" $((end - 512)) 256k
    cat "$run/footer" >>"$1"
}

raw_source() {
    guest 6 "$1"
    cp --reflink=never "$1" guest.raw
}

# Overwritten occurrences of one text in two files must be equally many.
occurrences() {
    local sum=0 tag count _
    while read -r tag count _; do
        sum=$((sum + count))
    done < <(leakscan "$1" "$2")
    echo "$sum"
}

# graft_case SOURCE_FORMAT SOURCE STRATEGY VARIANT
graft_case() {
    local format target file found text wrong= have expect
    local what="$2 -> $4 by $3"
    format=$(format_of "$4") target=target.$(format_of "$4")
    # shellcheck disable=SC2206
    local command=("$DISKSHIFT" convert --json --strategy "$3" -f "$1"
        -O "$format" ${our_options[$4]} "$2" "$target")
    "${command[@]}" >"$run/out" 2>"$run/err"
    case $? in
    0) ;;
    *)
        if [[ $3 == graft ]] && grep -q "$not_graftable" "$run/err"; then
            echo "# $what: $(cat "$run/err")"
            return
        fi
        case_fail "$what" "command: ${command[*]}" "$(cat "$run/err")"
        return
        ;;
    esac
    [[ $(report '$t.strategy') == "$3" ]] ||
        wrong+="strategy, have $(report '$t.strategy') "
    while read -r file; do
        found=$(leakscan "$file" "${secrets[@]}") ||
            wrong+="$file holds (text, how often, first offset): $found "
    done < <(image_files "$target")
    for text in GUEST-HEAD GUEST-TAIL; do
        have=$(occurrences "$target" "$text")
        expect=$(occurrences guest.raw "$text")
        [[ $format == vmdk && -e ${target%.vmdk}-flat.vmdk ]] ||
            ((have == expect)) ||
            wrong+="$text occurs $have times expect $expect, "
    done
    wrong+=$(wrong_contents "$format" "$target" guest.raw)
    wrong+=$(wrong_structure "$format" "$target")
    if [[ -n $wrong ]]; then
        case_fail "$what" "command: ${command[*]}" "$wrong"
    else
        case_ok "$what"
        grafts[$1:$format]=1
    fi
    remove_image "$target"
}

not_graftable='graft'
declare -A grafts=()

all_targets() { # FORMAT SOURCE SECRET...
    local variant text
    sync "$2"
    for text in "${@:3}"; do
        (($(occurrences "$2" "SECRET-$text") > 0)) ||
            case_fail "given: $2 holds SECRET-$text"
    done
    for variant in vmdk-sparse qcow2 qcow2-v2-4k vhdx-dynamic vhd-dynamic; do
        graft_case "$1" "$2" graft "$variant"
    done
    for variant in vmdk-sparse qcow2 vhdx-dynamic raw; do
        graft_case "$1" "$2" range "$variant"
    done
}

qcow2_source snapshot.qcow2
all_targets qcow2 snapshot.qcow2 \
    SNAPSHOT NAME BITMAP DISCARDED ZEROED APPENDED
qcow2_source small.qcow2 compat=0.10,cluster_size=4k
all_targets qcow2 small.qcow2 SNAPSHOT NAME DISCARDED ZEROED APPENDED
qcow2_freed_source freed.qcow2
all_targets qcow2 freed.qcow2 SNAPSHOT BITMAP DISCARDED ZEROED APPENDED
qcow2_shrunk_source shrunk.qcow2
all_targets qcow2 shrunk.qcow2 TAIL
vmdk_source zeroed.vmdk
all_targets vmdk zeroed.vmdk ZEROED HEADER APPENDED
vhdx_source gaps.vhdx
all_targets vhdx gaps.vhdx HEADER GAP APPENDED
vhd_source gap.vhd
all_targets vhd gap.vhd GAP
raw_source head.raw
all_targets raw head.raw
# The pairs for which a graft is promised must not have been passed over.
for pair in qcow2:vmdk vmdk:qcow2 vhdx:qcow2 vhdx:vmdk vhd:vmdk raw:qcow2 \
    raw:vmdk qcow2:qcow2; do
    check "graft was done: $pair" test -n "${grafts[$pair]:-}"
done
finish
