# SPDX-License-Identifier: Apache-2.0
# element: bitlocker-check
# task: boot
# phase: collect
# order: 10
# needs: core
# Refuses a guest whose disk would not be unlocked on other hardware.

function element_bitlocker_check {
    $Namespace = 'root/cimv2/Security/MicrosoftVolumeEncryption'
    if (-not (Test-CimClass $Namespace 'Win32_EncryptableVolume')) {
        return
    }
    foreach ($Volume in @(Get-CimInstance -Namespace $Namespace `
                -ClassName 'Win32_EncryptableVolume')) {
        if ($Volume.ProtectionStatus -ne 1) {
            continue
        }
        if ($Volume.DriveLetter -eq $env:SystemDrive) {
            throw (('BitLocker protects {0}: its key is bound to this hardware. Run ' +
                    'manage-bde -protectors -disable {0} -RebootCount 0, then run again') -f
                $Volume.DriveLetter)
        }
        Write-Warn ('BitLocker protects {0}: have its recovery key at hand' -f
            $Volume.DriveLetter)
    }
}
