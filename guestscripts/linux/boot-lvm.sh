# SPDX-License-Identifier: Apache-2.0
# element: boot-lvm
# task: boot
# phase: prepare
# order: 52
# needs: change
# LVM's list of devices goes away until the target has made its own.
#
# It names physical volumes by the disks' serial numbers, which change; without
# the list LVM looks at every disk.

LVM_DEVICES=/etc/lvm/devices/system.devices

element_boot_lvm() {
    [ -f "$LVM_DEVICES" ] || return 0
    drop "$LVM_DEVICES" && echo "$LVM_DEVICES" | put "$STATE/lvm-devices" 600
    : >"$WORK/initramfs-stale"
}
