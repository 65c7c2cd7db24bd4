#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the orchestrator at every step that it has, by its own list
# (steps.c): when it is begun, when it has acted. Resume ends where it would
# have ended; rollback, which is killed as well, leaves the source as it was. A
# step that is in no scene here is a failure. `full`: at every record of the
# journal, one by one, before it is written or after, in each scene.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin killed
mount=$(fs_make xfs 1G) || exit 1
fake_start

# -- scenes -------------------------------------------------------------------

# Which of them a step is killed in.
declare -A scene_of=(
    [drop-snapshot]=snapshot-left [shut-source]=shutdown
    [start-source]=shutdown [write-offline]=offline [copy-nvram]=whole
    [serve-disks]=whole [renew-macs]=whole [drop-backup]=no-backup
    [return-disks]=return [return-nvram]=return [drop-aside]=return
)
for step in inspect check snapshot clone-backup merge-snapshot choose-way \
    autostart-off run-script source-off shift-disks define-target start-target \
    wait-target run-target; do
    scene_of[$step]=snapshot
done
hooks=()
for stage in preflight backup prepare migrate wait; do
    for when in before after; do
        scene_of[hook-$when-$stage]=hooks
        hooks+=(--hook "$when-$stage=true")
    done
done

# prepared SCENE: $vm is the one that the journal will have it under.
prepared() {
    vm=web
    vm_make web
    case $1 in
    snapshot-left) told snapshot-web diskshift-7 ;;
    whole) nvram_make web ;;
    return)
        nvram_make web
        move web --no-start || return 1
        vm=web-moved
        cp --reflink=always "$mount/vm/web.img" "$mount/before.img"
        cp --reflink=always "$mount/nvram/web.fd" "$mount/before.fd"
        touch "$mount/vm/web.img.diskshift-aside-7"
        printf 'written there' | tee "$mount/later" |
            dd of="$mount/target/web-moved.1.nvram" conv=notrunc status=none
        qemu-io -f qcow2 -c 'write -P 0x5a 1M 64k' \
            "$mount/target/web-moved-sda.qcow2"
        ;;
    esac
}

play() {
    case $1 in
    shutdown) move web --backup shutdown ;;
    offline) move web --prepare offline ;;
    hooks) move web "${hooks[@]}" ;;
    whole) move web --format vhdx --serve-nbd --macs renew ;;
    no-backup) move web --no-keep-backup ;;
    test)
        fake run web --test --from "$uri" --to "$uri" \
            --directory "$mount/target" --guest-timeout 0 --deadline 5
        ;;
    return) fake return web ;;
    *) move web ;;
    esac
}

# Whoever carries the script in.
person() {
    printf 'changed in the guest' |
        dd of="$mount/vm/web.img" bs=1 seek=65536 conv=notrunc status=none
    virsh -q destroy web >/dev/null
}

goes_on() {
    [[ $(journal_state "$vm") == "done" ]] && return
    fake resume "$vm" && return
    [[ $(journal_state "$vm") == waiting ]] && person && fake resume "$vm"
}

# ended SCENE: as if nothing had happened.
ended() {
    case $1 in
    return)
        state_is web running || { echo "web does not run" && return 1; }
        state_is web-moved "shut off" || { echo "both run" && return 1; }
        qemu-img compare -q -f raw -F qcow2 "$mount/vm/web.img" \
            "$mount/target/web-moved-sda.qcow2" || return 1
        cmp "$mount/nvram/web.fd" "$mount/target/web-moved.1.nvram" || return 1
        cmp "$mount/before.img" "$mount/vm/web.img.diskshift-aside-2" || return 1
        cmp "$mount/before.fd" "$mount/nvram/web.fd.diskshift-aside-2" ||
            return 1
        [[ ! -e $mount/vm/web.img.diskshift-aside-7 ]]
        ;;
    test) is_untouched web ;;
    no-backup) is_moved web && [[ ! -e $mount/vm/diskshift-backup ]] ;;
    *) is_moved web ;;
    esac
}

# undone SCENE: as before it.
undone() {
    case $1 in
    return)
        state_is web-moved "shut off" || { echo "web-moved runs" && return 1; }
        state_is web "shut off" || { echo "web runs" && return 1; }
        cmp "$mount/before.img" "$mount/vm/web.img" || return 1
        cmp "$mount/before.fd" "$mount/nvram/web.fd" || return 1
        cmp -n 13 "$mount/later" "$mount/target/web-moved.1.nvram" || return 1
        [[ -z $(find "$mount" -name '*-aside-2' -o -name '*.partial') ]]
        ;;
    snapshot-left)
        rm -f "$DS_FAKE/snapshot-web"
        is_untouched web
        ;;
    *) is_untouched web ;;
    esac
}

