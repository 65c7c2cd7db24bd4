#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VMs that are files become VMs of a hypervisor; what happened is reported.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin import
mount=$(fs_make xfs 512M) || exit 1
fake_start
mkdir -p "$mount/vm" "$mount/target"
head -c 8M /dev/urandom >"$run/disk.img"
qemu-img convert -f raw -O vmdk "$run/disk.img" "$mount/vm/web.vmdk"
cat >"$mount/vm/web.vmx" <<'END'
.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "14"
displayName = "web"
guestOS = "debian12-64"
numvcpus = "2"
memSize = "512"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "web.vmdk"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.networkName = "VM Network"
ethernet0.addressType = "static"
ethernet0.address = "00:50:56:00:00:01"
END

take() {
    fake import "$mount/vm/$1" --to "$uri" --directory "$mount/target" \
        --network 'VM Network=bridge:br0' "${@:2}"
}

status "a network without an entry" 6 fake import "$mount/vm/web.vmx" \
    --to "$uri" --directory "$mount/target"
said "it is named" 'network-map: VM Network'
told stays # no script is in the guest: it is not to power off
status "a VMX becomes a VM" 0 take web.vmx --accept-warnings
check "it runs" state_is web running
check "its disk is the same" qemu-img compare -q -f raw -F qcow2 \
    "$run/disk.img" "$(echo "$mount"/target/web-*.qcow2)"
virsh -q dumpxml web >"$run/web.xml"
check "its MAC address is the same" grep -q 00:50:56:00:00:01 "$run/web.xml"
check "its CPUs are" grep -q '<vcpu.*>2</vcpu>' "$run/web.xml"
status "rollback" 0 fake rollback web
check "nothing is left" test -z "$(ls -A "$mount/target")"
check "its files are as before" test \
    "$(cd "$mount/vm" && echo *)" = "web.vmdk web.vmx"

status "a format that is none" 3 take web.vmdk
status "no such file" 5 take none.vmx
(cd "$mount/vm" && "$DISKSHIFT" convert web.vmdk web.ova >/dev/null)
status "an OVA becomes a VM" 0 take web.ova --target-name packed \
    --accept-warnings
check "an OVA's disk is the same" qemu-img compare -q -f raw -F qcow2 \
    "$run/disk.img" "$(echo "$mount"/target/packed-*.qcow2)"

(cd "$mount/vm" && mkdisk dense 3M 9 second.raw >/dev/null &&
    "$DISKSHIFT" convert web.vmdk second.raw two.ova >/dev/null)
status "an OVA of two disks becomes a VM" 0 take two.ova --target-name two \
    --accept-warnings
check "each of its disks is its own" bash -c "
    qemu-img compare -q -f raw -F qcow2 '$run/disk.img' '$mount'/target/two-*1.qcow2 &&
    qemu-img compare -q -f raw -F qcow2 '$mount/vm/second.raw' '$mount'/target/two-*2.qcow2"

packed=$(fake list --json | jq '.migrations[-1].id')
for form in '' --json; do
    status "report $form" 0 fake report "$packed" $form
    check "report $form says how it went" grep -q shift-disks "$run/out"
done
status "report in HTML" 0 fake report "$packed" --html --output "$run/report.html"
check "report in HTML is one file that loads nothing" bash -c \
    "grep -q '<svg' '$run/report.html' && ! grep -qE '(src|href)=' '$run/report.html'"
status "report does not overwrite" 5 fake report "$packed" --html \
    --output "$run/report.html"
status "report of a run" 0 fake report --run 1
finish
