# SPDX-License-Identifier: Apache-2.0
# element: disks
# task: boot
# phase: common
# order: 24
# needs: core
# How a disk is known again behind another controller.

# By what is written on it: the GUID of GPT, the signature of MBR. A disk that
# has neither is null, and is nobody's.
function Get-DiskIdentity($Guid, $Signature) {
    if ($Guid) {
        return $Guid
    }
    if ($Signature) {
        return ('mbr:{0:x8}' -f $Signature)
    }
    return $null
}
