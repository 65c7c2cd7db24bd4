# SPDX-License-Identifier: Apache-2.0
# element: tools-install-xen
# task: tools-install
# phase: settle
# target: xen
# order: 50
# needs: packages
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# The agent of Xen, from the repository or a given package.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_install_xen() {
    set -- xe-guest-utilities xen-guest-agent
    [ -z "$TOOLS_PACKAGE" ] || set -- "$TOOLS_PACKAGE" "$@"
    packages_install_one "$@"
}
