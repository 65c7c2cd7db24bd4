# SPDX-License-Identifier: Apache-2.0
# element: network-names
# task: network
# phase: arrive
# order: 20
# needs: core change network-tables network-adapters
# Connections get back the names that they had, by MAC address.

function Get-Adapter([string]$Guid) {
    return @(Get-CimInstance -ClassName Win32_NetworkAdapter |
            Where-Object { $_.GUID -eq $Guid })[0]
}

function Set-ConnectionName([string]$Guid, [string]$Name) {
    $Adapter = Get-Adapter $Guid
    if ($Adapter.NetConnectionID -ceq $Name) {
        return
    }
    $Words = 'connection {0} is named {1}' -f $Adapter.NetConnectionID, $Name
    if ($DryRun) {
        Write-Would $Words
        return
    }
    # Each step has an entry: backwards they are as possible as forwards.
    Add-Change 'Undo-ConnectionName' ($Guid + ' ' + $Adapter.NetConnectionID) ([ordered]@{
            guid = $Guid
            name = $Adapter.NetConnectionID
        })
    Set-CimInstance -InputObject $Adapter -Property @{ NetConnectionID = $Name }
    Write-Did $Words
}

function Undo-ConnectionName([string]$Key, $Data) {
    $Adapter = Get-Adapter $Data.guid
    if ($null -ne $Adapter -and $Adapter.NetConnectionID -cne $Data.name) {
        Set-CimInstance -InputObject $Adapter -Property @{ NetConnectionID = $Data.name }
    }
}

# Who is to be renamed: adapters by GUID with the name that each has to get.
function Get-Renames($Wanted, $Network) {
    foreach ($Nic in $Wanted) {
        $Have = Find-Nic $Network $Nic.mac
        if ($null -ne $Have -and $Have.name -cne $Nic.name) {
            [ordered]@{ guid = $Have.guid; have = $Have.name; want = $Nic.name }
        }
    }
}

# Names may change places, and a name can be had once only. So first everybody
# lets go: ghosts and strangers that hold a wanted name, then the renamed ones.
function element_network_names {
    $Network = Wait-Nics
    $Renames = @(Get-Renames @($Record.nics) $Network)
    if ($Renames.Count -eq 0) {
        return
    }
    $Wanted = @($Renames | ForEach-Object { $_.want })
    $Renamed = @($Renames | ForEach-Object { $_.guid })
    foreach ($Ghost in @(Get-Ghosts)) {
        if ($Wanted -contains $Ghost.name) {
            Set-Registry $Ghost.path 'Name' 'String' ($Ghost.name + ' (before the move)')
        }
    }
    foreach ($Nic in @($Network.nics)) {
        if ($Wanted -contains $Nic.name -and $Renamed -notcontains $Nic.guid) {
            Set-ConnectionName $Nic.guid ($Nic.name + ' (new)')
        }
    }
    foreach ($Rename in $Renames) {
        Set-ConnectionName $Rename.guid ('diskshift ' + $Rename.guid)
    }
    foreach ($Rename in $Renames) {
        Set-ConnectionName $Rename.guid $Rename.want
    }
}
