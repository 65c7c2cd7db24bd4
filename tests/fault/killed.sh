#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kill -9 at any moment: the source is byte for byte what it was, the target
# is absent or whole, there is at most one .partial per file, and the next run
# clears it.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

begin killed
RANDOM=815

# kills COUNT VARIANT SOURCE RAW [OPTION...]
kills() {
    local count=$1 variant=$2 source=$3 raw=$4 format begun spent i delay
    local target wrong killed=0 done=0 partial=0
    shift 4
    # shellcheck disable=SC2206
    local command=("$DISKSHIFT" convert -q -O "$(format_of "$variant")"
        ${our_options[$variant]} "$@" "$source" "k.$(format_of "$variant")")
    format=$(format_of "$variant") target=k.$(format_of "$variant")
    remember "$source"
    begun=${EPOCHREALTIME/./}
    "${command[@]}" 2>"$run/err" || {
        case_fail "$source -> $variant" "$(cat "$run/err")"
        return
    }
    spent=$((${EPOCHREALTIME/./} - begun))
    remove_image "$target"
    for ((i = 0; i < count; i++)); do
        wrong=
        "${command[@]}" 2>"$run/err" &
        spawned=$!
        delay=$(((RANDOM * 32768 + RANDOM) % (spent + 1)))
        sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
        kill -9 "$spawned" 2>/dev/null
        { wait "$spawned"; } 2>/dev/null
        case $? in
        0) done=$((done + 1)) ;;
        137) killed=$((killed + 1)) ;;
        *) wrong+="exit status $?: $(cat "$run/err") " ;;
        esac
        wrong+=$(wrong_source "$source")
        local -a partials=(k*.partial)
        ((${#partials[@]} == 0)) || partial=$((partial + 1))
        ((${#partials[@]} <= 2)) || wrong+="left: ${partials[*]} "
        if [[ -e $target ]]; then
            wrong+=$(wrong_contents "$format" "$target" "$raw")
            remove_image "$target"
        fi
        # An extent without descriptor may be left, but not in the way.
        rm -f k-flat.vmdk
        [[ -z $wrong ]] || {
            case_fail "$source -> $variant, killed after $delay us" "$wrong"
            rm -f k*
        }
    done
    "${command[@]}" 2>"$run/err"
    check "$source -> $variant $*: $killed killed, $done done, $partial with \
a .partial: the next run is right" test -z \
        "$(wrong_contents "$format" "$target" "$raw" 2>&1; cat "$run/err")"
    check "and has cleared it" test -z "$(echo k*.partial)"
    ((killed > count / 5)) ||
        case_fail "given: enough runs killed, have $killed of $count"
    remove_image "$target"
}

on_ext4() {
    local mount
    mount=$(fs_make ext4 2G)
    cd "$mount" || exit 1
    mkdisk dense 200M 1 a.raw
    sync -f .
    kills 6 qcow2 a.raw a.raw
    kills 4 vmdk-flat a.raw a.raw
}

on_xfs() {
    local mount
    mount=$(fs_make xfs 2G)
    cd "$mount" || exit 1
    mkdisk fragmented 64M 2 b.raw
    qemu_make_shuffled qcow2-v2-4k b.raw b.qcow2
    sync -f .
    kills 8 vhdx-dynamic b.qcow2 b.raw
    kills 8 vmdk-sparse b.qcow2 b.raw --strategy graft
    kills 8 vmdk-flat b.qcow2 b.raw
}

# --force: the old target or the new one.
replaced() {
    local i killed=0 delay mount
    mount=$(fs_make xfs 1G)
    cd "$mount" || exit 1
    mkdisk fragmented 32M 3 old.raw
    mkdisk fragmented 32M 4 new.raw
    convert_to qcow2 old.raw r.qcow2
    for ((i = 0; i < 15; i++)); do
        "$DISKSHIFT" convert -q --force new.raw r.qcow2 2>"$run/err" &
        spawned=$!
        delay=$((RANDOM % 60))
        sleep "0.0$(printf '%02d' $delay)"
        kill -9 "$spawned" 2>/dev/null && killed=$((killed + 1))
        { wait "$spawned"; } 2>/dev/null
        if qemu-img compare -q -F raw -f qcow2 r.qcow2 new.raw; then
            convert_to qcow2 old.raw r.qcow2 --force
        elif ! qemu-img compare -q -F raw -f qcow2 r.qcow2 old.raw; then
            case_fail "--force killed after $delay ms: neither old nor new"
        fi
    done
    case_ok "--force: the old target or the new one, $killed of $i killed"
}

on_ext4
on_xfs
replaced
finish
