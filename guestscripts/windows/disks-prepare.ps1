# SPDX-License-Identifier: Apache-2.0
# element: disks-prepare
# task: boot
# phase: prepare
# order: 30
# needs: core change
# Disks that are new to Windows come online: behind another controller all of them are.

function element_disks_prepare {
    # 1 is OnlineAll; servers ship with 2, which leaves disks on a shared bus offline.
    Set-Registry 'HKLM:\SYSTEM\CurrentControlSet\Services\partmgr\Parameters' `
        'SanPolicy' 'DWord' 1
}
