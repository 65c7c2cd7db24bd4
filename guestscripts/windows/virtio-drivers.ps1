# SPDX-License-Identifier: Apache-2.0
# element: virtio-drivers
# task: drivers
# phase: prepare
# target: kvm xen
# order: 10
# needs: core change
# variable: DRIVERS= -- virtio drivers in the guest: a folder, a CD drive, or an ISO file
# The virtio drivers are in Windows before it meets virtio hardware, and those of disks start at boot.

$Drivers = @DRIVERS@

$StorageClass = '{4D36E97B-E325-11CE-BFC1-08002BE10318}'
$CriticalDevices = 'HKLM:\SYSTEM\CurrentControlSet\Control\CriticalDeviceDatabase\'
# PCI devices by service: transitional, modern.
$StorageDevices = @{
    viostor = @('1001', '1042')
    vioscsi = @('1004', '1048')
}
# Drivers that a guest of QEMU may need; a package holds more.
$DriverNames = 'viostor', 'vioscsi', 'netkvm', 'vioser', 'viorng', 'balloon',
    'viofs', 'vioinput', 'viogpudo', 'pvpanic', 'qemufwcfg', 'qemupciserial'

# Names of the folders of the virtio-win collection, the best first; an older
# driver serves where a collection has none for this Windows.
function Get-DriverFolders([int]$Build, [bool]$Server) {
    $Servers = @(
        @(26100, '2k25'), @(20348, '2k22'), @(17763, '2k19'), @(14393, '2k16'),
        @(9600, '2k12R2'), @(9200, '2k12'), @(7600, '2k8R2'))
    $Clients = @(
        @(22000, 'w11'), @(10240, 'w10'), @(9600, 'w8.1'), @(9200, 'w8'), @(7600, 'w7'))
    $List = $Clients
    if ($Server) {
        $List = $Servers
    }
    # Windows 10 took another form of driver packages: nothing older serves it.
    $Least = 0
    if ($Build -ge 10240) {
        $Least = 10240
    }
    foreach ($Entry in $List) {
        if ($Entry[0] -le $Build -and $Entry[0] -ge $Least) {
            $Entry[1]
        }
    }
}

function Get-DriverArchitecture {
    switch ($env:PROCESSOR_ARCHITECTURE) {
        'AMD64' { return 'amd64' }
        'ARM64' { return 'ARM64' }
        default { return 'x86' }
    }
}

# From all .inf files of a collection those for this Windows, one per driver; of
# a folder without the collection's structure all.
function Select-Drivers([string[]]$Paths, [string[]]$Folders, [string]$Architecture) {
    $Collection = @($Paths | Where-Object {
            $_ -match '\\(2k|w|xp)[0-9.kR]*\\(amd64|x86|ARM64)\\[^\\]+\.inf$'
        })
    if ($Collection.Count -eq 0) {
        return $Paths
    }
    foreach ($Name in $DriverNames) {
        foreach ($Folder in $Folders) {
            $End = '\{0}\{1}\{2}.inf' -f $Folder, $Architecture, $Name
            $Found = @($Collection | Where-Object {
                    $_.EndsWith($End, [StringComparison]::OrdinalIgnoreCase)
                })
            if ($Found.Count -gt 0) {
                $Found[0]
                break
            }
        }
    }
}

