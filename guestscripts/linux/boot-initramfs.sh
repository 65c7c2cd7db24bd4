# SPDX-License-Identifier: Apache-2.0
# element: boot-initramfs
# task: boot
# phase: prepare
# order: 70
# needs: initramfs
# What the initramfs took from files that were changed, it takes again.

element_boot_initramfs() {
    [ -f "$WORK/initramfs-stale" ] || return 0
    initramfs_kernels >"$WORK/kernels"
    while read -r stale_kernel; do
        [ ! -f "$WORK/initramfs-$stale_kernel.built" ] || continue
        stale_image=$(initramfs_file "$stale_kernel") || continue
        initramfs_build "$stale_kernel" "$stale_image" || return 1
    done <"$WORK/kernels"
}
