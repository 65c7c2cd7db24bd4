# SPDX-License-Identifier: Apache-2.0
# What hypervisor_hyperv.c says to a Hyper-V host. It is sent whole with every
# verb, between a line `$Request = ConvertFrom-Json '...'`, in which all values
# are, and nothing: so no value is ever code. Windows PowerShell 5.1.
#
# VMs are looked up by comparing names, since -Name takes wildcards, and two
# VMs may have one name. The answer is one line of base64, for which neither
# code pages nor the width of a console matter.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
$ConfirmPreference = 'None'

# The first line of the notes of a VM that was made by us.
$Mark = 'Made by diskshift'

function Find-Machine([string] $Name) {
    $found = @(Get-VM | Where-Object { $_.Name -eq $Name })
    if ($found.Count -gt 1) {
        throw "$($found.Count) VMs have this name"
    }
    if ($found.Count -eq 1) {
        $found[0]
    }
}

function Get-Machine {
    $machine = Find-Machine $Request.name
    if ($null -eq $machine) {
        throw (New-Object System.Management.Automation.ItemNotFoundException 'no such VM')
    }
    $machine
}

function Get-Drives($Machine) {
    Get-VMHardDiskDrive -VM $Machine |
        Sort-Object -Property @({ [string]$_.ControllerType }, 'ControllerNumber', 'ControllerLocation')
}

function Get-Ours($Machine) {
    Get-VMSnapshot -VM $Machine |
        Where-Object { $_.Name.StartsWith($Request.prefix, [StringComparison]::Ordinal) }
}

# -- inventory ----------------------------------------------------------------

function Invoke-List {
    @{ names = @(Get-VM | ForEach-Object { $_.Name }) }
}

function Invoke-Find {
    @{ found = $null -ne (Find-Machine $Request.name) }
}

function Get-Nic($Nic) {
    $vlan = Get-VMNetworkAdapterVlan -VMNetworkAdapter $Nic
    @{
        mac     = $Nic.MacAddress
        network = $Nic.SwitchName
        legacy  = [bool]$Nic.IsLegacy
        mode    = [string]$vlan.OperationMode
        vlan    = [int]$vlan.AccessVlanId
    }
}

function Invoke-Describe {
    $machine = Get-Machine
    $answer = @{
        notes       = [string]$machine.Notes
        generation  = [int]$machine.Generation
        cpus        = [int]$machine.ProcessorCount
        memory      = [long][Math]::Max($machine.MemoryStartup, $machine.MemoryAssigned)
        autostart   = [string]$machine.AutomaticStartAction -ne 'Nothing'
        snapshots   = @(Get-VMSnapshot -VM $machine).Count
        removable   = @(Get-VMDvdDrive -VM $machine).Count
        secure_boot = $false
        template    = $null
        tpm         = $false
        shielded    = $false
        devices     = 0
        disks       = @(Get-Drives $machine | ForEach-Object {
                @{
                    path       = [string]$_.Path
                    type       = [string]$_.ControllerType
                    controller = [int]$_.ControllerNumber
                    location   = [int]$_.ControllerLocation
                    physical   = $null -ne $_.DiskNumber
                    shared     = [bool]$_.SupportPersistentReservations
                }
            })
        nics        = @(Get-VMNetworkAdapter -VM $machine | ForEach-Object { Get-Nic $_ })
    }
    if ($machine.Generation -eq 2) {
        $firmware = Get-VMFirmware -VM $machine
        $security = Get-VMSecurity -VM $machine
        $answer.secure_boot = [string]$firmware.SecureBoot -eq 'On'
        $answer.template = [string]$firmware.SecureBootTemplate
        $answer.tpm = [bool]$security.TpmEnabled
        $answer.shielded = [bool]$security.Shielded
    }
    if (Get-Command Get-VMAssignableDevice -ErrorAction SilentlyContinue) {
        $answer.devices = @(Get-VMAssignableDevice -VM $machine).Count
    }
    $answer
}

function Invoke-HasNetwork {
    @{ found = @(Get-VMSwitch | Where-Object { $_.Name -eq $Request.network }).Count -gt 0 }
}

function Invoke-Sees {
    $item = Get-Item -LiteralPath $Request.path -Force -ErrorAction SilentlyContinue
    @{ found = $null -ne $item -and ($item.PSIsContainer -or $item.Length -ge $Request.bytes) }
}

# -- what exists --------------------------------------------------------------

function Add-Disk($Machine, $Disk) {
    if ($Disk.type -eq 'SCSI') {
        while (@(Get-VMScsiController -VM $Machine).Count -le $Disk.controller) {
            Add-VMScsiController -VM $Machine
        }
    }
    Add-VMHardDiskDrive -VM $Machine -ControllerType $Disk.type `
        -ControllerNumber $Disk.controller -ControllerLocation $Disk.location `
        -Path $Disk.path
}

