# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-hyperv
# task: tools-remove
# phase: leave
# source: hyperv
# order: 50
# needs: packages
# Hyper-V's daemons go; its drivers are the kernel's and stay.

element_tools_remove_hyperv() {
    packages_remove hyperv-daemons hyperv-tools hypervkvpd hypervfcopyd \
        hypervvssd hyper-v 'linux-cloud-tools-*' hvtools
}
