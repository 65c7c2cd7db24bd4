# SPDX-License-Identifier: Apache-2.0
# element: xen-tools-remove
# task: tools-remove
# phase: leave
# source: xen
# order: 20
# needs: core programs
# The management agents of XenServer, XCP-ng and Citrix.

function element_xen_tools_remove {
    Remove-Programs '^(XenServer|XCP-ng|Citrix) .*(VM|Management|Guest) (Tools|Agent)'
}
