# SPDX-License-Identifier: Apache-2.0
# element: power-off-settle
# task: power-off
# phase: settle
# order: 99
# needs: core arming
# The target VM powers off: its mover waits for that.

# After the result is written, by main-second.
function element_power_off_settle {
    $script:PowerOffAsked = $true
    if ($DryRun) {
        Write-Would 'power off'
    } else {
        Write-Did 'power off follows'
    }
}
