#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the plan decides in each stage, and what is done where a step cannot do
# as it should: the decisions that edges.sh does not come by.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin decisions
mount=$(fs_make xfs 1G) || exit 1
fake_start

backup=$mount/vm/diskshift-backup/web-1
# macs NAME: of its network interfaces.
macs() {
    virsh -q dumpxml --inactive "$1" | grep -o "<mac address='[^']*'"
}
# shown FILTER: true of the migration.
shown() {
    jq -e "$1" <<<"$(fake show web --json)"
}

# -- the whole -----------------------------------------------------------------

vm_make web
hooks=() wanted=
for stage in preflight backup prepare migrate wait; do
    hooks+=(--hook "before-$stage=echo \$DISKSHIFT_HOOK >>'$run/hooks'"
        --hook "after-$stage=echo \$DISKSHIFT_HOOK >>'$run/hooks'")
    wanted+="before-$stage after-$stage "
done
status "hooks around each stage" 0 move web "${hooks[@]}"
check "in their order, each once" test "$(tr '\n' ' ' <"$run/hooks")" = "$wanted"
vm_drop web

# Four at once, but one for two hosts: each is through before the next begins.
for name in a b c d; do
    vm_make "$name"
done
status "a limit for each pair of hosts" 0 fake run a b c d --from "$uri" \
    --to "$uri" --directory "$mount/target" --network default=bridge:br0 \
    --script "$script" --guest-timeout 0 --retry-after 0 --test --deadline 5 \
    --jobs 4 --jobs-per-host 1 --progress=3 3>"$run/progress"
# shellcheck disable=SC2016 # jq's own
check "no two of them at once" jq -es \
    '[.[] | .vm // empty] | reduce .[] as $vm ([]; if .[-1] == $vm then . else
        . + [$vm] end) | length == 4' "$run/progress"
for name in a b c d; do
    vm_drop "$name"
done

# -- backup --------------------------------------------------------------------

vm_make web
told no-snapshots
status "no snapshots: it has to be accepted" 6 move web
said "no snapshots: by its rule" 'snapshot-cannot: web: .*shut down for the backup'
status "no snapshots: it is shut down for the backup" 0 move web \
    --accept-warning snapshot-cannot
check "no snapshots: it has moved" is_moved web
check "no snapshots: by a shutdown" shown \
    '[.steps[].name] | index("shut-source") and index("start-source") and
        (index("snapshot") | not)'
vm_drop web

vm_make web
told deaf-web
status "a guest that does not hear: shut down by force" 0 move web \
    --backup shutdown
said "it says so" 'web did not power off within 1 s: .*by force'
check "it has moved" is_moved web
vm_drop web

vm_make web
told fail-merge 99
status "a snapshot that cannot be merged" 6 move web
said "nor undone: it says what to do" 'restore: undo snapshot: .*try again with rollback'
check "the journal says how far it is" shown '.state == "undoing"'
told fail-merge 0
status "rollback when it can" 0 fake rollback web
check "rollback when it can: as before" is_untouched web
vm_drop web

# Off from the beginning: nothing of ours to start again.
vm_make web
virsh -q destroy web
status "a VM that is off: it has to be accepted" 6 move web
said "a VM that is off: by its rule" 'guest-off: web: is off: no script'
told stays # no script is in it that would power it off
status "a VM that is off moves" 0 move web --accept-warning guest-off
check "it was neither shut down nor prepared" shown \
    '[.steps[].name] | (index("shut-source") or index("run-script")) | not'
check "it runs there" state_is web-moved running
status "and back" 0 fake rollback web
check "it is off, as it was" state_is web "shut off"
check "its disk is as it was" cmp "$mount/template" "$mount/vm/web.img"
vm_drop web

vm_make web
status "the backup is kept" 0 move web
check "the backup is kept: with its manifest" test -s "$backup/manifest.json"
check "it is the disk before the script" cmp "$backup/0/web.img" "$mount/template"
vm_drop web
vm_make web
status "or is not" 0 move web --no-keep-backup
check "or is not: nothing of it is left" test ! -e "$mount/vm/diskshift-backup"
status "then nothing can be put back" '5|6' fake rollback web
said "then nothing can be put back: it says why" "backup of web was not to be kept.*return goes back"
vm_drop web

# On a filesystem of another kind: copied, holes left out, and put back.
other=$(fs_make ext4 64M) || exit 1
vm_make web
truncate -s 512M "$mount/vm/web.img"
cp --sparse=always "$mount/vm/web.img" "$run/web.before"
status "a backup on another filesystem" 0 move web \
    --backup-directory "$other/backup" --accept-warning backup-place
