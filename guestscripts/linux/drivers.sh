# SPDX-License-Identifier: Apache-2.0
# element: drivers
# task: drivers
# phase: prepare
# order: 60
# needs: initramfs
# variable: DRIVERS= -- modules that the initramfs must have; empty: those of the target
# The initramfs gets the drivers of the target while it can be built and seen.

DRIVERS=@DRIVERS@

drivers_of() {
    case $1 in
    kvm) echo virtio_pci virtio_blk virtio_scsi virtio_net ahci sd_mod ;;
    hyperv) echo hv_vmbus hv_storvsc hv_netvsc sd_mod ;;
    vmware) echo vmw_pvscsi vmxnet3 mptspi ahci ata_piix e1000e sd_mod ;;
    xen) echo xen_blkfront xen_netfront ;;
    *)
        for drivers_target in kvm hyperv vmware xen; do
            drivers_of "$drivers_target"
        done
        ;;
    esac
}

# Without one of these the target's disk cannot be seen.
disk_drivers_of() {
    case $1 in
    kvm) echo virtio_blk virtio_scsi ;;
    hyperv) echo hv_storvsc ;;
    vmware) echo vmw_pvscsi mptspi ahci ;;
    xen) echo xen_blkfront ;;
    *) echo virtio_blk virtio_scsi hv_storvsc vmw_pvscsi mptspi xen_blkfront ;;
    esac
}

drivers_are_there() {
    for drivers_module in $(disk_drivers_of "$TARGET"); do
        [ "$(module_where "$1" "$drivers_module")" = none ] || return 0
    done
    return 1
}

# drivers_for KERNEL MODULES...
drivers_for() {
    drivers_kernel=$1
    shift
    drivers_are_there "$drivers_kernel" || {
        fail "kernel $drivers_kernel has no driver for a disk of $TARGET: \
$(disk_drivers_of "$TARGET")"
        return 1
    }
    for drivers_module in $DRIVERS; do
        [ "$(module_where "$drivers_kernel" "$drivers_module")" != none ] || {
            fail "kernel $drivers_kernel has no module $drivers_module"
            return 1
        }
    done
    drivers_image=$(initramfs_file "$drivers_kernel") || {
        warn "kernel $drivers_kernel has no initramfs that could be found"
        return 0
    }
    drivers_missing=$(initramfs_lacks "$drivers_kernel" "$drivers_image" "$@")
    if [ ! -s "$WORK/initramfs" ]; then
        fail "$drivers_image cannot be listed"
        return 1
    fi
    if [ -z "$drivers_missing" ]; then
        did "find all drivers in $drivers_image"
        return 0
    fi
    # shellcheck disable=SC2086 # names of modules
    initramfs_want "$drivers_kernel" $drivers_missing || return 1
    initramfs_build "$drivers_kernel" "$drivers_image" || return 1
    [ -z "$DRY" ] || return 0
    drivers_missing=$(initramfs_lacks "$drivers_kernel" "$drivers_image" "$@")
    [ -z "$drivers_missing" ] || {
        fail "$drivers_image still lacks $(echo "$drivers_missing" |
            tr '\n' ' ')"
        return 1
    }
    did "find all drivers in $drivers_image now"
}

element_drivers() {
    drivers_all=${DRIVERS:-$(drivers_of "$TARGET" | tr '\n' ' ')}
    if [ "$(initramfs_builder)" = none ]; then
        warn "nothing is known that builds an initramfs here"
        return 0
    fi
    initramfs_kernels >"$WORK/kernels"
    while read -r drivers_version; do
        # shellcheck disable=SC2086 # names of modules
        drivers_for "$drivers_version" $drivers_all || return 1
    done <"$WORK/kernels"
}
