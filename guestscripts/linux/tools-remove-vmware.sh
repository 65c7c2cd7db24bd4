# SPDX-License-Identifier: Apache-2.0
# element: tools-remove-vmware
# task: tools-remove
# phase: leave
# source: vmware
# order: 50
# needs: packages
# VMware Tools go: the distribution's package, or VMware's own installation.

# VMware's own, from a tarball. Its directory of programs was asked for when it
# was installed, and is on record.
vmware_uninstaller() {
    vmware_name=vmware-uninstall-tools.pl
    command -v "$vmware_name" && return 0
    vmware_folder=$(sed -n 's/^answer BINDIR //p' /etc/vmware-tools/locations \
        2>/dev/null | tail -n 1)
    [ -n "$vmware_folder" ] && [ -x "$vmware_folder/$vmware_name" ] &&
        printf '%s\n' "$vmware_folder/$vmware_name"
}

element_tools_remove_vmware() {
    packages_remove 'open-vm-tools*' VMwareTools \
        'vmware-tools-*'
    vmware_path=$(vmware_uninstaller) || return 0
    when_undone warn "VMware's own tools were removed and are not brought back"
    if ! run "remove VMware's own tools" "$vmware_path"; then
        warn "VMware's own tools were not removed: $vmware_path: \
$(tail -n 1 "$WORK/run")"
    elif [ -z "$DRY" ] && [ -x "$vmware_path" ]; then
        warn "$vmware_path has ended well and is still there: see the log"
    fi
}
