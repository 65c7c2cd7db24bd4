#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real Debian guest moves and comes back under a real libvirt: VMDK on XFS,
# i440fx, IDE, e1000 with static addresses, an initramfs without virtio and an
# fstab by /dev/sda1, to q35, virtio, qcow2. The script is the generator's, its
# way in the guest's agent. Then rollback; then again; then back, with what was
# written since. A quarter to half an hour: QEMU emulates. `rollback`, `return`:
# half of it each. `vhdx`: to VHDX, which a server gives to QEMU by NBD, and
# from VHDX back to VMDK.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
DS_GUEST=${DS_GUEST:-$DS_TEST_DIR/../guest/debian}
[[ -n ${DS_OWN_LIBVIRT:-} ]] || "$tests_dir/guest/make_guest" "$DS_GUEST" ||
    exit $?
in_libvirt_namespace "$@"
begin orchestrator_debian
DS_GUEST=$(realpath "$DS_GUEST")
mount=$(fs_make xfs 8G) || exit 1
libvirt_start
bridges_make old0 old1 new0 new1

debian_xml() {
    cat <<END
<domain type='qemu'>
  <name>debian</name>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='vmdk'/><source file='$mount/vm/debian.vmdk'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:aa:bb:01'/><source bridge='old0'/>
      <model type='e1000'/><address type='pci' slot='0x03'/>
    </interface>
    <interface type='bridge'>
      <mac address='52:54:00:aa:bb:02'/><source bridge='old1'/>
      <model type='e1000'/><address type='pci' slot='0x04'/>
    </interface>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <serial type='file'><source path='$run/debian.console'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
END
}

