# SPDX-License-Identifier: Apache-2.0
# element: network-collect
# task: network
# phase: collect
# order: 20
# needs: core network-tables
# The network as it is configured, by MAC address.

# What carries addresses and is no NIC needs a person: it is told, not lost.
function Test-Carried {
    foreach ($Adapter in @(Get-CimInstance -ClassName Win32_NetworkAdapter)) {
        if ($Adapter.PNPDeviceID -match '^(COMPOSITEBUS\\MS_IMPLAT|ROOT\\VMS_MP)') {
            Write-Warn ('{0}: a team or virtual switch: its own settings are not carried across' -f
                $Adapter.NetConnectionID)
        }
    }
}

function element_network_collect {
    $Network = Get-NetworkRecord
    $Servers = @()
    foreach ($Nic in $Network.nics) {
        $Addresses = @($Network.addresses | Where-Object { $_.interface -eq $Nic.name } |
                ForEach-Object { '{0}/{1}' -f $_.address, $_.prefix })
        Write-Did ('{0} {1}: {2}' -f $Nic.mac, $Nic.name, ($Addresses -join ' '))
        $Servers += $Nic.dns
    }
    foreach ($Name in $Network.Keys) {
        $Record[$Name] = $Network[$Name]
    }
    $Search = @(Split-List (Get-RegistryValue ($NetworkServices + 'Tcpip\Parameters') 'SearchList'))
    $Record['dns'] = [ordered]@{
        servers = @($Servers | Select-Object -Unique)
        search = $Search
    }
    Test-Carried
}