said "it says that it was copied" 'backup: [0-9]+ bytes were copied'
check "it has its holes" test "$(du -k --apparent-size "$other/backup/web-1/0/web.img" | cut -f1)" = 524288 \
    -a "$(du -k "$other/backup/web-1/0/web.img" | cut -f1)" -lt 16384
status "it is put back" 0 fake rollback web
check "it is put back: byte for byte" cmp "$run/web.before" "$mount/vm/web.img"
vm_drop web
vm_make web
status "a backup on another filesystem, where nothing may be copied" 6\|5 \
    move web --backup-directory "$other/backup" --require-clone --accept-warnings
check "the source is as before" is_untouched web
vm_drop web

# -- prepare -------------------------------------------------------------------

script=
for tools in --remove-tools --install-tools; do
    vm_make web
    status "$tools between hypervisors that are not known" 6 move web "$tools"
    said "$tools: there is no such script, which preflight tells" \
        "guest-script: web: there is no script for the guest: .*tools-${tools:2:6}"
    vm_drop web
done
script=$run/none
vm_make web
status "a script that is not there" 6 move web
said "a script that is not there: told by preflight" "guest-script: web: .*$run/none"
vm_drop web
script=$orchestrator_dir/script.sh

# The generated script does the tasks that are asked for.
vm_make web
script=
status "it is carried in by a person" 7 move web --prepare offline
check "it settles the network" grep -q network \
    "$mount/vm/diskshift-backup/web-1-offline/diskshift.sh"
status "it is undone" 0 fake rollback web
vm_drop web
script=$orchestrator_dir/script.sh

# -- migrate -------------------------------------------------------------------

vm_make web
before=$(macs web)
status "a network without an entry" 6 fake run web --from "$uri" --to "$uri" \
    --target-name web-moved --directory "$mount/target" --guest-timeout 0
said "is an error before anything is done" 'network-map: default'
status "MAC addresses are kept" 0 move web
check "MAC addresses are kept: all of them" test "$(macs web-moved)" = "$before"
check "CPUs and memory are as they were" bash -c \
    "diff <(virsh -q dominfo web | grep -E '^(CPU.s.|Max memory)') \
        <(virsh -q dominfo web-moved | grep -E '^(CPU.s.|Max memory)')"
vm_drop web
vm_make web
before=$(macs web)
status "or given anew" 0 move web --macs renew
check "or given anew: all others" test -n "$(macs web-moved)" -a \
    "$(macs web-moved)" != "$before"
check "the source keeps its own" test "$(macs web)" = "$before"
vm_drop web

# -- wait ----------------------------------------------------------------------

vm_make web
status "it is not started to stay" 0 move web --no-start
check "it is not started to stay: off on both" bash -c "
    [[ \$(virsh -q domstate web) == 'shut off' &&
        \$(virsh -q domstate web-moved) == 'shut off' ]]"
vm_drop web

vm_make web
told silent 1
status "two power cycles: the result comes with the second" 0 move web \
    --cycles 2 --deadline 10
said "two power cycles: it counts" 'power cycle 1 of at most 2'
check "two power cycles: it has moved" is_moved web
check "two power cycles: both are on record" shown \
    '[.steps[] | select(.name == "wait-target")][0].after.cycles == 2'
vm_drop web
vm_make web
told silent 9
status "two power cycles, and no result" 6 move web --cycles 2 --deadline 10
said "it does not wait for more" 'powered off without a result'
check "as before" is_untouched web
vm_drop web

# -- restore -------------------------------------------------------------------

vm_make web
told script-fails
told deaf-web
told fail-force_off-web 1
status "a source that does not power off for the restore" 6 move web
said "it warns that files may be in use" 'its files may be in use'
check "and puts them back" is_untouched web
vm_drop web

vm_make web
told script-fails
status "no restore on errors" 6 move web --no-restore-on-error
check "no restore on errors: nothing is undone" shown \
    '.state == "failed" and all(.steps[]; .state != "undone")'
status "but when asked" 0 fake rollback web
check "but when asked: as before" is_untouched web
vm_drop web

vm_make web
told script-fails
status "a restore that keeps the backup" 6 move web --restore-keep-backup
check "the backup is there" cmp "$backup/0/web.img" "$mount/template"
rm -r "$mount/vm/diskshift-backup"
check "and all else as before" is_untouched web
vm_drop web

vm_make web
told script-fails
status "a restore that does not start the source" 6 move web --no-restore-start
check "it is off" state_is web "shut off"
check "with its disk" cmp "$mount/template" "$mount/vm/web.img"
vm_drop web

vm_make web
told script-fails
status "the backup is lost" 6 move web \
    --hook "after-backup=rm -r '$mount/vm/diskshift-backup'"
said "it says so, and that it is not undone" \
    'restore: .*manifest.json: undo run-script: backup: .*try again with rollback'
vm_drop web
finish