function Add-Nic($Machine, $Nic) {
    $more = @{}
    if ($Nic.legacy) {
        $more.IsLegacy = $true
    }
    if ($Nic.mac) {
        $more.StaticMacAddress = $Nic.mac
    }
    $made = Add-VMNetworkAdapter -VM $Machine -Name $Nic.name -Passthru @more
    if ($Nic.network) {
        $switch = @(Get-VMSwitch | Where-Object { $_.Name -eq $Nic.network })
        if ($switch.Count -ne 1) {
            throw "$($switch.Count) switches have the name $($Nic.network)"
        }
        Connect-VMNetworkAdapter -VMNetworkAdapter $made -VMSwitch $switch[0]
    }
    if ($Nic.vlan -gt 0) {
        Set-VMNetworkAdapterVlan -VMNetworkAdapter $made -Access -VlanId $Nic.vlan
    }
}

function Set-Boot($Machine) {
    if ($Request.generation -eq 1) {
        Set-VMBios -VM $Machine -StartupOrder @('IDE', 'CD', 'LegacyNetworkAdapter', 'Floppy')
        return
    }
    if ($Request.secure_boot) {
        Set-VMFirmware -VM $Machine -EnableSecureBoot On -SecureBootTemplate $Request.template
    } else {
        Set-VMFirmware -VM $Machine -EnableSecureBoot Off
    }
    $drives = @(Get-Drives $Machine)
    if ($drives.Count -gt 0) {
        Set-VMFirmware -VM $Machine -FirstBootDevice $drives[$Request.boot_index]
    }
    if ($Request.tpm) {
        Set-VMKeyProtector -VM $Machine -NewLocalKeyProtector
        Enable-VMTPM -VM $Machine
    }
}

function Set-Machine($Machine) {
    Get-VMNetworkAdapter -VM $Machine | Remove-VMNetworkAdapter
    Get-VMDvdDrive -VM $Machine | Remove-VMDvdDrive
    Set-VM -VM $Machine -StaticMemory -ProcessorCount $Request.cpus `
        -AutomaticStartAction Nothing -Notes ("$Mark`n" + $Request.notes)
    # Windows 10 makes a checkpoint at each start, which would grow the disks.
    if ((Get-Command Set-VM).Parameters.ContainsKey('AutomaticCheckpointsEnabled')) {
        Set-VM -VM $Machine -AutomaticCheckpointsEnabled $false
    }
    foreach ($disk in @($Request.disks)) {
        Add-Disk $Machine $disk
    }
    foreach ($nic in @($Request.nics)) {
        Add-Nic $Machine $nic
    }
    Set-Boot $Machine
}

