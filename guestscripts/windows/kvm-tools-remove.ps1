# SPDX-License-Identifier: Apache-2.0
# element: kvm-tools-remove
# task: tools-remove
# phase: leave
# source: kvm
# order: 20
# needs: core programs
# QEMU's guest agent, the SPICE agent and the tools that came with the virtio drivers.

function element_kvm_tools_remove {
    Remove-Programs '^(QEMU guest agent|Spice Agent|Virtio-win-driver-installer)'
}