# The folder with the drivers; an ISO file is mounted for the time it takes.
function Open-Drivers {
    if (-not (Test-Path -LiteralPath $Drivers)) {
        throw ('drivers: {0}: is not in this guest' -f $Drivers)
    }
    if ($Drivers -notlike '*.iso') {
        return $Drivers
    }
    if (-not (Test-CimClass 'root/Microsoft/Windows/Storage' 'MSFT_DiskImage')) {
        throw ('drivers: {0}: this Windows cannot mount ISO files. Unpack it, ' -f $Drivers +
            'or put it into the CD drive, and name that folder or drive')
    }
    if ($DryRun) {
        Write-Would ('mount ' + $Drivers)
        return ''
    }
    $Image = Mount-DiskImage -ImagePath $Drivers -PassThru
    return ('{0}:\' -f (Get-Volume -DiskImage $Image).DriveLetter)
}

function Close-Drivers {
    if ($Drivers -like '*.iso' -and -not $DryRun) {
        $null = Dismount-DiskImage -ImagePath $Drivers
    }
}

function Get-PublishedDrivers {
    return @(Get-ChildItem -Path (Join-Path $env:SystemRoot 'INF\oem*.inf') |
            ForEach-Object { $_.Name })
}

# PnPUtil's words are translated: the new file in %SystemRoot%\INF tells what
# was published. A driver that is there already publishes nothing. 259: nothing
# to install on this hardware, as is right in the source guest; 3010: reboot.
function Add-Driver([string]$Path) {
    if ($DryRun) {
        Write-Would ('add driver ' + $Path)
        return
    }
    $Before = Get-PublishedDrivers
    $null = Invoke-Program 'pnputil.exe' @('-i', '-a', $Path) @(0, 259, 3010)
    foreach ($Name in Get-PublishedDrivers) {
        if ($Before -notcontains $Name) {
            Add-Change 'Undo-Driver' $Name $null
            Write-Did ('added driver {0} as {1}' -f $Path, $Name)
        }
    }
}

function Undo-Driver([string]$Key, $Data) {
    $null = Invoke-Program 'pnputil.exe' @('-d', $Key)
}

# A disk's driver has to be there before PnP is: a service that starts at boot,
# its file in System32\drivers, and for Windows before 8 the devices it serves.
function Set-StorageDriver([string]$Inf) {
    $Name = [System.IO.Path]::GetFileNameWithoutExtension($Inf).ToLowerInvariant()
    if (-not $StorageDevices.ContainsKey($Name)) {
        return
    }
    $File = [System.IO.Path]::ChangeExtension($Inf, '.sys')
    Copy-Guest $File (Get-System ('drivers\' + $Name + '.sys'))
    $Service = 'HKLM:\SYSTEM\CurrentControlSet\Services\' + $Name
    Set-Registry $Service 'Type' 'DWord' 1
    Set-Registry $Service 'Start' 'DWord' 0
    Set-Registry $Service 'ErrorControl' 'DWord' 1
    Set-Registry $Service 'Group' 'String' 'SCSI miniport'
    Set-Registry $Service 'ImagePath' 'ExpandString' ('System32\drivers\' + $Name + '.sys')
    Set-Registry ($Service + '\Parameters\PnpInterface') '5' 'DWord' 1
    foreach ($Device in $StorageDevices[$Name]) {
        $Key = $CriticalDevices + 'pci#ven_1af4&dev_' + $Device
        Set-Registry $Key 'Service' 'String' $Name
        Set-Registry $Key 'ClassGUID' 'String' $StorageClass
    }
}

function Install-Drivers([string]$Folder) {
    $System = Get-CimInstance -ClassName Win32_OperatingSystem
    $Folders = @(Get-DriverFolders ([int]$System.BuildNumber) ($System.ProductType -ne 1))
    $Paths = @(Get-ChildItem -LiteralPath $Folder -Recurse -Filter '*.inf' |
            ForEach-Object { $_.FullName })
    $Chosen = @(Select-Drivers $Paths $Folders (Get-DriverArchitecture))
    $Names = @($Chosen | ForEach-Object {
            [System.IO.Path]::GetFileNameWithoutExtension($_).ToLowerInvariant()
        })
    foreach ($Name in 'viostor', 'netkvm') {
        if ($Names -notcontains $Name) {
            throw ('drivers: {0}: have no {1}.inf for {2} {3}' -f $Folder, $Name,
                ($Folders -join ' or '), (Get-DriverArchitecture))
        }
    }
    foreach ($Path in $Chosen) {
        Add-Driver $Path
        Set-StorageDriver $Path
    }
}

function element_virtio_drivers {
    if ($Drivers -eq '') {
        Write-Warn ('no virtio drivers were named (option drivers): the target needs ' +
            'disks on SATA or IDE and a network card that Windows knows')
        return
    }
    $Folder = Open-Drivers
    if ($Folder -eq '') {
        return
    }
    try {
        Install-Drivers $Folder
    } finally {
        Close-Drivers
    }
}
