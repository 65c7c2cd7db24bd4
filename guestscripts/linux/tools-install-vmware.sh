# SPDX-License-Identifier: Apache-2.0
# element: tools-install-vmware
# task: tools-install
# phase: settle
# target: vmware
# order: 50
# needs: packages services
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# open-vm-tools, from the repository or a given package.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_install_vmware() {
    packages_install_one "$TOOLS_PACKAGE" open-vm-tools || return 0
    service_enable open-vm-tools vmtoolsd
}