# What must be as before, by MAC address; and what is mounted.
facts='for path in /sys/class/net/*; do
    name=${path##*/}
    [ "$name" = lo ] || echo "$(cat "$path/address") $name" \
        "$(ip -o -4 addr show dev "$name" | awk "{print \$4}")"
done
ip -4 route | grep -v "proto kernel" | sed "s/ *$//" | sort
cat /etc/resolv.conf
findmnt -no TARGET,FSTYPE / /data
cat /data/proof'

# facts_of NAME FILE: when its network is up
facts_of() {
    local tries
    agent_ready "$1" || return 1
    for ((tries = 0; tries < 60; tries++)); do
        guest_run "$1" "$facts" >"$2" && grep -q '^172' "$2" && return 0
        sleep 1
    done
    return 1
}

as_before() {
    facts_of "$1" "$run/now" && diff "$run/before" "$run/now"
}

# answers BRIDGE: the guest at its address, seen from this side
answers() {
    ip addr flush dev old0
    ip addr flush dev new0
    ip addr add 10.0.2.2/24 dev "$1"
    busybox ping -c 3 -W 5 -I "$1" 10.0.2.50
}

# has NAME XPATH: its definition has
has() {
    [[ -n $(virsh -q dumpxml "$1" | xmllint --xpath "$2" - 2>/dev/null) ]]
}

# of_step NAME FILTER [VM]: the last migration's step, by jq
of_step() {
    migrate show "${3:-debian}" --json |
        jq -e "[.steps[] | select(.name == \"$1\")] | last | .after | $2"
}

began=$SECONDS
lap() {
    echo "# $((SECONDS - began)) s: $1"
}

options=(debian --from qemu:///system --to qemu:///system
    --target-name moved --directory "$mount/target" --machine q35
    --bus virtio --nic virtio --type qemu
    --network old0=bridge:new0 --network old1=bridge:new1
    --backup snapshot --prepare online --require-clone
    --script-timeout 15m --deadline 15m)

source_boots() {
    mkdir "$mount/vm" "$mount/target"
    qemu-img convert -f raw -O vmdk "$DS_GUEST/guest.raw" "$mount/vm/debian.vmdk"
    debian_xml >"$run/debian.xml"
    virsh -q define "$run/debian.xml" && virsh -q start debian ||
        die "cannot start the guest"
    check "the source boots, its network comes up" facts_of debian "$run/before"
    check "it has the static address on ens3" \
        grep -qx '52:54:00:aa:bb:01 ens3 10.0.2.50/24' "$run/before"
    check "it answers there" answers old0
    check "its initramfs lacks virtio" guest_run debian \
        '! lsinitramfs /boot/initrd* | grep -q virtio_blk'
    lap "source"
}

# is_moved_to FORMAT OPTION...: with all that was asked for
is_moved_to() {
    local format=$1
    shift
    status "it is moved, to $format" 0 migrate run "${options[@]}" \
        --format "$format" "$@"
    lap "moved"
    check "the source is off" is_state debian "shut off"
    check "nothing was copied" of_step shift-disks '.disks[0].copied_bytes == 0'
    check "its script has run by the agent" of_step run-script \
        '.output | contains("diskshift-result")'
    check "the target powered off once, and reported" of_step wait-target \
        '.cycles == 1 and .result.phase == "settle" and .result.status == "done"'
    check "the disk is $format" test "$(qemu-img info -U --output json \
        "$mount/target/moved"-*."$format" | jq -r .format)" = "$format"
    check "the target is q35" has moved '//type[contains(@machine, "q35")]'
    check "its disk is virtio" has moved '//disk/target[@bus="virtio"]'
    check "its NICs are virtio, with the source's MAC addresses" has moved \
        '//interface[model/@type="virtio"]/mac[@address="52:54:00:aa:bb:01"]'
    check "addresses, routes, DNS, names and mounts are as before" as_before moved
    check "it answers at its address" answers new0
    lap "target"
}

# returns FORMAT: from it, with what was written since
returns() {
    check "something is written there" guest_run moved \
        'echo later >/root/later && sync'
    status "it returns" 0 migrate return debian
    check "from $1 to VMDK" of_step return-disks \
        ".disks[0].format == \"vmdk\" and (.disks[0].from | endswith(\".$1\"))" \
        moved
    check "the source runs, as before" as_before debian
    check "it answers" answers old0
    check "with what was written there" guest_run debian \
        'grep -qx later /root/later'
    check "the target is off" is_state moved "shut off"
    virsh -q destroy debian
    check "its disk is whole" qemu-img check -q "$mount/vm/debian.vmdk"
    check "and the target's" "$DISKSHIFT" check "$mount/target/moved"-*."$1"
    lap "returned"
}

is_rolled_back() {
    status "it is rolled back" 0 migrate rollback debian
    check "nothing of the target is left" bash -c \
        "[[ -z \$(ls -A '$mount/target') ]] && ! virsh -q dominfo moved"
    check "the source is as before" as_before debian
    check "it answers again" answers old0
    check "no trace of the script" guest_run debian \
        'test ! -e /var/lib/diskshift && grep -q ^/dev/sda1 /etc/fstab'
    lap "rolled back"
}

source_boots
case ${1:-whole} in
whole)
    is_moved_to qcow2
    check "libvirt has it as qcow2" has moved '//disk/driver[@type="qcow2"]'
    is_rolled_back
    is_moved_to qcow2
    returns qcow2
    ;;
rollback)
    is_moved_to qcow2
    is_rolled_back
    ;;
return)
    is_moved_to qcow2
    returns qcow2
    ;;
vhdx)
    is_moved_to vhdx --serve-nbd
    check "libvirt has it by NBD" has moved \
        '//disk/source[@protocol="nbd"]/host[contains(@socket, ".vhdx.nbd")]'
    returns vhdx
    check "its server has ended" bash -c "! ls '$mount'/target/*.nbd"
    ;;
*) die "no part named $1" ;;
esac
((failures == 0)) || {
    migrate logs debian
    tail -n 30 "$run"/*.console "$mount"/target/*.console
}
finish
