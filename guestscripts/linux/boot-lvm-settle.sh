# SPDX-License-Identifier: Apache-2.0
# element: boot-lvm-settle
# task: boot
# phase: settle
# order: 30
# needs: change
# LVM's list of devices, made anew from the target's disks.

element_boot_lvm_settle() {
    [ -f "$STATE/lvm-devices" ] || return 0
    if ! have vgimportdevices; then
        warn "there is no vgimportdevices: LVM goes on without its list"
        return 0
    fi
    [ -n "$DRY" ] || keep "$(cat "$STATE/lvm-devices")"
    run "list the devices of LVM" vgimportdevices --all ||
        warn "vgimportdevices failed: LVM goes on without its list"
}
