# SPDX-License-Identifier: Apache-2.0
# element: tools-install-hyperv
# task: tools-install
# phase: settle
# target: hyperv
# order: 50
# needs: packages services
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# Hyper-V's daemons, from the repository or a given package.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_install_hyperv() {
    packages_install_one "$TOOLS_PACKAGE" hyperv-daemons \
        linux-cloud-tools-virtual hyper-v hvtools || return 0
    # Debian's names, RHEL's, Ubuntu's; and of the kernel's own units.
    for hyperv_one in kvp vss fcopy; do
        service_enable "hyperv-daemons.hv-$hyperv_one-daemon" \
            "hyperv${hyperv_one}d" "hv-$hyperv_one-daemon" \
            "hv_${hyperv_one}_daemon"
    done
}
