# SPDX-License-Identifier: Apache-2.0
# Sourced by bench/scale: its parts. Each is a function measure_PART, which
# makes its disks, sets `case` and `axis`, and lets contestants take turns.

gib=$((1 << 30))

# The gigabyte that terabytes are made of. btrfs looks at all references to an
# extent when it is asked where a file lies, and a disk of 1024 times the same
# is no disk that exists: there it is eight.
make_base() {
    local i times=1
    dd if=/dev/urandom of="$mount/part" bs=1M iflag=fullblock count=1024 \
        status=none
    [[ $filesystem != btrfs ]] || times=8
    for ((i = 0; i < times; i++)); do
        cat "$mount/part" >>"$mount/base"
        sync -f "$mount"
    done
    rm "$mount/part"
}

# For the next part.
clear_mount() {
    find "$mount" -mindepth 1 -maxdepth 1 ! -name base -exec rm -rf {} +
    wait_removed
}

clear_target() {
    rm -f "$mount"/target* "$mount"/*/*.vhdx
    wait_removed
}

# note KIND JSON: a line for the report.
note() {
    jq -cn --arg kind "$1" --arg filesystem "$filesystem" --arg part "$part" \
        --arg case "$case" --argjson axis "$axis" --argjson more "$2" \
        '{$kind, $filesystem, $part, $case, $axis} + $more' >>"$samples"
}

mapped() {
    "$programs/bench_mapped" "$mount/base" "$@"
    sync -f "$mount"
}

convert_to() { # FORMAT OPTIONS SOURCE TARGET: a source, made by diskshift
    "$diskshift" convert -q --no-verify -O "$1" ${2:+-o "$2"} "$mount/$3" \
        "$mount/$4" 2>/dev/null || die "$filesystem $part: no $4 from $3"
    sync -f "$mount"
}

# set_case SOURCE FORMAT OPTIONS DATA [OPTION...]: what the contestants work
# on; DATA is the file in which SOURCE has its data. Plans it, which also
# brings the source's tables into the page cache.
set_case() {
    local plan
    source=$1 format=$2 options=$3 data=$4
    shift 4
    target=$mount/target.$format
    convert=("$diskshift" convert -q -O "$format" ${options:+-o "$options"}
        "$@")
    plan=$("$diskshift" plan --json -O "$format" ${options:+-o "$options"} \
        "$@" "$mount/$source" "$target" | jq -c '.targets[0]')
    tables_bytes=$(jq .metadata_bytes <<<"$plan")
    note case "$(jq -c '{plan: {strategy, shared_bytes, copied_bytes,
        metadata_bytes, operations_by_kind}}' <<<"$plan")"
}

# list_calls KINDS: the ranges that diskshift clones or writes, for
# bench_clones: of the source, of the target's own pages ("repeat"), and tables.
list_calls() {
    "$diskshift" plan --json --ops --strategy range -O "$format" \
        ${options:+-o "$options"} "$mount/$source" "$target" |
        sed -nE "/\"kind\": \"($1)\",/s/,\$//p" |
        jq -r '({clone: "source", repeat: "target", write: "bytes"}[.kind]) +
            " \(.source_offset_bytes // 0) \(.target_offset_bytes) " +
            "\(.length_bytes)"' >"$list"
}

# System calls are counted in a run of their own, since that takes its time.
count_calls() {
    local calls
    clear_target
    strace -f -qq -c -U calls,name -o "$list.calls" "${convert[@]}" \
        "$mount/$source" "$target" >/dev/null 2>&1 ||
        die "$filesystem $part $case: fails under strace"
    calls=$(awk '$2 == "total" { print $1 }' "$list.calls")
    note calls "{\"system_calls\": $calls}"
}

# contest CONTESTANT ROUND: one measurement.
contest() {
    local contestant=$1 round=$2 line
    local -a files=("$mount/$source" "$target")
    local -a watch=("$programs/bench_stopwatch")
    local -a flush=("${watch[@]}" --flush "$target")
    case $contestant in
    diskshift) set -- "${watch[@]}" "${convert[@]}" "${files[@]}" ;;
    diskshift-no-verify)
        set -- "${watch[@]}" "${convert[@]}" --no-verify "${files[@]}"
        ;;
    verify) set -- "${watch[@]}" "$diskshift" verify "${files[@]}" ;;
    tables) set -- "${flush[@]}" --append "$tables_bytes" touch "$target" ;;
    clones | tables-in-place)
        set -- "$programs/bench_clones" "$mount/$data" "$target" "$list"
        ;;
    clones-data)
        set -- "$programs/bench_clones" "$mount/$data" "$target" "$list.part"
        ;;
    cp-reflink)
        set -- "${flush[@]}" cp --reflink=always "$mount/$data" "$target"
        ;;
    qemu-img)
        set -- "${flush[@]}" qemu-img convert -m 16 -W -O "$format" "${files[@]}"
        ;;
    all-at-once)
        set -- "${watch[@]}" xargs -a "$list" -P 100 -I{} "${convert[@]}" \
            "$mount/{}.vmdk" "$mount/{}.vhdx"
        ;;
    reads-*) set -- random_reads "$mount/${contestant#reads-}.vhdx" ;;
    esac
    [[ $contestant == verify || $contestant == reads-* ]] || clear_target
    line=$("$@" 2>"$list.calls") ||
        { cat "$list.calls" >&2 &&
            die "$filesystem $part $case: $contestant failed: $*"; }
    note sample "$(jq -c --arg contestant "$contestant" \
        --argjson round "$round" '{$contestant, $round} + .' <<<"$line")"
}

# turns CONTESTANT...: each in each round; who begins changes.
turns() {
    local round i at
    for ((round = 0; round < repeat; round++)); do
        for ((i = 0; i < $#; i++)); do
            at=$(((i + round) % $# + 1))
            contest "${!at}" "$round"
        done
    done
}

# -- the parts ----------------------------------------------------------------

measure_verify() { # of the case that is set
    clear_target
    "${convert[@]}" --no-verify --growth 0 "$mount/$source" "$target"
    local part=verify
    turns verify
}

measure_mapped() {
    local form size=$((1 << 40))
    mapped $size "$mount/disk.raw"
    convert_to vmdk subformat=monolithicFlat disk.raw flat.vmdk
    convert_to vmdk "" disk.raw sparse.vmdk
    rm "$mount/disk.raw"
    axis=$size
    for form in flat sparse; do
        data=sparse.vmdk
        [[ $form == sparse ]] || data=flat-flat.vmdk
        while read -r format options; do
            case="$form vmdk to $format${options:+ $options}"
            set_case $form.vmdk "$format" "$options" $data
            turns diskshift diskshift-no-verify tables cp-reflink
            count_calls
            measure_verify
        done <<<$'vhdx\nqcow2\nqcow2 cluster_size=2M\nraw\nvhd subformat=fixed'
    done
}

# Not on btrfs, where 64 TiB are half a million references to 64 extents.
measure_largest() {
    [[ $filesystem != btrfs ]] || return 0
    axis=$((size_max << 40))
    mapped $axis "$mount/disk.raw"
    convert_to vhdx "" disk.raw disk.vhdx
    rm "$mount/disk.raw"
    case="vhdx to qcow2 cluster_size=2M"
    set_case disk.vhdx qcow2 cluster_size=2M disk.vhdx
    turns diskshift diskshift-no-verify tables cp-reflink
    count_calls
}

# 1024 pieces of 2 MiB, whatever the disk's size. Beside it stand the target's
# tables, in the places that they have in it. A raw disk has none. Milliseconds,
# which differ more than seconds: three times as often as the rest.
measure_size() {
    local size form repeat=$((repeat * 3))
    for ((size = 4 * gib; size <= size_max << 40; size *= 4)); do
        rm -f "$mount/disk.raw"
        mapped $size "$mount/disk.raw" 1024
        axis=$size
        for form in raw qcow2 vhdx; do
            case="raw to $form"
            set_case disk.raw $form "" disk.raw
            list_calls write
            if [[ -s $list ]]; then
                turns diskshift diskshift-no-verify tables-in-place
            else
                turns diskshift diskshift-no-verify
            fi
            count_calls
        done
    done
}

measure_extents() {
    local count clusters
    for clusters in 1 16; do
        for ((count = 1024; count <= extents_max; count *= 4)); do
            axis=$count
            mapped $((count * clusters * 65536)) "$mount/disk.raw"
            "$programs/bench_fragmented" "$mount/disk.raw" \
                "$mount/disk.qcow2" 1 $clusters
            rm "$mount/disk.raw"
            sync -f "$mount"
            case="pieces of $((clusters * 64)) KiB, cloned"
            set_case disk.qcow2 raw "" disk.qcow2 --strategy range
            list_calls clone
            # What takes seconds, once.
            repeat=$((count > 65536 ? 1 : repeat)) \
                turns diskshift diskshift-no-verify clones
            ((count > 16384)) || count_calls
            case="pieces of $((clusters * 64)) KiB, the cheaper way"
            set_case disk.qcow2 vmdk "" disk.qcow2
            turns diskshift
        done
    done
}

# The bitmap before each block of 2 MiB makes a clone of each, and takes one
# itself.
measure_dynamic() {
    local size
    for size in 16 64; do
        axis=$((size * gib / (2 << 20)))
        case="raw to dynamic vhd"
        mapped $((size * gib)) "$mount/disk.raw"
        set_case disk.raw vhd "" disk.raw --strategy range
        list_calls "clone|repeat"
        grep source "$list" >"$list.part"
        turns diskshift diskshift-no-verify clones clones-data
        rm "$list.part"
        count_calls
    done
}

# The lowest layer holds all of 1 GiB, each other one 128 pieces of 256 KiB.
make_layer() (
    cd "$mount"
    qemu-img create -q -f qcow2 -F qcow2 -b layer$(($1 - 1)).qcow2 \
        layer$1.qcow2
    awk -v layer="$1" 'BEGIN {
        srand(layer)
        for (i = 0; i < 128; i++)
            printf "write -q -P %d %dM 256k\n", layer, rand() * 1024
    }' | qemu-io layer$1.qcow2 >/dev/null
)

measure_chains() {
    local layer
    mapped $gib "$mount/disk.raw"
    convert_to qcow2 "" disk.raw layer1.qcow2
    case="qcow2 chain to vhdx"
    for ((layer = 1; layer <= 16; layer++)); do
        ((layer == 1)) || make_layer $layer
        ((layer & (layer - 1))) && continue
        axis=$layer
        sync -f "$mount"
        set_case layer$layer.qcow2 vhdx "" layer1.qcow2
        turns diskshift diskshift-no-verify
        ((layer > 1 && layer < 16)) || repeat=1 turns qemu-img
        count_calls
    done
}

# A hundred disks that share nothing with each other: each in a directory of its
# own, as hypervisors keep their guests, which XFS lays into its allocation
# groups by turns; and all in one, which it keeps in one group.
measure_crowd() {
    local i count=100 directory
    case="vmdk to vhdx, a directory each" axis=$count
    for ((i = 1; i <= count; i++)); do
        directory=$mount/$i
        mkdir "$directory"
        make_member "$directory"
    done
    seq -f "%g/disk" $count >"$list"
    crowd_turns
    rm -rf "$mount"/[1-9]*
    case="vmdk to vhdx, all in one directory"
    mkdir "$mount/all"
    for ((i = 1; i <= count; i++)); do
        make_member "$mount/all"
        mv "$mount/all/disk.vmdk" "$mount/all/$i.vmdk"
    done
    seq -f "all/%g" $count >"$list"
    crowd_turns
}

make_member() { # DIRECTORY: disk.vmdk in it; the next one of other bytes
    member=$(((${member:-0} + 1) % 16))
    dd if="$mount/base" of="$1/part" bs=64M skip=$member count=1 status=none
    sync -f "$mount"
    "$programs/bench_mapped" "$1/part" $((10 * gib)) "$1/disk.raw"
    convert_to vmdk "" "${1#"$mount"/}/disk.raw" "${1#"$mount"/}/disk.vmdk"
    rm "$1/part" "$1/disk.raw"
}

# Of the disks that $list names, each beside its target. One takes
# milliseconds, as in size.
crowd_turns() {
    local first repeat=$((repeat * 3))
    first=$(head -n 1 "$list")
    set_case "$first.vmdk" vhdx "" "$first.vmdk"
    target=$mount/$first.vhdx
    turns diskshift all-at-once
}

# 4000 reads of 4 KiB, one after the other, past the page cache.
random_reads() {
    "$programs/bench_stopwatch" bash -c "awk 'BEGIN {
            srand(1)
            for (i = 0; i < 4000; i++)
                printf \"read -q %dk 4k\\n\", int(rand() * 524288) * 4
        }' | qemu-io -r -n -f vhdx '$1'"
}

# What a guest's first reads cost: of a disk that is shared, and of a copy.
measure_boot() {
    local clusters
    axis=$((2 * gib))
    dd if=/dev/urandom of="$mount/disk.raw" bs=1M iflag=fullblock count=2048 \
        status=none
    for clusters in 1 16 32768; do
        "$programs/bench_fragmented" "$mount/disk.raw" "$mount/disk.qcow2" 1 \
            $clusters
        case="source in pieces of $((clusters * 64)) KiB"
        set_case disk.qcow2 vhdx "" disk.qcow2
        "${convert[@]}" "$mount/$source" "$mount/shared.vhdx"
        qemu-img convert -m 16 -W -O vhdx "$mount/$source" "$mount/copied.vhdx"
        sync -f "$mount"
        turns reads-shared reads-copied
        rm "$mount"/*.vhdx
    done
}
