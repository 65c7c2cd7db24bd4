# SPDX-License-Identifier: Apache-2.0
# element: tools-install-xen
# task: tools-install
# phase: settle
# target: xen
# order: 50
# needs: packages services
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# The agent of Xen, from the repository or a given package.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_install_xen() {
    packages_install_one "$TOOLS_PACKAGE" xe-guest-utilities xen-guest-agent || return 0
    service_enable xe-linux-distribution xe-daemon xen-guest-agent
}
