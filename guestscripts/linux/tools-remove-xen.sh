# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-xen
# task: tools-remove
# phase: leave
# source: xen
# order: 50
# needs: packages
# The agents of Xen go.

element_tools_remove_xen() {
    packages_remove xe-guest-utilities xe-guest-utilities-latest \
        xen-guest-agent
}
