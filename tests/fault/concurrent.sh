#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many converters to one target at once: one makes it, whole; the others are
# refused in clear words and leave nothing. With --force each either replaces
# it or is refused, and what is there at any moment is whole. And a source that
# changes meanwhile: the target is refused.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

begin concurrent

at_once=12
rounds=${1:-2}

# together TARGET_VARIANT SOURCE TARGET [OPTION...]: sets $won and $refused, and
# $wrong to what else happened.
together() {
    local variant=$1 source=$2 target=$3 i status
    local -a ids=()
    shift 3
    won=0 refused=0 wrong=
    for ((i = 0; i < at_once; i++)); do
        convert_to "$variant" "$source" "$target" "$@" 2>"$run/err.$i" &
        ids+=($!)
    done
    for ((i = 0; i < at_once; i++)); do
        wait "${ids[i]}"
        status=$?
        if ((status == 0)); then
            won=$((won + 1))
        elif ((status == 6)) && grep -qE \
            'exists|another process is writing it|others keep making it' \
            "$run/err.$i"; then
            refused=$((refused + 1))
        else
            wrong+="exit status $status: $(cat "$run/err.$i") "
        fi
    done
}

contest() { # FS VARIANT SOURCE [OPTION...]
    local fs=$1 variant=$2 source=$3 format round all_won=0 all_refused=0 bad=
    shift 3
    format=$(format_of "$variant")
    for ((round = 0; round < rounds; round++)); do
        together "$variant" "$source" "t.$format" "$@"
        all_won=$((all_won + won)) all_refused=$((all_refused + refused))
        [[ $* == *--force* ]] || ((won == 1)) || wrong+="$won have won "
        ((won > 0)) || wrong+="nobody has won "
        wrong+=$(wrong_contents "$format" "t.$format" a.raw)
        [[ -z $(echo *.partial) ]] || wrong+="left: $(echo *.partial) "
        bad+=$wrong
        rm -f t.* t-*
    done
    check "$fs: $source -> $variant $*: $at_once at once, $rounds times: \
$all_won made it, $all_refused refused" test -z "$bad"
    [[ -z $bad ]] || echo "    $bad"
}

contests() { # FS
    local mount
    mount=$(fs_make "$1" 1G)
    cd "$mount" || exit 1
    mkdisk fragmented 16M 6 a.raw
    qemu_make vmdk-sparse a.raw b.vmdk
    sync -f .
    remember a.raw
    contest "$1" qcow2 a.raw
    contest "$1" vmdk-flat b.vmdk
    contest "$1" vhdx-dynamic b.vmdk --force
    contest "$1" vmdk-flat a.raw --force
    check "$1: the source is as before" test -z "$(wrong_source a.raw)"
}

# changed WHAT COMMAND...: the source changes so while it is converted.
changed() {
    local what=$1
    shift
    "$DISKSHIFT" convert -q -O qcow2 -o compress=zstd a.raw c.qcow2 \
        2>"$run/err" &
    spawned=$!
    if ! halfway c.qcow2.partial; then
        reap "$spawned" KILL
        case_fail "given: a run that can be stopped halfway"
        rm -f c.qcow2*
        return
    fi
    "$@"
    kill -CONT "$spawned"
    wait "$spawned"
    check "$what: exit 6" test $? = 6
    said "$what: says so" 'changed'
    check "$what: no target" absent c.qcow2
}

# The times are as before; that they were set is not.
rewritten() {
    touch -r a.raw "$run/times"
    printf x | dd of=a.raw bs=1 seek=9999 conv=notrunc status=none
    touch -r "$run/times" a.raw
}

changes() {
    local mount
    mount=$(fs_make xfs 1G)
    cd "$mount" || exit 1
    mkdisk dense 64M 7 a.raw
    sync -f .
    changed "one byte written" dd if=/dev/zero of=a.raw bs=1 count=1 \
        seek=60000000 conv=notrunc status=none
    changed "written, and the time set back" rewritten
    changed "grown" truncate -s +1M a.raw
    changed "cut" truncate -s 64M a.raw
}

contests xfs
contests ext4
changes
finish
