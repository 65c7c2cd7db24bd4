# SPDX-License-Identifier: Apache-2.0
# element: power-off-leave
# task: power-off
# phase: leave
# order: 99
# needs: core arming
# The source guest powers off when everything else is done.

# After the result is written, by main-second.
function element_power_off_leave {
    $script:PowerOffAsked = $true
    if ($DryRun) {
        Write-Would 'power off'
    } else {
        Write-Did 'power off follows'
    }
}
