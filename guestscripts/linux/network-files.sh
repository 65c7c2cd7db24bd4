# SPDX-License-Identifier: Apache-2.0
# element: network-files
# task: base
# phase: common
# order: 40
# needs: core
# Which files say how the network is to be, and whose they are.

# network_files_of MANAGER PATTERN-ED PATHS...: those that are files
network_files_of() {
    files_manager=$1
    shift
    for files_path in "$@"; do
        case $files_path in
        *~ | *.bak | *.orig | *.rpm* | *.dpkg-* | *.diskshift-new) continue ;;
        esac
        [ ! -f "$files_path" ] || row "$files_manager" "$files_path"
    done
}

# A table of manager and path. ifcfg is RHEL's, wicked's are SUSE's.
network_files() {
    network_files_of networkmanager \
        /etc/NetworkManager/system-connections/*
    network_files_of netplan /etc/netplan/*.yaml /etc/netplan/*.yml
    network_files_of networkd /etc/systemd/network/*.network \
        /etc/systemd/network/*.netdev /etc/systemd/network/*.link \
        /etc/systemd/network/*.network.d/*.conf
    network_files_of ifupdown /etc/network/interfaces \
        /etc/network/interfaces.d/*
    network_files_of ifcfg /etc/sysconfig/network-scripts/ifcfg-* \
        /etc/sysconfig/network-scripts/route-* \
        /etc/sysconfig/network-scripts/route6-* \
        /etc/sysconfig/network-scripts/rule-* \
        /etc/sysconfig/network-scripts/rule6-* |
        grep -v '/ifcfg-lo$'
    network_files_of wicked /etc/sysconfig/network/ifcfg-* \
        /etc/sysconfig/network/ifroute-* /etc/sysconfig/network/routes |
        grep -v '/ifcfg-lo$'
}

# network_managers TABLE: their names, with blanks between
network_managers() {
    awk -F "$TAB" '!seen[$1]++ { list = list (list == "" ? "" : " ") $1 }
        END { print list == "" ? "nobody" : list }' "$1"
}
