# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-kvm
# task: tools-remove
# phase: leave
# source: kvm
# order: 20
# needs: core programs
# QEMU's guest agent, the SPICE agent and the tools that came with the virtio drivers.

function element_tools_remove_kvm {
    Remove-Programs '^(QEMU guest agent|Spice Agent|Virtio-win-driver-installer)'
}
