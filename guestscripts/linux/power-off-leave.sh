# SPDX-License-Identifier: Apache-2.0
# element: power-off-leave
# task: power-off
# phase: leave
# order: 99
# needs: power
# The source guest is powered off.

element_power_off_leave() {
    did "power the source guest off"
    power_off_wanted
}
