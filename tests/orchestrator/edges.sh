#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every decision and every error edge of the stages, with the fake: what ends
# badly leaves the source as it was.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin edges
mount=$(fs_make xfs 1G) || exit 1
fake_start

# edge WHAT STATUS WORDS PATTERN OPTION...: the fake is told WORDS (NAME=TEXT),
# the move ends with STATUS and says PATTERN; and was restored, unless WHAT
# begins with "moves".
edge() {
    local what=$1 expected=$2 words=$3 pattern=$4 word
    shift 4
    vm_make web
    for word in $words; do
        told "${word%%=*}" "${word#*=}"
    done
    status "$what" "$expected" move web "$@"
    [[ -z $pattern ]] || said "$what: it says so" "$pattern"
    # An old snapshot that could not be merged is there as before.
    [[ $words != *snapshot-web=* ]] || rm -f "$DS_FAKE/snapshot-web"
    if [[ $what == moves* ]]; then
        check "$what: it is there" is_moved web
    elif [[ $what != waits* ]]; then
        check "$what: the source is as before" is_untouched web
    fi
    [[ $what == waits* ]] || vm_drop web
}

edge "moves with a snapshot" 0 "" ""
edge "moves with a shutdown" 0 "" "" --backup shutdown
edge "moves without a backup" 0 "" "backup-none" --backup none \
    --accept-warnings
edge "moves when the guest cannot be stilled" 0 "fail-quiesce=1" \
    "power cut"
edge "moves after an old snapshot of ours" 0 "snapshot-web=diskshift-1" \
    "earlier try"
edge "moves when creation fails twice" 0 "fail-define=2" "try 2 of 3"
edge "moves when the guest never powers off" 0 "script-stays=1" "by force"
edge "moves and gives new MACs" 0 "" "" --macs renew
edge "moves, addresses seen" 0 "" "" --check-addresses

edge "creation fails three times" 6 "fail-define=3" "fake says no"
edge "an old snapshot cannot be merged" 6 \
    "snapshot-web=diskshift-1 fail-merge=1" "drop-snapshot"
edge "no snapshot can be made" 6 "fail-quiesce=1 fail-snapshot=1" "snapshot"
edge "merging fails once" 6 "fail-merge=1" "merge-snapshot"
edge "the source does not start again" 6 "fail-start-web=1" "start-source" \
    --backup shutdown
edge "the script fails" 6 "script-fails=1" "no luck"
edge "the agent dies under the script" 6 "script-stays=1 agent-dies=1" \
    "not connected"
edge "the target does not start" 6 "fail-start-web-moved=1" "start-target"
edge "the target is silent" 6 "silent=1" "without a result"
edge "the guest's second script fails" 6 "result-failed=1" "no such route"
edge "the target stays on" 5 "stays=1" "not known"
edge "the target does not start for good" 6 "fail-start-web-moved=1" \
    "fake says no" --backup shutdown
edge "no address is seen" 5 "mute-web-moved=1" "no address" --check-addresses
edge "a network that the target lacks" 6 "" "target-network" \
    --network default=missing
edge "a machine that the target lacks" 6 "" "target-machine" \
    --machine missing
edge "a format that the target lacks" 6 "" "target-format" --format vhdx
edge "the guest is to be reached and is not" 6 "mute-web=1" \
    "cannot be reached" --prepare online --accept-warning guest-answers
edge "the guest does not answer, which is not accepted" 6 "mute-web=1" \
    "guest-answers"
edge "a hook fails" 6 "" "hook after-backup: exit status 3" \
    --hook "after-backup=exit 3"
edge "the backup directory cannot be made" 5 "" "make directory" \
    --backup-directory "$mount/vm/web.img" --accept-warnings

# A full disk: what was written is removed again.
small=$(fs_make ext4 8M)
head -c 7M /dev/zero >"$small/fill" 2>/dev/null
edge "the target's disk is full" 5\|6 "" "" --directory "$small" \
    --accept-warnings
rm -f "$small/fill"

# A backup on another filesystem cannot share blocks.
other=$(fs_make ext4 32M)
vm_make web
status "it moves, its backup elsewhere" 0 move web --accept-warnings \
    --backup-directory "$other/backup"
said "it is said what was copied" "backup: [0-9]+ bytes were copied"
check "it is there" is_moved web
status "it is rolled back from there" 0 fake rollback web
check "rolled back: the source is as before" is_untouched web
vm_drop web
edge "a backup elsewhere where blocks must be shared" 5 "" \
    "share its blocks|other filesystem" --accept-warnings --require-clone \
    --backup-directory "$other/backup"

# What is generated: for the agent, and for a person.
script=
edge "moves with a generated script" 0 "" ""
edge "waits with a generated script" 7 "" "offline script" --prepare offline
check "waits with a generated script: a shell can read it" \
    sh -n "$mount/vm/diskshift-backup/web-1-offline/diskshift.sh"
status "and is rolled back" 0 fake rollback web
check "rolled back: nothing is left" is_untouched web
vm_drop web
script=$orchestrator_dir/script.sh

# The person's part.
edge "waits for a person" 7 "" "offline script has been run" --prepare offline
check "waits for a person: script and note are there" bash -c \
    "ls '$mount'/vm/diskshift-backup/web-1-offline/diskshift.sh \
        '$mount'/vm/diskshift-backup/web-1-offline/README.txt"
