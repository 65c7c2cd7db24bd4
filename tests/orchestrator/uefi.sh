#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# UEFI variables move with their VM, and back, with everything real: libvirt,
# QEMU (TCG), OVMF, a Linux guest. The guest boots by an entry that only its
# variables have (by=entry), else by what every firmware tries (by=fallback),
# and leaves marks in them. Where bytes are compared the orchestrator is killed
# in between, so that nothing runs.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
in_libvirt_namespace "$@"
begin uefi
mount=$(fs_make xfs 2G) || exit 1
[[ -e /usr/share/qemu/firmware/60-edk2-x86_64.json ]] ||
    die "no UEFI for QEMU, see tests/run"
libvirt_start
bridges_make old0 old1 new0 new1
ip addr add 10.9.0.1/24 dev new0
guest_make "$mount/vm" small uefi
mkdir "$mount/target"
nvram=/var/lib/libvirt/qemu/nvram/small_VARS.fd

variables=/sys/firmware/efi/efivars
mark_guid=6d61726b-0000-4000-8000-000000000000

# mark COMMAND... NAME: a variable of that name; non-volatile, seen by all
mark() {
    guest_run "$1" "printf '\\7\\0\\0\\0x' >$variables/$2-$mark_guid"
}

# has_marks VM NAME...: these and no others
has_marks() {
    local vm=$1
    shift
    [[ $(guest_run "$vm" "ls $variables | sed -n s/-$mark_guid//p" | xargs) == "$*" ]]
}

boots_by() {
    agent_ready "$1" && guest_run "$1" "grep -q by=$2 /proc/cmdline"
}

# stopped_at STEP:POINT COMMAND...: killed there
stopped_at() {
    local at=$1 status=0
    shift
    DS_STOP_AT=$at "$@" || status=$?
    ((status == 137))
}

backup_nvram() {
    echo "$mount"/vm/diskshift-backup/*/nvram
}

# What a script does to them in the source goes with the VM, and is undone.
sed "2a printf '\\\\7\\\\0\\\\0\\\\0x' >$variables/Script-$mark_guid" \
    "$orchestrator_dir/script.sh" >"$run/script.sh"
options=(small --from qemu:///system --to qemu:///system
    --target-name moved --directory "$mount/target" --format qcow2
    --machine q35 --bus virtio --nic virtio --type qemu
    --network old0=bridge:new0 --network old1=bridge:new1
    --script "$run/script.sh" --require-clone --backup snapshot --deadline 5m)

virsh -q start small
check "the source boots, without variables" boots_by small fallback
check "it makes an entry" guest_run small "efibootmgr -q -c -d /dev/sda -p 1 \
    -L small -l '\\EFI\\small\\grubx64.efi' && sync"
check "and a mark" mark small Source
check "check says that they move" bash -c \
    "'$DS_MIGRATE' check ${options[*]} --journal '$run/journal' 2>&1 |
        grep 'UEFI variables move'"

check "it is moved; killed when the target is defined" \
    stopped_at define-target:done migrate run "${options[@]}"
check "the source is off" is_state small "shut off"
check "the target's variables are the source's, byte for byte" \
    cmp "$nvram" "$mount"/target/moved.*.nvram
check "the backup's are from before the script" bash -c \
    "test -s '$(backup_nvram)' && ! cmp -s '$nvram' '$(backup_nvram)'"
status "resumed" 0 migrate resume small
check "the target boots by its entry" boots_by moved entry
check "it has the marks" has_marks moved Script Source
check "it marks them, too" mark moved Target

check "it is rolled back; killed when the disks are back" \
    stopped_at run-script:undone migrate rollback small
check "the source's variables are the backup's, byte for byte" \
    cmp "$nvram" "$(backup_nvram)"
check "nothing of the target is left" test -z "$(ls -A "$mount/target")"
status "the rest of it" 0 migrate rollback small
check "the source boots by its entry" boots_by small entry
check "with its own mark alone" has_marks small Source

status "moved again" 0 migrate run "${options[@]}"
check "the target boots by its entry" boots_by moved entry
check "it marks them" mark moved Target
check "it returns; killed when they are back" \
    stopped_at return-nvram:done migrate return small
check "the source's variables are the target's, byte for byte" \
    cmp "$nvram" "$mount"/target/moved.*.nvram
status "the rest of it" 0 migrate resume moved
check "the source boots by its entry" boots_by small entry
check "with all marks" has_marks small Script Source Target
check "those from before stand aside" test -s \
    "$(echo "$nvram".diskshift-aside-*)"
((failures == 0)) || {
    migrate logs small
    tail -n 30 "$run"/*.console "$mount"/target/*.console
}
finish
