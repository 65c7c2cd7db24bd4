# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-vmware
# task: tools-remove
# phase: leave
# source: vmware
# order: 50
# needs: packages
# VMware Tools go: the distribution's package, or VMware's own installation.

element_tools_remove_vmware() {
    packages_remove open-vm-tools-desktop open-vm-tools-sdmp \
        open-vm-tools-salt-minion open-vm-tools open-vm-tools-gui \
        vmware-tools-esx-nox vmware-tools-esx
    if [ -x /usr/bin/vmware-uninstall-tools.pl ]; then
        run "remove VMware's own tools" /usr/bin/vmware-uninstall-tools.pl ||
            warn "vmware-uninstall-tools.pl failed: see the log"
    fi
}