# goes_back SCENE: by rollback. Where the backup was dropped nothing can: then
# all stays as it is.
goes_back() {
    [[ $(journal_state "$vm") == undone ]] || fake rollback "$vm" || {
        refused && goes_on && ended "$1"
        return
    }
    undone "$1"
}

refused() {
    [[ $scene == no-backup && ! -e $mount/vm/diskshift-backup ]] &&
        grep -q 'not to be kept' "$run/why"
}

# fails WHAT COMMAND...: a case when it does.
fails() {
    local what=$1
    shift
    "$@" >"$run/why" 2>&1 && return 1
    case_fail "$what" "command: $*" "$(tail -n 5 "$run/why")"
}

# -- by step ------------------------------------------------------------------

# killed STEP:POINT COMMAND...
killed() {
    local status
    DS_STOP_AT=$1
    export DS_STOP_AT
    shift
    "$@"
    status=$?
    unset DS_STOP_AT
    ((status == 137))
}

killed_back() {
    killed "$1" fake rollback "$vm" || refused
}

# Two ways out of a kill at POINT: on; or back, where that is killed as well.
on_from() {
    fails "$step: prepared" prepared "$scene" ||
        fails "$step: it is killed when $1" killed "$step:$1" play "$scene" ||
        fails "$step: resumed after it was $1" goes_on ||
        fails "$step: ended after it was $1" ended "$scene"
    vm_drop web
}

back_from() {
    fails "$step: prepared" prepared "$scene" ||
        fails "$step: it is killed when $1" killed "$step:$1" play "$scene" ||
        fails "$step: killed when it is $2" killed_back "$step:$2" ||
        fails "$step: rolled back after it was $1, $2" goes_back "$scene"
    vm_drop web
}

every_step() {
    local bad
    local -a steps
    local -A left
    for step in "${!scene_of[@]}"; do
        left[$step]=1
    done
    mapfile -t steps < <("$DS_STEPS")
    for step in "${steps[@]}"; do
        scene=${scene_of[$step]:-}
        unset "left[$step]"
        [[ -n $scene ]] || {
            case_fail "$step: no scene kills it"
            continue
        }
        bad=$failures
        on_from begun
        on_from acted
        back_from begun undone
        back_from acted reverted
        ((failures > bad)) || case_ok "$step, in scene $scene"
    done
    check "the program has steps" test "${#steps[@]}" -gt 20
    check "no scene is for a step that is none" test "${!left[*]}" = ""
}

# -- by record ----------------------------------------------------------------

# killed_at N COMMAND...: 0 when it was killed, 1 when it ended before.
killed_at() {
    local count=$1 have
    shift
    export "DS_STOP_${when}_RECORD=$count"
    "$@" >"$run/out" 2>"$run/err"
    have=$?
    unset "DS_STOP_${when}_RECORD"
    ((have == 137)) && return 0
    # 7: it waits for a person.
    [[ $have =~ ^[07]$ ]] && return 1
    case_fail "record $count" "exit status $have" "$(tail -n 5 "$run/err")"
    return 1
}

# every SCENE: all records of it.
every() {
    local count bad=$failures
    scene=$1
    for ((count = 1; ; count++)); do
        prepared "$scene" >/dev/null 2>&1
        killed_at "$count" play "$scene" || break
        fails "$scene: resumed after record $count" goes_on ||
            fails "$scene: ended after record $count" ended "$scene" ||
            fails "$scene: and rolled back, after record $count" \
                goes_back "$scene"
        vm_drop web
        prepared "$scene" >/dev/null 2>&1
        killed_at "$count" play "$scene"
        fails "$scene: rolled back after record $count" goes_back "$scene"
        vm_drop web
    done
    vm_drop web
    ((failures == bad && count > 12)) &&
        case_ok "$scene, ${when,,}: $((count - 1)) records"
}

# The restore is killed as well.
every_rollback() {
    local count bad=$failures
    scene=$1
    for ((count = 1; ; count++)); do
        prepared "$scene" >/dev/null 2>&1
        play "$scene" >/dev/null 2>&1
        killed_at "$count" fake rollback "$vm" || break
        fails "$scene: rollback, again after record $count" goes_back "$scene"
        vm_drop web
    done
    vm_drop web
    ((failures == bad && count > 10)) &&
        case_ok "$scene, rollback, ${when,,}: $((count - 1)) records"
}

case ${1:-steps} in
steps) every_step ;;
full)
    for when in BEFORE AFTER; do
        for scene in snapshot shutdown hooks offline whole no-backup test return; do
            every "$scene"
        done
        every_rollback snapshot
        every_rollback whole
        every_rollback return
    done
    ;;
*) die "no part named $1" ;;
esac
finish
