# SPDX-License-Identifier: Apache-2.0
# element: tools-install-hyperv
# task: tools-install
# phase: settle
# target: hyperv
# order: 50
# needs: packages
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# Hyper-V's daemons, from the repository or a given package.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_install_hyperv() {
    set -- hyperv-daemons linux-cloud-tools-virtual hvtools
    [ -z "$TOOLS_PACKAGE" ] || set -- "$TOOLS_PACKAGE" "$@"
    packages_install_one "$@"
}
