# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-xen
# task: tools-remove
# phase: leave
# source: xen
# order: 20
# needs: core programs
# The management agents of XenServer, XCP-ng and Citrix.

function element_tools_remove_xen {
    Remove-Programs '^(XenServer|XCP-ng|Citrix) .*(VM|Management|Guest) (Tools|Agent)'
}
