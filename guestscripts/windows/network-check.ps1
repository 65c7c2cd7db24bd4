# SPDX-License-Identifier: Apache-2.0
# element: network-check
# task: network
# phase: settle
# order: 20
# needs: core network-tables
# Reads the network back and holds it against the record.

function element_network_check {
    $Network = Get-NetworkRecord
    foreach ($Nic in @($Record.nics)) {
        $Have = Find-Nic $Network $Nic.mac
        if ($null -eq $Have) {
            continue
        }
        $Wanted = Get-NetworkWords $Nic $Record
        $Found = Get-NetworkWords $Have $Network
        if ($Wanted -cne $Found -and -not $DryRun) {
            Write-Warn ('{0}: have {1} expect {2}' -f $Nic.mac, $Found, $Wanted)
        } elseif ($Have.name -cne $Nic.name -and -not $DryRun) {
            Write-Warn ('{0}: have name {1} expect {2}' -f $Nic.mac, $Have.name, $Nic.name)
        } else {
            Write-Did ('{0} {1}: as before' -f $Nic.mac, $Nic.name)
        }
    }
}
