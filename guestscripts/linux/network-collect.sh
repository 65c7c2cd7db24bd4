# SPDX-License-Identifier: Apache-2.0
# element: network-collect
# task: base
# phase: collect
# order: 20
# needs: log links network-files
# Interfaces, addresses, routes and DNS, from the kernel.
#
#     nics       mac name driver path mtu up master
#     links      name kind mac mtu up parent vlan_id members
#     addresses  interface family address prefix scope dynamic
#     routes     family destination gateway interface metric table source
#                protocol type
#     dns        server|search value
#     files      manager path

link_up() {
    case $(($(cat "$NET/$1/flags") & 1)) in
    1) echo yes ;;
    *) echo no ;;
    esac
}

link_master() {
    link_file=$(readlink "$NET/$1/master" 2>/dev/null) || return 0
    printf '%s\n' "${link_file##*/}"
}

# What an interface is made of: ports of a bridge, slaves of a bond.
link_members() {
    link_list=
    for link_lower in "$NET/$1"/lower_*; do
        [ -e "$link_lower" ] || [ -L "$link_lower" ] || continue
        link_list="$link_list${link_list:+ }${link_lower#"$NET/$1/lower_"}"
    done
    printf '%s\n' "$link_list"
}

collect_link() {
    collect_kind=$(link_kind "$1")
    collect_mtu=$(cat "$NET/$1/mtu")
    if [ "$collect_kind" = nic ]; then
        row "$(link_mac "$1")" "$1" "$(link_driver "$1")" "$(link_path "$1")" \
            "$collect_mtu" "$(link_up "$1")" "$(link_master "$1")" \
            >>"$WORK/tables/nics"
        return
    fi
    collect_parent='' collect_vlan='' collect_members=$(link_members "$1")
    if [ "$collect_kind" = vlan ]; then
        collect_parent=$collect_members collect_members=''
        collect_vlan=$(sed -n 's/.*VID: \([0-9]*\).*/\1/p' \
            "/proc/net/vlan/$1" 2>/dev/null | head -n 1)
        [ -n "$collect_vlan" ] || collect_vlan=$(ip -d link show dev "$1" |
            sed -n 's/.* vlan .*id \([0-9]*\).*/\1/p' | head -n 1)
    fi
    row "$1" "$collect_kind" "$(cat "$NET/$1/address")" "$collect_mtu" \
        "$(link_up "$1")" "$collect_parent" "$collect_vlan" \
        "$collect_members" >>"$WORK/tables/links"
}

collect_addresses() {
    ip -o addr show dev "$1" | NAME=$1 awk "$AWK"'
        BEGIN { FS = " " }
        {
            sub(/\\.*/, "")
            family = address = scope = ""
            dynamic = "no"
            for (i = 3; i <= NF; i++) {
                if ($i == "inet" || $i == "inet6") {
                    family = $i == "inet" ? "ipv4" : "ipv6"
                    address = $(i + 1)
                }
                if ($i == "peer") { peer = $(i + 1); sub(/.*\//, "/", peer)
                    if (address !~ /\//) address = address peer }
                if ($i == "scope") scope = $(i + 1)
                if ($i == "dynamic") dynamic = "yes"
            }
            if (family == "") next
            if (address !~ /\//) address = address \
                (family == "ipv4" ? "/32" : "/128")
            split(address, part, "/")
            print escape(ENVIRON["NAME"]), family, part[1], part[2], scope, \
                dynamic
        }' >>"$WORK/tables/addresses"
}

# collect_routes FAMILY OPTION. What the kernel makes of the addresses is left
# out.
collect_routes() {
    { ip -o "$2" route show table all 2>/dev/null || ip -o "$2" route; } |
        FAMILY=$1 awk "$AWK"'
        BEGIN { FS = " " }
        function add() {
            print ENVIRON["FAMILY"], destination, field(gateway), \
                field(device), field(metric), table, field(source), \
                field(protocol), type
        }
        function field(s) { return escape(s) }
        {
            gsub(/\\/, " ")
            type = "unicast"
            i = 1
            if ($1 ~ /^(unreachable|blackhole|prohibit|throw)$/) type = $(i++)
            else if ($1 ~ /^(local|broadcast|multicast|anycast|nat)$/) next
            destination = $(i++)
            if (destination != "default" && destination !~ /\//)
                destination = destination \
                    (ENVIRON["FAMILY"] == "ipv4" ? "/32" : "/128")
            gateway = device = metric = source = protocol = ""
            table = "main"
            hops = 0
            for (; i <= NF; i++) {
                if ($i == "nexthop") {
                    if (hops++) add()
                    type = "multipath"
                    gateway = device = ""
                }
                if ($i == "via") {
                    gateway = $(i + 1) == "inet6" ? $(i + 2) : $(i + 1)
                }
                if ($i == "dev") device = $(i + 1)
                if ($i == "metric") metric = $(i + 1)
                if ($i == "src") source = $(i + 1)
                if ($i == "proto") protocol = $(i + 1)
                if ($i == "table") table = $(i + 1)
            }
            if (protocol == "kernel" || table == "local" || device == "lo")
                next
            if (destination ~ /^(fe80::|ff00::)/) next
            add()
        }' >>"$WORK/tables/routes"
}

collect_dns() {
    dns_file=/etc/resolv.conf
    if grep -q '^nameserver 127\.0\.0\.53' "$dns_file" 2>/dev/null &&
        [ -f /run/systemd/resolve/resolv.conf ]; then
        dns_file=/run/systemd/resolve/resolv.conf
    fi
    [ -f "$dns_file" ] || return 0
    awk "$AWK"'
        BEGIN { FS = "[ \t]+" }
        $1 == "nameserver" { print "server", escape($2) }
        $1 == "search" || $1 == "domain" {
            for (i = 2; i <= NF; i++) if ($i != "") print "search", escape($i)
        }' "$dns_file" >"$WORK/tables/dns"
}

element_network_collect() {
    have ip || {
        fail "the guest has no 'ip': its network cannot be seen"
        return 1
    }
    for collect_table in nics links addresses routes dns files; do
        : >>"$WORK/tables/$collect_table"
    done
    links >"$WORK/links"
    while read -r collect_name; do
        collect_link "$collect_name"
        collect_addresses "$collect_name"
    done <"$WORK/links"
    collect_routes ipv4 -4
    collect_routes ipv6 -6
    collect_dns
    network_files >"$WORK/tables/files"
    [ -s "$WORK/tables/nics" ] || warn "no NIC was found"
    did "see $(wc -l <"$WORK/tables/nics" | tr -d ' ') NICs, \
$(wc -l <"$WORK/tables/addresses" | tr -d ' ') addresses, managed by \
$(network_managers "$WORK/tables/files")"
}
