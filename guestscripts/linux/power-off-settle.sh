# SPDX-License-Identifier: Apache-2.0
# element: power-off-settle
# task: power-off
# phase: settle
# order: 99
# needs: power
# The target VM is powered off.

element_power_off_settle() {
    did "power the target VM off"
    power_off_wanted
}
