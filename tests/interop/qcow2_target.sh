#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# qcow2_target.sh xfs|btrfs
#
# What the qcow2 writer can be asked for beyond the standard: every width of
# reference counts, extended L2 entries, an external data file. Each by range
# and by graft, with nothing copied, held to qemu-img; then QEMU writes into
# what we made, and it must still be in order.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/convert.bash"

fs=$1
begin "qcow2-target-$fs"
need qcowinfo
mount=$(fs_make "$fs" 8G)
cd "$mount" || exit 1

for bits in 1 2 4 8 16 32 64; do
    our_options[qcow2-refcount-$bits]="-o refcount_bits=$bits -o cluster_size=4k"
done
for cluster in 16k 64k 128k 2M; do
    our_options[qcow2-extended-$cluster]="-o extended_l2=yes -o cluster_size=$cluster"
done
our_options[qcow2-extended-refcount-1]='-o extended_l2=yes -o refcount_bits=1'
our_options[qcow2-data]='-o data_file=yes'
our_options[qcow2-data-4k]='-o data_file=yes -o cluster_size=4k'
our_options[qcow2-data-extended]='-o data_file=yes -o extended_l2=yes -o refcount_bits=64'

# A qcow2 beside whose name another data file lies.
image_files() {
    local data=${1%.qcow2}-data.raw flat=${1%.vmdk}-flat.vmdk
    echo "$1"
    [[ $1 == *.qcow2 && -e $data ]] && echo "$data"
    [[ $1 == *.vmdk && -e $flat ]] && echo "$flat"
    return 0
}

# libqcow refuses what it does not know: feature bits of version 3.
wrong_libyal() {
    case $variant in
    *extended* | *data*) return 0 ;;
    esac
    qcowinfo "$2" >"$run/libyal" 2>&1 || echo "libyal: $(cat "$run/libyal")"
}

# QEMU writes where there was nothing and over what there was.
grows() { # WHAT IMAGE RAW
    local format output
    cp --reflink=auto "$3" expect.raw
    for format in qcow2 raw; do
        [[ $format == raw ]] && set -- "$1" "$2" "$3" expect.raw
        qemu-io -f $format -c 'write -P 165 1M 200k' \
            -c 'write -P 90 9000k 300k' -c 'write -P 60 15M 4k' \
            "${4:-$2}" >"$run/out" 2>&1 || {
            case_fail "$1: written to" "$(cat "$run/out")"
            return
        }
    done
    if ! output=$(qemu-img check "$2" 2>&1) || [[ $output == *leaked* ]]; then
        case_fail "$1: written to, qemu-img check" "$output"
    elif ! output=$(qemu-img compare -f qcow2 -F raw "$2" expect.raw 2>&1); then
        case_fail "$1: written to, same" "$output"
    elif ! output=$("$DISKSHIFT" check "$2" 2>&1); then
        case_fail "$1: written to, check" "$output"
    else
        case_ok "$1: written to"
    fi
}

