# SPDX-License-Identifier: Apache-2.0
# element: boot-services
# task: drivers
# phase: prepare
# order: 20
# needs: core change
# Storage drivers that Windows brings along start at boot, whatever hardware it was installed on.

# Windows 8 and later keep drivers that the installation's hardware did not need
# from starting by a StartOverride beside them. What a Windows does not have is
# left out.
function Get-BootServices {
    $Common = 'storahci', 'msahci', 'atapi', 'intelide', 'pciide', 'stornvme'
    switch ($Target) {
        'hyperv' { return (@('vmbus', 'storvsc', 'storflt', 'vmstorfl') + $Common) }
        'vmware' { return (@('lsi_sas', 'lsi_scsi', 'pvscsi') + $Common) }
        'kvm' { return (@('viostor', 'vioscsi') + $Common) }
        'xen' { return (@('xenvbd', 'xenbus') + $Common) }
        default { return $Common }
    }
}

function Set-BootService([string]$Name) {
    $Path = 'HKLM:\SYSTEM\CurrentControlSet\Services\' + $Name
    if ($null -eq (Get-RegistryValue $Path 'ImagePath')) {
        return
    }
    Set-Registry $Path 'Start' 'DWord' 0
    $Override = $Path + '\StartOverride'
    if (-not (Test-Path -LiteralPath $Override)) {
        return
    }
    foreach ($Value in @((Get-Item -LiteralPath $Override).GetValueNames())) {
        Set-Registry $Override $Value 'DWord' 0
    }
}

function element_boot_services {
    foreach ($Name in Get-BootServices) {
        Set-BootService $Name
    }
}
