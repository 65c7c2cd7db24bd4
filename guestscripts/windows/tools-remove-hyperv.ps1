# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-hyperv
# task: tools-remove
# phase: leave
# source: hyperv
# order: 20
# needs: core change programs
# Hyper-V's integration services are part of Windows: they are switched off, and removed where a package brought them.

function element_tools_remove_hyperv {
    foreach ($Key in @(Get-ChildItem -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Services')) {
        if ($Key.PSChildName -like 'vmic*') {
            Set-Registry ('HKLM:\SYSTEM\CurrentControlSet\Services\' + $Key.PSChildName) `
                'Start' 'DWord' 4
        }
    }
    Remove-Programs '^(Microsoft )?Hyper-V (Guest|Integration)'
}
