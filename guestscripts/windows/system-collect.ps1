# SPDX-License-Identifier: Apache-2.0
# element: system-collect
# task: base
# phase: collect
# order: 0
# needs: core machine
# What this Windows is.

function Get-Firmware {
    $Type = Get-RegistryValue 'HKLM:\SYSTEM\CurrentControlSet\Control' 'PEFirmwareType'
    if ($Type -eq 1) {
        return 'bios'
    }
    if ($Type -eq 2) {
        return 'efi'
    }
    return $null
}

function Get-Architecture($System) {
    if ($System.OSArchitecture -match 'ARM') {
        return 'aarch64'
    }
    if ($System.OSArchitecture -match '64') {
        return 'x86_64'
    }
    return 'i686'
}

function element_system_collect {
    $System = Get-CimInstance -ClassName Win32_OperatingSystem
    $Computer = Get-CimInstance -ClassName Win32_ComputerSystem
    $Name = $Computer.DNSHostName
    if (-not $Name) {
        $Name = $Computer.Name
    }
    $Record['guest'] = [ordered]@{
        os = 'windows'
        id = 'windows'
        version = $System.Version
        name = "$($System.Caption)".Trim()
        hostname = $Name
        kernel = $System.Version
        architecture = (Get-Architecture $System)
        init = 'windows'
        firmware = (Get-Firmware)
        network_managers = @('windows')
    }
    $Record['machine'] = Get-Machine
    Write-Did ('{0} {1}, {2}' -f $Record['guest'].name, $System.Version, $Name)
}
