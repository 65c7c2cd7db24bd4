# SPDX-License-Identifier: Apache-2.0
# element: machine
# task: base
# phase: common
# order: 25
# needs: core
# The machine as the guest sees it.

# Equal in two boots: the guest has not moved.
machine_identity() {
    for machine_file in sys_vendor product_name product_version product_uuid \
        board_name bios_vendor; do
        printf '%s/' "$(cat "/sys/class/dmi/id/$machine_file" 2>/dev/null)"
    done
    for machine_file in /sys/class/net/*/device/modalias \
        /sys/block/*/device/modalias; do
        [ ! -f "$machine_file" ] || cat "$machine_file"
    done | sort | tr '\n' '/'
    cat /sys/hypervisor/type 2>/dev/null || :
}
