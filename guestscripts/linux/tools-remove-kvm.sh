# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-kvm
# task: tools-remove
# phase: leave
# source: kvm
# order: 50
# needs: packages
# The agents of QEMU and SPICE go.

element_tools_remove_kvm() {
    packages_remove qemu-guest-agent spice-vdagent
}