status "resume waits on while it runs" 7 fake resume web
printf 'changed in the guest' |
    dd of="$mount/vm/web.img" bs=1 seek=65536 conv=notrunc status=none
virsh -q destroy web >/dev/null
status "resume goes on when it is off" 0 fake resume web
check "resume goes on: it is there" is_moved web
status "a move that is done cannot be resumed" 6 fake resume web
status "but rolled back" 0 fake rollback web
check "rolled back: the source is as before" is_untouched web
status "only once" 6 fake rollback web
vm_drop web

# The state is not known, and it is left to a person.
edge "waits when the state is not known" 7 "stays=1" "not known" \
    --unknown leave
rm "$DS_FAKE/stays"
printf 'diskshift-result {"part":"second","phase":"settle","status":"done"}\n' \
    >"$mount/target/web-moved.1.report"
virsh -q destroy web-moved >/dev/null
status "resume gives it more time" 0 fake resume web
check "resume gives it more time: it is there" is_moved web
vm_drop web

# The host goes away in the middle; nothing can be undone until it is back.
vm_make web
status "the host goes" 5 move web --hook "after-backup=touch $DS_FAKE/gone"
said "the host goes: it says so" "try again with rollback"
rm "$DS_FAKE/gone"
status "rollback when it is back" 0 fake rollback web
check "rollback when it is back: the source is as before" is_untouched web
vm_drop web

# The source runs while the target would start.
vm_make web
status "both never run at once" 6 move web \
    --hook "before-wait=true" \
    --hook "after-prepare=virsh -q start web"
vm_drop web

# A test migration leaves nothing.
vm_make web
status "a test migration" 0 fake run web --test --from "$uri" --to "$uri" \
    --directory "$mount/target" --guest-timeout 0 --deadline 5
check "a test migration boots" bash -c \
    "jq -e '.verdict | test(\"boots\")' <<<'$(fake show web --json)'"
check "a test migration leaves nothing" is_untouched web
vm_drop web

# There, and back with what was written since.
vm_make web
status "it moves" 0 move web --no-start
qemu-io -f qcow2 -c 'write -P 0x5a 1M 64k' \
    "$mount/target/web-moved-sda.qcow2" >/dev/null
status "it returns" 0 fake return web
check "it returns: the source runs" state_is web running
check "it returns: the target is off" state_is web-moved "shut off"
check "it returns: with what was written" qemu-img compare -q -f raw -F qcow2 \
    "$mount/vm/web.img" "$mount/target/web-moved-sda.qcow2"
status "a return can be rolled back" 0 fake rollback web-moved
check "a return is rolled back: the source has its old disk" bash -c \
    "! qemu-img compare -q -f raw -F qcow2 '$mount/vm/web.img' \
        '$mount/target/web-moved-sda.qcow2'"
vm_drop web

# Without its backup a move cannot be rolled back: nothing is undone then.
vm_make web
nvram_make web
status "it moves, and keeps no backup" 0 move web --no-keep-backup
status "rollback is refused" 6 fake rollback web
said "it is said what is not" "return goes back with the target's"
check "all is as it was" is_moved web
check "also in the journal" test "$(journal_state web)" = "done"
virsh -q destroy web-moved
printf 'written there' |
    dd of="$mount/target/web-moved.1.nvram" conv=notrunc status=none
status "but it returns" 0 fake return web
check "with its UEFI variables" cmp "$mount/nvram/web.fd" \
    "$mount/target/web-moved.1.nvram"
vm_drop web
vm_make web
nvram_make web
status "it moves" 0 move web --no-start
rm "$mount/nvram/web.fd"
status "it returns to where no UEFI variables are" 0 fake return web
check "there they are" cmp "$mount/nvram/web.fd" \
    "$mount/target/web-moved.1.nvram"
status "rolled back" 0 fake rollback web-moved
check "there they are not" test ! -e "$mount/nvram/web.fd"
vm_drop web

# What a return keeps of the source's old disks goes with the next that is well.
# again OPTION...: moves it and returns.
again() {
    virsh -q undefine web-moved >/dev/null 2>&1
    rm -f "$mount"/target/*
    status "it moves" 0 move web --no-start "$@"
    status "it returns" 0 fake return web
}
asides() {
    find "$mount/vm" -maxdepth 1 -name '*.diskshift-aside-*' | sort
}
vm_make web
again
first=$(asides)
check "a return keeps the old disk" test -f "$first"
again
check "the next keeps its own alone" test "$(asides | wc -l)" = 1 -a \
    "$(asides)" != "$first"
touch "$mount/vm/web.img.diskshift-aside-mine"
again --no-keep-backup
check "none is kept if not wanted, nor is another's touched" test \
    "$(asides)" = "$mount/vm/web.img.diskshift-aside-mine"
vm_drop web

# cancel, from beside.
vm_make web
told stays
move web --deadline 1m >"$run/cancel.out" 2>&1 &
mover=$!
for ((i = 0; i < 100; i++)); do
    state_is web-moved running && break
    sleep 0.1
done
check "status shows who works on it" bash -c \
    "jq -e '.migrations[0].worked_on' <<<'$(fake status --json)'"
status "resume is refused meanwhile" 6 fake resume web
status "cancel" 0 fake cancel web
wait "$mover"
check "cancel: the source is as before" is_untouched web
finish
