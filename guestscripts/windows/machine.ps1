# SPDX-License-Identifier: Apache-2.0
# element: machine
# task: base
# phase: common
# order: 11
# needs: core
# The machine as the guest sees it.

# Equal in two boots: the guest has not moved.
function Get-Machine {
    $Computer = Get-CimInstance -ClassName Win32_ComputerSystem
    $Product = Get-CimInstance -ClassName Win32_ComputerSystemProduct
    $Devices = @(Get-CimInstance -ClassName Win32_PnPEntity |
            Where-Object { $_.DeviceID -like 'PCI\*' } |
            ForEach-Object { $_.DeviceID } | Sort-Object)
    return ('{0}/{1}/{2}/{3}' -f $Computer.Manufacturer, $Computer.Model,
        $Product.UUID, ($Devices -join '/'))
}
