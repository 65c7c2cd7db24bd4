# SPDX-License-Identifier: Apache-2.0
# element: links
# task: base
# phase: common
# order: 30
# needs: log
# variable: VIRTUAL_NICS=no -- yes: interfaces without hardware (veth, tap) count as NICs, as in containers
# The kernel's interfaces: which are NICs, which is which by MAC address.

VIRTUAL_NICS=@VIRTUAL_NICS@
NET=/sys/class/net

# links: a name a line. A name holds neither blanks nor slashes.
links() {
    for links_path in "$NET"/*; do
        [ -e "$links_path/address" ] || continue
        links_name=${links_path##*/}
        [ "$links_name" = lo ] || printf '%s\n' "$links_name"
    done
}

# link_kind NAME: nic, bond, bridge, vlan, team ... or other
link_kind() {
    link_type=$(sed -n 's/^DEVTYPE=//p' "$NET/$1/uevent" 2>/dev/null)
    if [ -d "$NET/$1/bonding" ]; then
        echo bond
    elif [ -d "$NET/$1/bridge" ]; then
        echo bridge
    elif [ -e "/proc/net/vlan/$1" ]; then
        echo vlan
    elif [ -n "$link_type" ] && [ "$link_type" != wlan ]; then
        printf '%s\n' "$link_type"
    elif [ -e "$NET/$1/device" ]; then
        echo nic
    elif [ "$VIRTUAL_NICS" = yes ] &&
        [ "$(cat "$NET/$1/type" 2>/dev/null)" = 1 ]; then
        echo nic
    else
        echo other
    fi
}

# link_mac NAME: the permanent address, also of a NIC in a bond, which shows
# the bond's.
link_mac() {
    link_address=$(cat "$NET/$1/bonding_slave/perm_hwaddr" 2>/dev/null) ||
        link_address=$(ip -d link show dev "$1" 2>/dev/null |
            sed -n 's/.* permaddr \([0-9a-fA-F:]*\).*/\1/p' | head -n 1)
    [ -n "$link_address" ] || link_address=$(cat "$NET/$1/address")
    printf '%s\n' "$link_address" | tr ABCDEF abcdef
}

# links_below: of interfaces that stand on others, a table of both names.
links_below() {
    for below_path in "$NET"/*/lower_*; do
        [ -e "$below_path" ] || continue
        below_name=${below_path#"$NET"/}
        row "${below_name%%/*}" "${below_path##*/lower_}"
    done
}

# nics_now: the NICs of this moment, a table of MAC address and name.
nics_now() {
    links | while read -r nics_name; do
        [ "$(link_kind "$nics_name")" != nic ] ||
            row "$(link_mac "$nics_name")" "$nics_name"
    done
}

# link_driver NAME; link_path NAME: the bus's name of what is behind it.
link_driver() {
    link_file=$(readlink -f "$NET/$1/device/driver" 2>/dev/null) || return 0
    [ ! -e "$link_file" ] || printf '%s\n' "${link_file##*/}"
}

link_path() {
    link_file=$(readlink -f "$NET/$1/device" 2>/dev/null) || return 0
    [ ! -e "$link_file" ] || printf '%s\n' "${link_file##*/}"
}
