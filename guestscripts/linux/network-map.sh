# SPDX-License-Identifier: Apache-2.0
# element: network-map
# task: network
# phase: common
# order: 50
# needs: log links
# Which NIC of the source is which interface now, and how it shall be called.

# The map, in STATE so that later phases see it: mac old now
NETWORK_MAP=$STATE/second.d/network-map

# mapped NAME: what an interface of the source is called now. Where the name
# of a NIC has changed, so have those made of it (ens3.100).
mapped() {
    NAME=$1 awk "$AWK"'
        BEGIN { name = ENVIRON["NAME"]; out = name }
        plain($2) == name { out = plain($3) }
        index(name, plain($2) ".") == 1 && out == name {
            out = plain($3) substr(name, length(plain($2)) + 1)
        }
        END { print out }' "$NETWORK_MAP" 2>/dev/null || printf '%s\n' "$1"
}
