#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A VM moves and comes back, with everything real: libvirt, QEMU (TCG), a Linux
# guest with its agent, XFS with reflinks. `full` goes on: a test migration, a
# move by shutdown, and the way back with what was written since. `generated`:
# the guest's script is the generator's. `nbd`: to VHDX, which libvirt has no
# word for, served by qemu-nbd; rolled back; again, and back.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
in_libvirt_namespace "$@"
begin orchestrator
mount=$(fs_make xfs 2G) || exit 1
libvirt_start
bridges_make old0 old1 new0 new1
ip addr add 10.9.0.1/24 dev new0
guest_make "$mount/vm" small
mkdir "$mount/target"

options=(small --from qemu:///system --to qemu:///system
    --target-name moved --directory "$mount/target"
    --format qcow2 --machine q35 --bus virtio --nic virtio --type qemu
    --network old0=bridge:new0 --network old1=bridge:new1
    --script "$orchestrator_dir/script.sh" --accept-warning guest-off)
[[ ${1:-} != generated ]] || options=("${options[@]/--script/--accept-warning}")

# served: how many servers hold a disk of the target
served() {
    local pid count=0
    for pid in "$mount"/target/*.nbd.pid; do
        kill -0 "$(cat "$pid")" 2>/dev/null && count=$((count + 1))
    done
    ((count == $1))
}

nbd() {
    local disk
    local -a vhdx=("${options[@]/qcow2/vhdx}" --backup snapshot --deadline 5m)

    status "VHDX is refused" 6 migrate run "${vhdx[@]}"
    said "it is said why" 'target-format: vhdx.*--serve-nbd'
    status "served, it is moved" 0 migrate run "${vhdx[@]}" --serve-nbd
    disk=$(echo "$mount"/target/*.vhdx)
    check "the disk is VHDX" test "$(qemu-img info -U --output json "$disk" |
        jq -r .format)" = vhdx
    check "it answers at its old address" moved_answers
    check "by NBD" bash -c \
        "virsh -q dumpxml moved | grep -q \"socket='$disk.nbd'\""
    check "one server" served 1
    check "the guest powers off" virsh -q shutdown moved --mode agent
    for ((i = 0; i < 100; i++)); do
        is_state moved "shut off" && break
        sleep 0.2
    done
    check "it can be started again by anybody" virsh -q start moved
    status "rollback" 0 migrate rollback small
    check "nothing of it is left, nor a server" nothing_left
    check "the source runs again" agent_ready small

    status "moved again" 0 migrate run "${vhdx[@]}" --serve-nbd
    check "the target is ready" agent_ready moved
    check "something is written there" guest_run moved \
        'echo later >/root/later; sync'
    status "it returns" 0 migrate return small
    check "the source runs" agent_ready small
    check "with what was written" guest_run small 'grep later /root/later'
    check "no server is left" served 0
    check "the VHDX is whole" "$DISKSHIFT" check "$disk"
    finish
}

same_disk() {
    "$DISKSHIFT" compare "$1" "$2" >/dev/null
}

moved_answers() {
    agent_ready moved && busybox ping -c 3 -W 5 -I new0 10.9.0.50
}

has_mac() {
    virsh -q dumpxml moved | grep -q "$1"
}

nothing_left() {
    [[ -z $(ls -A "$mount/target") && $(ls -A "$mount/vm") == small.vmdk ]] &&
        ! virsh -q dominfo moved 2>/dev/null
}

virsh -q start small
check "the source boots" agent_ready small
virsh -q autostart small >/dev/null

[[ ${1:-} != nbd ]] || nbd
status "check finds no error" 0 migrate check "${options[@]}"
status "a network without an entry is refused" 6 migrate run small \
    --from qemu:///system --to qemu:///system --target-name moved \
    --directory "$mount/target" --network old0=bridge:new0
said "it is named" 'network-map: old1'
check "and nothing was changed by that" is_state small running

cp --reflink=always "$mount/vm/small.vmdk" "$run/before.vmdk" 2>/dev/null ||
    cp "$mount/vm/small.vmdk" "$run/before.vmdk"
status "it is moved, by a snapshot" 0 migrate run "${options[@]}" \
    --backup snapshot --deadline 5m --json
check "all of it was shared" jq -e '.migrations[0].state == "done"' "$run/out"
check "the source is off" is_state small "shut off"
check "its autostart is off" bash -c \
    "virsh -q dominfo small | grep -q 'Autostart: *disable'"
check "the target runs" is_state moved running
check "its MAC addresses are the source's" has_mac 52:54:00:aa:bb:01
check "it answers at its old address" moved_answers
[[ ${1:-} == generated ]] ||
    check "the interfaces have their new names" guest_run moved \
        'grep -q enp /etc/network/interfaces &&
            ! grep -q ens16 /etc/network/interfaces'
check "the disk was cloned" jq -e \
    '[.steps[] | select(.name == "shift-disks") | .after.disks[0]] |
     .[0].copied_bytes == 0 and .[0].shared_bytes > 1000000' \
    <(migrate show small --json)

status "rollback" 0 migrate rollback small
check "nothing of it is left" nothing_left
check "the source runs again" is_state small running
check "its autostart is on" bash -c \
    "virsh -q dominfo small | grep -q 'Autostart: *enable'"
check "its guest is as before" agent_ready small
check "also its interfaces" guest_run small \
    'grep -q ens16 /etc/network/interfaces && [ ! -e /etc/rc.local ]'
[[ ${1:-} == full ]] || finish

status "a test migration" 0 migrate run small --test --from qemu:///system \
    --to qemu:///system --directory "$mount/target" --format qcow2 \
    --machine q35 --bus virtio --nic virtio --type qemu --deadline 5m \
    --accept-warnings
check "its guest has answered" jq -e '.verdict | test("boots")' \
    <(migrate show small --json)
check "the source has run all the while" is_state small running
check "nothing of the test is left" nothing_left

status "moved again, by a shutdown" 0 migrate run "${options[@]}" \
    --backup shutdown --deadline 5m
check "the target is ready" agent_ready moved
check "something is written there" guest_run moved 'echo later >/root/later; sync'
status "it returns" 0 migrate return small
check "the source runs" agent_ready small
check "with what was written" guest_run small 'grep later /root/later'
check "the target is off" is_state moved "shut off"
finish
