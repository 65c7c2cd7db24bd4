# SPDX-License-Identifier: Apache-2.0
# element: tools-package
# task: tools-install
# phase: prepare
# target: vmware hyperv kvm xen
# order: 20
# needs: change
# variable: TOOLS_PACKAGE= -- path in the guest of a package to install; empty: from the repository
# A package that was given must be there before the guest moves.

TOOLS_PACKAGE=@TOOLS_PACKAGE@

element_tools_package() {
    case $TOOLS_PACKAGE in
    '') ;;
    /*)
        [ -f "$TOOLS_PACKAGE" ] || {
            fail "$TOOLS_PACKAGE, the package of tools, is not in this guest"
            return 1
        }
        ;;
    *)
        fail "$TOOLS_PACKAGE, the package of tools, is no path from the root"
        return 1
        ;;
    esac
}
