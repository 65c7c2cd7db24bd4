# SPDX-License-Identifier: Apache-2.0
# element: vmware-tools-remove
# task: tools-remove
# phase: leave
# source: vmware
# order: 20
# needs: core programs
# VMware Tools go while the guest is still on VMware: elsewhere their package refuses.

function element_vmware_tools_remove {
    Remove-Programs '^VMware Tools$'
}
