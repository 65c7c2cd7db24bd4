# SPDX-License-Identifier: Apache-2.0
# element: tools-install-kvm
# task: tools-install
# phase: settle
# target: kvm
# order: 50
# needs: packages services
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# The agent of QEMU, from the repository or a given package.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_install_kvm() {
    packages_install_one "$TOOLS_PACKAGE" qemu-guest-agent || return 0
    service_enable qemu-guest-agent
}
