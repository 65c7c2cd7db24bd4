#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A person carries the script in: what they do while nobody, or the
# orchestrator, waits for them, and what they do not do.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin person
mount=$(fs_make xfs 1G) || exit 1
fake_start

# The person's acts in the guest: the script's change, its power-off.
carry() {
    printf 'changed in the guest' |
        dd of="$mount/vm/web.img" bs=1 seek=65536 conv=notrunc status=none
    virsh -q destroy web
}
# Until the wait has begun: the source's autostart is off before it.
waits() {
    local i
    for ((i = 0; i < 200; i++)); do
        [[ -e $mount/vm/diskshift-backup/web-1-offline/README.txt ]] &&
            [[ $(fake show web --json | jq -r '[.steps[] |
                select(.name == "source-off")][0].state') == begun ]] &&
            return 0
        sleep 0.05
    done
    return 1
}
# behind OPTION...: a move that goes on beside; then $mover, and how_it_ends.
behind() {
    move web --prepare offline "$@" >"$run/out" 2>"$run/err" &
    mover=$!
    check "it waits" waits
}
# The orchestrator itself, which the shell's function runs.
kill_it() {
    kill -KILL "$(pgrep -P "$mover")"
}
how_it_ends() {
    local what=$1 expected=$2 have=0
    wait "$mover" || have=$?
    check "$what: exit status $have" test "$have" = "$expected"
}
offline=$mount/vm/diskshift-backup/web-1-offline

# In time.
vm_make web
behind --offline-timeout 1m
check "the script is there" test -s "$offline/diskshift.sh"
check "and an image of it" test -s "$offline.iso"
check "the image holds the script and the note" bash -c \
    "xorriso -indev '$offline.iso' -find / 2>/dev/null | tr A-Z a-z |
        grep -c -e diskshift.sh -e readme.txt | grep -qx 2"
check "the note says how" grep -q "sh diskshift.sh" "$offline/README.txt"
carry
how_it_ends "the person is in time" 0
check "the person is in time: it is there" is_moved web
check "without force" bash -c "! grep -q 'by force' '$run/err'"
vm_drop web

# Too late.
vm_make web
told silent # script 2 was never armed
behind --offline-timeout 2
how_it_ends "nobody comes" 6
said "nobody comes: it is powered off by force" \
    'did not power off within 2 s: it is powered off by force'
status "nobody comes: its report" 0 fake report web
check "the report warns" grep -q 'by force, and its filesystems may be unclean' \
    "$run/out"
check "nobody comes: the source is as before" is_untouched web
vm_drop web

# Off, and on again before anybody looks: resume sees that it runs, and waits.
vm_make web
status "nobody waits" 7 move web --prepare offline
virsh -q "destroy web; start web" >/dev/null
status "on again: resume waits on" 7 fake resume web
carry
status "off for good: resume goes on" 0 fake resume web
check "off for good: it is there" is_moved web
vm_drop web

# Off, seen, and on again before its disks are read.
vm_make web
behind --offline-timeout 1m --hook "after-prepare=virsh -q start web"
carry
how_it_ends "on again when it was seen off" 6
said "on again when it was seen off: it says so" \
    'running on the source again: its disks are not still'
check "the script's files are gone" test ! -e "$offline" -a ! -e "$offline.iso"
check "nothing is on the target" bash -c \
    "! virsh -q list --all --name | grep -qx web-moved && \
        test -z \"\$(ls -A '$mount/target')\""
check "the source runs, autostart on" bash -c \
    "virsh -q dominfo web | grep -q 'State: *running' && \
        virsh -q dominfo web | grep -q 'Autostart: *enable'"
vm_drop web

# The orchestrator dies while it waits.
vm_make web
behind --offline-timeout 1m
kill_it
how_it_ends "killed while it waits" 137
carry
status "the person was there meanwhile: resume" 0 fake resume web
check "the person was there meanwhile: it is there" is_moved web
status "and rolled back" 0 fake rollback web
check "rolled back: the source is as before" is_untouched web
vm_drop web

# The deadline is not a new one with each resume.
vm_make web
told silent
behind --offline-timeout 5
kill_it
how_it_ends "killed while it waits" 137
sleep 5
begun=$SECONDS
status "the time was over meanwhile: resume" 6 fake resume web
check "it did not wait again" test $((SECONDS - begun)) -lt 5
said "it says so" 'did not power off within 5 s'
check "the source is as before" is_untouched web
vm_drop web

# Killed; then it is to be undone.
vm_make web
behind --offline-timeout 1m
kill_it
how_it_ends "killed while it waits" 137
status "rollback while the guest runs" 0 fake rollback web
said "rollback while the guest runs: it warns" 'run it there again with --undo'
check "rollback while the guest runs: as before" is_untouched web
vm_drop web

# Cancelled by another.
vm_make web
behind --offline-timeout 1m
status "cancel while it waits" 0 fake cancel web
wait "$mover"
check "cancel while it waits: as before" is_untouched web
vm_drop web

# No way in, and none was asked for: a person is.
vm_make web
told mute-web
status "no way in: a person is waited for" 7 move web \
    --accept-warning guest-answers
said "no way in: it says why" 'a person has to carry the script in: .*not connected'
carry
status "no way in: resume" 0 fake resume web
check "no way in: it is there" is_moved web
vm_drop web
finish
