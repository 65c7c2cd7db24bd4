# SPDX-License-Identifier: Apache-2.0
# element: network-ghosts
# task: network
# phase: settle
# order: 40
# needs: core network-tables network-adapters devices
# Adapters of the source's hardware, which is gone, are removed with the addresses that they hold.

# After the check: till then all can be put back, a removal cannot. Only those
# that the first script has seen: a ghost from before is somebody else's.
function element_network_ghosts {
    $Guids = @($Record.nics | ForEach-Object { $_.guid })
    foreach ($Ghost in @(Get-Ghosts)) {
        if ($Guids -notcontains $Ghost.guid) {
            continue
        }
        $Words = 'adapter {0}, {1}' -f $Ghost.name, $Ghost.instance
        if ($DryRun) {
            Write-Would ('remove ' + $Words)
            continue
        }
        try {
            Remove-Device $Ghost.instance
            Write-Did ('removed ' + $Words)
        } catch {
            Write-Warn ('{0}: cannot be removed: {1}' -f $Words, $_.Exception.Message)
        }
    }
}
