# SPDX-License-Identifier: Apache-2.0
# element: network-adapters
# task: network
# phase: common
# order: 22
# needs: core change network-tables devices
# Finds the adapters of the target VM that have the MAC addresses of the source's.

# Drivers are still being installed when the task at startup begins.
$NicSeconds = 180

# Name and identifier of each adapter that Windows knows by its GUID.
function Get-Connections {
    foreach ($Key in @(Get-ChildItem -LiteralPath $NetworkClass)) {
        $Path = $NetworkClass + '\' + $Key.PSChildName + '\Connection'
        $Name = Get-RegistryValue $Path 'Name'
        if ($Name) {
            [ordered]@{
                guid = $Key.PSChildName
                path = $Path
                name = $Name
                instance = "$(Get-RegistryValue $Path 'PnPInstanceId')"
            }
        }
    }
}

# Adapters whose device is gone. They still hold their name.
function Get-Ghosts {
    $Present = Get-PresentDevices
    foreach ($Connection in @(Get-Connections)) {
        if ($Connection.instance -ne '' -and
            -not $Present[$Connection.instance.ToUpperInvariant()]) {
            $Connection
        }
    }
}

function Get-MissingMacs($Wanted, $Network) {
    foreach ($Nic in $Wanted) {
        if ($null -eq (Find-Nic $Network $Nic.mac)) {
            $Nic.mac
        }
    }
}

# Which of them are missing changes nothing for the others.
function Wait-Nics {
    $Until = (Get-Date).AddSeconds($NicSeconds)
    while ($true) {
        $Network = Get-NetworkRecord
        $Missing = @(Get-MissingMacs @($Record.nics) $Network)
        if ($Missing.Count -eq 0 -or $DryRun -or (Get-Date) -gt $Until) {
            return $Network
        }
        Start-Sleep -Seconds 3
    }
}
