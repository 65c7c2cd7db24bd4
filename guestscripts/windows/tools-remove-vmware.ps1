# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-vmware
# task: tools-remove
# phase: leave
# source: vmware
# order: 20
# needs: core programs
# VMware Tools go while the guest is still on VMware: elsewhere their package refuses.

function element_tools_remove_vmware {
    Remove-Programs '^VMware Tools$'
}
