# SPDX-License-Identifier: Apache-2.0
# element: disks-restore
# task: boot
# phase: arrive
# order: 40
# needs: core change disks
# Disks online and writable, except those that were offline; drive letters as before.

function Set-Online($Disk) {
    $Identity = Get-DiskIdentity $Disk.Guid $Disk.Signature
    $Before = @($Record.disks | Where-Object { $Identity -and $_.unique_id -eq $Identity })
    $Wanted = ($Before.Count -gt 0 -and $Before[0].offline -eq $true)
    if ($Wanted -eq [bool]$Disk.IsOffline) {
        return
    }
    $Method = 'Online'
    if ($Wanted) {
        $Method = 'Offline'
    }
    if ($DryRun) {
        Write-Would ('disk {0}: {1}' -f $Disk.Number, $Method)
        return
    }
    Add-Change 'Undo-Disk' "disk $($Disk.Number)" ([ordered]@{
            number = [int]$Disk.Number
            offline = [bool]$Disk.IsOffline
            readonly = [bool]$Disk.IsReadOnly
        })
    $Result = Invoke-CimMethod -InputObject $Disk -MethodName $Method
    if ($Result.ReturnValue -ne 0) {
        Write-Warn ('disk {0}: {1}: have status {2} expect 0' -f $Disk.Number, $Method,
            $Result.ReturnValue)
        return
    }
    if (-not $Wanted) {
        $null = Invoke-CimMethod -InputObject $Disk -MethodName SetAttributes `
            -Arguments @{ IsReadOnly = $false }
    }
    Write-Did ('disk {0}: {1}' -f $Disk.Number, $Method)
}

function Undo-Disk([string]$Key, $Data) {
    $Disk = Get-CimInstance -Namespace 'root/Microsoft/Windows/Storage' `
        -ClassName 'MSFT_Disk' -Filter ('Number={0}' -f [int]$Data.number)
    $null = Invoke-CimMethod -InputObject $Disk -MethodName SetAttributes `
        -Arguments @{ IsReadOnly = $Data.readonly }
    $Method = 'Online'
    if ($Data.offline) {
        $Method = 'Offline'
    }
    $null = Invoke-CimMethod -InputObject $Disk -MethodName $Method
}

function Set-OnlineByDiskpart {
    $Lines = @()
    foreach ($Disk in @(Get-CimInstance -ClassName Win32_DiskDrive)) {
        $Lines += 'select disk {0}' -f [int]$Disk.Index
        $Lines += 'online disk noerr'
        $Lines += 'attributes disk clear readonly noerr'
    }
    if ($DryRun) {
        Write-Would ('diskpart: ' + ($Lines -join '; '))
        return
    }
    $File = Join-Path $State 'diskpart.txt'
    Write-Text $File (($Lines -join "`r`n") + "`r`n") $false
    $null = Invoke-Program 'diskpart.exe' @('/s', $File)
    Remove-Item -LiteralPath $File -Force
    Write-Did 'disks online by diskpart'
}

# The first letter that nobody has or wants; A: and B: are for floppy disks.
function Get-FreeLetter($Taken) {
    foreach ($Name in 'D E F G H I J K L M N O P Q R S T U V W X Y Z'.Split(' ')) {
        $Letter = $Name + ':'
        if ($Taken -notcontains $Letter) {
            return $Letter
        }
    }
    return $null
}

# Steps from the letters that volumes have to those that they had. A letter is
# taken away from who should not have it before anybody gets it, so letters may
# change places; a stranger that held a wanted one, as a CD drive, gets another.
function Get-LetterSteps($Wanted, $Present) {
    $Right = @{}
    foreach ($Volume in $Wanted) {
        $Right[$Volume.id] = $Volume.letter
    }
    $Letters = @($Wanted | ForEach-Object { $_.letter })
    $Taken = $Letters + @($Present | ForEach-Object { $_.letter })
    foreach ($Volume in $Present) {
        if ($Right[$Volume.id] -or $Letters -notcontains $Volume.letter) {
            continue
        }
        $Right[$Volume.id] = Get-FreeLetter $Taken
        $Taken += $Right[$Volume.id]
    }
    $Moving = @($Present | Where-Object {
            $Right[$_.id] -and $_.letter -ne $Right[$_.id]
        })
    foreach ($Volume in $Moving) {
        if ($Volume.letter) {
            [ordered]@{ id = $Volume.id; letter = $null }
        }
    }
    foreach ($Volume in $Moving) {
        [ordered]@{ id = $Volume.id; letter = $Right[$Volume.id] }
    }
}

# All volumes, CD drives too: one of those may sit on a disk's letter.
function Get-AllVolumes {
    foreach ($Volume in @(Get-CimInstance -ClassName Win32_Volume)) {
        [ordered]@{ id = $Volume.DeviceID; letter = $Volume.DriveLetter }
    }
}

function Set-Letter([string]$Id, $Letter) {
    $Volume = @(Get-CimInstance -ClassName Win32_Volume | Where-Object { $_.DeviceID -eq $Id })[0]
    $Words = 'volume {0}: letter {1} becomes {2}' -f $Id, $Volume.DriveLetter, $Letter
    if ($DryRun) {
        Write-Would $Words
        return
    }
    # Each step has an entry: backwards they are as possible as forwards.
    Add-Change 'Undo-Letter' ($Id + ' ' + $Volume.DriveLetter) ([ordered]@{
            id = $Id
            letter = $Volume.DriveLetter
        })
    Set-CimInstance -InputObject $Volume -Property @{ DriveLetter = $Letter }
    Write-Did $Words
}

function Undo-Letter([string]$Key, $Data) {
    $Volume = @(Get-CimInstance -ClassName Win32_Volume |
            Where-Object { $_.DeviceID -eq $Data.id })[0]
    if ($Volume.DriveLetter -ne $Data.letter) {
        Set-CimInstance -InputObject $Volume -Property @{ DriveLetter = $Data.letter }
    }
}

function element_disks_restore {
    if (Test-CimClass 'root/Microsoft/Windows/Storage' 'MSFT_Disk') {
        foreach ($Disk in @(Get-CimInstance -Namespace 'root/Microsoft/Windows/Storage' `
                    -ClassName 'MSFT_Disk')) {
            Set-Online $Disk
        }
    } else {
        Set-OnlineByDiskpart
    }
    foreach ($Step in @(Get-LetterSteps @($Record.volumes) @(Get-AllVolumes))) {
        Set-Letter $Step.id $Step.letter
    }
    $Present = @(Get-AllVolumes | ForEach-Object { $_.id })
    foreach ($Volume in @($Record.volumes)) {
        if ($Present -notcontains $Volume.id) {
            Write-Warn ('{0}: its volume is not here: {1}' -f $Volume.letter, $Volume.id)
        }
    }
}