# one SOURCE RAW VARIANT STRATEGY
one() {
    local format=${2%%:*} source=${2#*:} variant=$3 strategy=$4
    local what="$source -> $3, $4" target=target.qcow2
    convert_case "$what" "$format" "$source" "$3" "$target" "$1" 0 \
        --strategy "$4" --require-clone || return
    [[ $4 == auto || $(report '$t.strategy') == "$4" ]] ||
        case_fail "$what: strategy" "have $(report '$t.strategy')"
    status "$what: check" 0 "$DISKSHIFT" check "$target"
    grows "$what" "$target" "$1"
    check "$what: the source is as it was" test -z "$(wrong_source "$source")"
    remove_image "$target"
}

mkdisk sparse 24M 1 sparse.raw
mkdisk fragmented 24M 4 shuffled.raw
qemu_make vhdx-dynamic sparse.raw sparse.vhdx
qemu_make_shuffled qcow2 shuffled.raw shuffled.qcow2
# Clusters that are there in part: subclusters of 4 KiB, holes between.
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k part.qcow2 24M
for ((i = 0; i < 60; i++)); do
    echo "write -P $((i + 1)) $((i * 397 / 4 * 4))k 12k"
done | qemu-io part.qcow2 >/dev/null
qemu-img convert -O raw part.qcow2 part.raw
sync -f .
for source in sparse.raw sparse.vhdx shuffled.qcow2 part.qcow2; do
    remember "$source"
done

for bits in 1 2 4 8 16 32 64; do
    one sparse.raw raw:sparse.raw "qcow2-refcount-$bits" range
    one sparse.raw vhdx:sparse.vhdx "qcow2-refcount-$bits" graft
done
for form in extended-16k extended-64k extended-refcount-1; do
    one sparse.raw raw:sparse.raw "qcow2-$form" range
    one sparse.raw raw:sparse.raw "qcow2-$form" graft
    one shuffled.raw qcow2:shuffled.qcow2 "qcow2-$form" range
done
one shuffled.raw qcow2:shuffled.qcow2 qcow2-extended-64k graft
one sparse.raw vhdx:sparse.vhdx qcow2-extended-128k graft
one sparse.raw vhdx:sparse.vhdx qcow2-extended-2M graft
one part.raw qcow2:part.qcow2 qcow2-extended-128k graft
one part.raw qcow2:part.qcow2 qcow2-extended-16k range
for form in data data-4k data-extended; do
    one sparse.raw raw:sparse.raw "qcow2-$form" range
    one sparse.raw raw:sparse.raw "qcow2-$form" graft
    one sparse.raw vhdx:sparse.vhdx "qcow2-$form" auto
    one shuffled.raw qcow2:shuffled.qcow2 "qcow2-$form" auto
done
# The disk ends within a block: that much is copied.
mkdisk sparse $((9 * 1024 * 1024 + 3 * 512)) 3 odd.raw
remember odd.raw
for variant in qcow2-data qcow2-extended-64k qcow2-refcount-1; do
    convert_case "odd.raw -> $variant" raw odd.raw $variant target.qcow2 \
        odd.raw 1536
    remove_image target.qcow2
done

# The guest's writes land in the data file, and it is a raw disk of its own.
"$DISKSHIFT" convert -q -o data_file=yes sparse.raw d.qcow2
qemu-io -c 'write -P 7 20M 64k' d.qcow2 >/dev/null
cp sparse.raw expect.raw
qemu-io -f raw -c 'write -P 7 20M 64k' expect.raw >/dev/null
check "a write lands in the data file" cmp expect.raw d-data.raw
check "the source is as it was" test -z "$(wrong_source sparse.raw)"

# Only when asked: the source's own file is the data file.
cp sparse.raw own.raw
status "refer to the source" 0 "$DISKSHIFT" convert --share-source-file \
    --json -o data_file=yes own.raw own.qcow2
check "refer: told of it" test "$(jq '[.targets[0].notes[] |
    select(test("working directory|what the guest writes"))] | length' \
    "$run/out")" = 2
check "refer: no other file" test ! -e own-data.raw
check "refer: nothing copied" test "$(report '$t.copied_bytes')" = 0
check "refer: qemu-img check" qemu-img check own.qcow2
check "refer: same" qemu-img compare sparse.raw own.qcow2
qemu-io -c 'write -P 7 20M 64k' own.qcow2 >/dev/null
check "refer: a write lands in the source" cmp expect.raw own.raw
check "refer: still in order" qemu-img check own.qcow2

# Also where the file has more than the disk, or is an extent of another.
qemu-img convert -O vpc -o subformat=fixed,force_size=on odd.raw own.vhd
qemu-img convert -O vmdk -o subformat=monolithicFlat odd.raw own.vmdk
tail -c 512 own.vhd >footer
for source in own.vhd own.vmdk; do
    status "refer to $source" 0 "$DISKSHIFT" convert -q --share-source-file \
        -o data_file=yes "$source" "$source.qcow2"
    qemu-io -c 'write -P 7 9M 512' "$source.qcow2" >/dev/null
    check "refer to $source: qemu-img check" qemu-img check "$source.qcow2"
    check "refer to $source: the write is there" qemu-io -r \
        -f "$(qemu_format "${source#*.}")" \
        -c 'read -P 7 9M 512' "$source"
done
check "refer to own.vhd: its footer stays" cmp footer <(tail -c 512 own.vhd)

# Reference counts of a file that is far larger than what it holds: more
# blocks than a buffer.
truncate -s 3G far.raw
dd if=sparse.raw of=far.raw bs=1M seek=3000 conv=notrunc status=none
dd if=sparse.raw of=far.raw bs=1M count=1 conv=notrunc status=none
remember far.raw
for bits in 1 64; do
    convert_case "far.raw, $bits bits" raw far.raw "qcow2-refcount-$bits" \
        target.qcow2 far.raw 0 --strategy graft
    status "far.raw, $bits bits: check" 0 "$DISKSHIFT" check target.qcow2
    remove_image target.qcow2
done
finish