# It is made under another name, so that under its own it is there whole or
# not at all. What a run that was cut short has left is made anew.
function Invoke-Define {
    $there = Find-Machine $Request.name
    if ($null -ne $there) {
        if (-not ([string]$there.Notes).StartsWith($Mark, [StringComparison]::Ordinal)) {
            throw 'a VM of this name exists, and was not made by diskshift'
        }
        Remove-VM -VM $there -Force
    }
    $left = Find-Machine $Request.temporary
    if ($null -ne $left) {
        Remove-VM -VM $left -Force
    }
    $machine = New-VM -Name $Request.temporary -Generation $Request.generation `
        -MemoryStartupBytes $Request.memory -NoVHD
    try {
        Set-Machine $machine
        Rename-VM -VM $machine -NewName $Request.name
    } catch {
        $failure = $_
        Remove-VM -VM $machine -Force
        throw $failure
    }
    @{}
}

function Invoke-Undefine {
    foreach ($name in $Request.name, $Request.temporary) {
        $machine = Find-Machine $name
        if ($null -ne $machine) {
            Remove-VM -VM $machine -Force
        }
    }
    @{}
}

function Invoke-Autostart {
    $action = 'Nothing'
    if ($Request.on) {
        $action = 'Start'
    }
    Set-VM -VM (Get-Machine) -AutomaticStartAction $action
    @{}
}

function Invoke-RenewMacs {
    Get-VMNetworkAdapter -VM (Get-Machine) | Set-VMNetworkAdapter -DynamicMacAddress
    @{}
}

# -- power --------------------------------------------------------------------

function Invoke-State {
    @{ state = [string](Get-Machine).State }
}

function Invoke-Start {
    $machine = Get-Machine
    if ([string]$machine.State -ne 'Running') {
        Start-VM -VM $machine
    }
    @{}
}

# Stop-VM would wait; this asks the guest's own service and returns.
function Invoke-ShutDown {
    $machine = Get-Machine
    if ([string]$machine.State -eq 'Off') {
        return @{}
    }
    $service = Get-CimInstance -Namespace 'root\virtualization\v2' `
        -ClassName Msvm_ShutdownComponent -Filter "SystemName = '$($machine.Id)'"
    if ($null -eq $service) {
        throw 'the guest has no shutdown service running'
    }
    $answer = Invoke-CimMethod -InputObject $service -MethodName InitiateShutdown `
        -Arguments @{ Force = $true; Reason = 'diskshift' }
    if ($answer.ReturnValue -ne 0 -and $answer.ReturnValue -ne 4096) {
        throw "the guest's shutdown service answered $($answer.ReturnValue)"
    }
    @{}
}

function Invoke-ForceOff {
    $machine = Get-Machine
    if ([string]$machine.State -ne 'Off') {
        Stop-VM -VM $machine -TurnOff -Force
    }
    @{}
}

# -- snapshots ----------------------------------------------------------------

function Get-SnapshotAnswer($Machine, $Snapshot) {
    @{
        name     = $Snapshot.Name
        overlays = @(Get-Drives $Machine | ForEach-Object { [string]$_.Path })
    }
}

function Invoke-SnapshotFind {
    $machine = Get-Machine
    $ours = @(Get-Ours $machine)
    if ($ours.Count -eq 0) {
        return @{ name = $null; overlays = @() }
    }
    Get-SnapshotAnswer $machine $ours[-1]
}

function Invoke-SnapshotCreate {
    $machine = Get-Machine
    $before = $machine.CheckpointType
    $wanted = 'Standard'
    if ($Request.quiesce) {
        $wanted = 'ProductionOnly'
    }
    Set-VM -VM $machine -CheckpointType $wanted
    try {
        $made = Checkpoint-VM -VM $machine -SnapshotName $Request.snapshot -Passthru
    } finally {
        Set-VM -VM $machine -CheckpointType $before
    }
    Get-SnapshotAnswer $machine $made
}

# Hyper-V merges after it has answered.
function Invoke-SnapshotMerge {
    $machine = Get-Machine
    Get-Ours $machine | Remove-VMSnapshot
    $end = (Get-Date).AddSeconds($Request.seconds)
    while ("$((Get-Machine).OperationalStatus)" -match 'Merging|Deleting' -or
        @(Get-Ours $machine).Count -gt 0) {
        if ((Get-Date) -gt $end) {
            throw "disks are still being merged after $($Request.seconds) s"
        }
        Start-Sleep -Milliseconds 500
    }
    @{}
}

# -- the guest ----------------------------------------------------------------

function Invoke-Addresses {
    @{
        nics = @(Get-VMNetworkAdapter -VM (Get-Machine) | ForEach-Object {
                @{ mac = $_.MacAddress; addresses = @($_.IPAddresses) }
            })
    }
}

# -- the answer ---------------------------------------------------------------

$verbs = @{
    'list'            = ${function:Invoke-List}
    'find'            = ${function:Invoke-Find}
    'describe'        = ${function:Invoke-Describe}
    'has network'     = ${function:Invoke-HasNetwork}
    'look for'        = ${function:Invoke-Sees}
    'define'          = ${function:Invoke-Define}
    'undefine'        = ${function:Invoke-Undefine}
    'set autostart'   = ${function:Invoke-Autostart}
    'renew MACs'      = ${function:Invoke-RenewMacs}
    'state'           = ${function:Invoke-State}
    'start'           = ${function:Invoke-Start}
    'shut down'       = ${function:Invoke-ShutDown}
    'power off'       = ${function:Invoke-ForceOff}
    'find snapshot'   = ${function:Invoke-SnapshotFind}
    'create snapshot' = ${function:Invoke-SnapshotCreate}
    'merge snapshot'  = ${function:Invoke-SnapshotMerge}
    'addresses'       = ${function:Invoke-Addresses}
}

try {
    $answer = @(& $verbs[$Request.verb])[-1]
    $answer.ok = $true
} catch {
    $answer = @{
        ok       = $false
        message  = [string]$_.Exception.Message
        id       = [string]$_.FullyQualifiedErrorId
        category = [string]$_.CategoryInfo.Category
        absent   = $_.Exception -is [System.Management.Automation.ItemNotFoundException]
        missing  = $_.Exception -is [System.Management.Automation.CommandNotFoundException]
    }
}
$json = ConvertTo-Json -InputObject $answer -Depth 6 -Compress
$bytes = [Text.Encoding]::UTF8.GetBytes($json)
[Console]::Out.WriteLine('diskshift-answer ' + [Convert]::ToBase64String($bytes) + ' diskshift-end')
