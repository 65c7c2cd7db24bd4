# SPDX-License-Identifier: Apache-2.0
# element: disks-policy
# task: boot
# phase: settle
# order: 30
# needs: core change
# The policy for new disks is what it was before the move.

function element_disks_policy {
    $Path = 'HKLM:\SYSTEM\CurrentControlSet\Services\partmgr\Parameters'
    if ($null -ne $Record.disk_policy) {
        Set-Registry $Path 'SanPolicy' 'DWord' $Record.disk_policy
        return
    }
    if ($null -eq (Get-RegistryValue $Path 'SanPolicy')) {
        return
    }
    if ($DryRun) {
        Write-Would ($Path + '\SanPolicy: removed')
        return
    }
    Remove-ItemProperty -LiteralPath $Path -Name 'SanPolicy' -Force
    Write-Did ($Path + '\SanPolicy: removed, as it was')
}
