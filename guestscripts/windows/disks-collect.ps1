# SPDX-License-Identifier: Apache-2.0
# element: disks-collect
# task: boot
# phase: collect
# order: 30
# needs: core change disks
# Disks, which of them are offline, drive letters, the policy for disks that are new.

$PartitionManager = 'HKLM:\SYSTEM\CurrentControlSet\Services\partmgr\Parameters'

# "Disk #1, Partition #2" -> 1
function Get-DiskIndex([string]$Partition) {
    if ($Partition -match '#(\d+)\D+#\d+') {
        return [int]$Matches[1]
    }
    return -1
}

function Get-LettersByDisk {
    $Letters = @{}
    foreach ($Link in @(Get-CimInstance -ClassName Win32_LogicalDiskToPartition)) {
        $Index = "$(Get-DiskIndex $Link.Antecedent.DeviceID)"
        $Letters[$Index] = @(@($Letters[$Index]) + $Link.Dependent.DeviceID | Where-Object { $_ })
    }
    return $Letters
}

# Before Windows 8 nothing tells without a translation whether a disk is offline.
function Get-Disks {
    $Letters = Get-LettersByDisk
    if (Test-CimClass 'root/Microsoft/Windows/Storage' 'MSFT_Disk') {
        foreach ($Disk in @(Get-CimInstance -Namespace 'root/Microsoft/Windows/Storage' `
                    -ClassName 'MSFT_Disk')) {
            [ordered]@{
                number = [int]$Disk.Number
                unique_id = (Get-DiskIdentity $Disk.Guid $Disk.Signature)
                offline = [bool]$Disk.IsOffline
                letters = @($Letters["$($Disk.Number)"] | Where-Object { $_ })
            }
        }
        return
    }
    foreach ($Disk in @(Get-CimInstance -ClassName Win32_DiskDrive)) {
        [ordered]@{
            number = [int]$Disk.Index
            unique_id = (Get-DiskIdentity $null $Disk.Signature)
            offline = $null
            letters = @($Letters["$($Disk.Index)"] | Where-Object { $_ })
        }
    }
}

# Fixed disks and CD drives; a volume is known by its GUID, which Windows keeps
# by what is written on the disk.
function Get-Volumes {
    foreach ($Volume in @(Get-CimInstance -ClassName Win32_Volume)) {
        if ($Volume.DriveType -eq 3 -and $Volume.DriveLetter) {
            [ordered]@{ id = $Volume.DeviceID; letter = $Volume.DriveLetter }
        }
    }
}

# The policy as it was before this script changed it, however often it runs.
function Get-DiskPolicy {
    foreach ($Entry in @(Read-Journal)) {
        if ($Entry.key -eq ($PartitionManager + '\SanPolicy')) {
            return $Entry.data.value
        }
    }
    return (Get-RegistryValue $PartitionManager 'SanPolicy')
}

function element_disks_collect {
    $Record['disks'] = @(Get-Disks)
    $Record['volumes'] = @(Get-Volumes)
    $Record['disk_policy'] = Get-DiskPolicy
    foreach ($Disk in $Record['disks']) {
        $Word = 'online'
        if ($Disk.offline) {
            $Word = 'offline'
        }
        Write-Did ('disk {0} {1} {2} {3}' -f $Disk.number, $Disk.unique_id, $Word,
            ($Disk.letters -join ' '))
    }
}
