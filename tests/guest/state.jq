# SPDX-License-Identifier: Apache-2.0
# Of what guest/state wrote (jq -s -f state.jq): the network, in which
# interfaces are told by MAC address. Two machines with the same are equal.
add
| .link as $links
| ($links | map({ key: .ifname, value: . }) | from_entries) as $named
| def members($name): $links | map(select(.master == $name) | .ifname);
# A NIC by its permanent address, since in a bond it shows the bond's; what is
# made of others by these.
def identity($name):
    $named[$name] as $link
    | ($link.linkinfo.info_kind // "") as $kind
    | if $kind == "vlan" then
        "vlan \($link.linkinfo.info_data.id) of \(identity($link.link))"
      elif $kind | IN("bond", "bridge", "team") then
        "\($kind) \($name) of \([members($name)[] | identity(.)] | sort
            | join(" and "))"
      else
        $link.linkinfo.info_slave_data.perm_hwaddr // $link.permaddr
        // $link.address
      end;
{ interfaces: (.addr | map(select(.ifname != "lo" and .address != null))
    | map({ key: identity(.ifname), value: {
        mtu: $named[.ifname].mtu,
        mode: $named[.ifname].linkinfo.info_data.mode,
        master: ($named[.ifname].master | if . then identity(.) else null end),
        addresses: [.addr_info[] | select(.scope == "global")
            | "\(.local)/\(.prefixlen)"] | sort } })
    | from_entries),
  routes: [(.route4 + .route6)[]
    | select(.protocol != "kernel" and (.table // "main") != "local"
        and .dev != "lo" and ((.type // "unicast") | IN("unicast",
            "unreachable", "blackhole", "prohibit")))
    | select((.dst | test("^(fe80::|ff00::)")) | not)
    | { to: .dst, via: (.gateway // .via.host), metric,
        by: (if .dev then identity(.dev) else null end),
        table: (.table // "main"),
        type: (.type // "unicast") }] | sort_by(.to, .by, .via),
  dns }
