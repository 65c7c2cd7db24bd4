# SPDX-License-Identifier: Apache-2.0
# element: network-check
# task: network
# phase: settle
# order: 10
# needs: log links network-map
# variable: ADDRESS_WAIT=60 -- seconds to wait for addresses and routes
# Addresses, routes and DNS are what they were.

ADDRESS_WAIT=@ADDRESS_WAIT@

# What static settings must have given, by the interfaces' names of now:
# "address NAME ADDRESS/PREFIX", "route FAMILY DESTINATION GATEWAY NAME". What is
# called after a NIC (ens3.100) is now called after its new name, or, where the
# manager has it as a name of its own (netplan), as before over the renamed NIC.
network_expected() {
    links_below >"$WORK/below"
    awk "$AWK"'
        FILENAME == ARGV[1] { now[$2] = $3; next }
        FILENAME == ARGV[2] { below[$1, $2] = 1; next }
        function name(s,  k, after) {
            if (s in now) return now[s]
            for (k in now) if (index(s, k ".") == 1) {
                after = now[k] substr(s, length(k) + 1)
                return (s, now[k]) in below && !((after, now[k]) in below) ? \
                    s : after
            }
            return s
        }
        FILENAME == ARGV[3] {
            if ($6 == "no" && $5 == "global") print "address", name($1), $3 "/" $4
            next
        }
        $8 !~ /^(dhcp|ra|redirect)$/ && $9 == "unicast" {
            print "route", $1, $2, $3, name($4)
        }' "$NETWORK_MAP" "$WORK/below" "$WORK/tables/addresses" \
        "$WORK/tables/routes"
}

network_has() {
    case $1 in
    address)
        ip -o addr show dev "$(text "$2")" 2>/dev/null |
            ADDRESS=$3 awk '
                { sub(/\\.*/, "")
                  for (i = 3; i < NF; i++)
                    if (($i == "inet" || $i == "inet6") &&
                        ($(i + 1) == ENVIRON["ADDRESS"] ||
                         $(i + 1) "/32" == ENVIRON["ADDRESS"] ||
                         $(i + 1) "/128" == ENVIRON["ADDRESS"] ||
                         index(ENVIRON["ADDRESS"], $(i + 1) "/") == 1))
                        found = 1 }
                END { exit !found }'
        ;;
    route)
        case $2 in
        ipv4) has_family=-4 ;;
        *) has_family=-6 ;;
        esac
        { ip -o "$has_family" route show table all 2>/dev/null ||
            ip -o "$has_family" route; } |
            TO=$3 VIA=${4#-} DEV=$(text "$5") awk '
                { gsub(/\\/, " "); to = $1
                  if (to != "default" && to !~ /\//)
                    to = to (to ~ /:/ ? "/128" : "/32")
                  via = dev = ""
                  for (i = 2; i < NF; i++) {
                    if ($i == "via") via = $(i + 1)
                    if ($i == "inet6") via = $(i + 1)
                    if ($i == "dev") dev = $(i + 1)
                  }
                  if (to == ENVIRON["TO"] && via == ENVIRON["VIA"] &&
                      (dev == ENVIRON["DEV"] || ENVIRON["DEV"] == ""))
                    found = 1 }
                END { exit !found }'
        ;;
    esac
}

network_missing() {
    while IFS=$TAB read -r missing_kind missing_a missing_b missing_c missing_d; do
        network_has "$missing_kind" "$missing_a" "$missing_b" "$missing_c" \
            "${missing_d:--}" ||
            printf '%s\t%s\t%s\t%s\t%s\n' "$missing_kind" "$missing_a" \
                "$missing_b" "$missing_c" "$missing_d"
    done <"$1"
}

# Only where nothing is dynamic: what DHCP gives here is the new network's.
check_dns() {
    ! cut -f 6 "$WORK/tables/addresses" | grep -qx yes || return 0
    check_dns_before=$(awk -F "$TAB" '$1 == "server" { print $2 }' \
        "$WORK/tables/dns" | sort)
    [ -n "$check_dns_before" ] || return 0
    check_dns_file=/etc/resolv.conf
    if grep -q '^nameserver 127\.0\.0\.53' "$check_dns_file" 2>/dev/null &&
        [ -f /run/systemd/resolve/resolv.conf ]; then
        check_dns_file=/run/systemd/resolve/resolv.conf
    fi
    check_dns_now=$(awk '$1 == "nameserver" { print $2 }' \
        "$check_dns_file" 2>/dev/null | sort)
    if [ "$check_dns_before" = "$check_dns_now" ]; then
        did "find the DNS servers as before"
    else
        warn "DNS servers: have $(echo "$check_dns_now" | tr '\n' ' ')expect \
$(echo "$check_dns_before" | tr '\n' ' ')"
    fi
}

element_network_check() {
    [ -f "$NETWORK_MAP" ] || {
        warn "there is no map of interfaces: nothing was put back"
        return 0
    }
    network_expected >"$WORK/expected"
    check_count=0
    while :; do
        network_missing "$WORK/expected" >"$WORK/missing"
        [ -s "$WORK/missing" ] || break
        if [ -n "$DRY" ] || [ "$check_count" -ge "$ADDRESS_WAIT" ]; then
            break
        fi
        check_count=$((check_count + 1))
        sleep 1
    done
    while IFS=$TAB read -r check_kind check_a check_b check_c check_d; do
        if [ "$check_kind" = address ]; then
            warn "$(text "$check_a") lacks its address $check_b"
        else
            warn "there is no route to $check_b by $(text "$check_c") on \
$(text "$check_d")"
        fi
    done <"$WORK/missing"
    did "find $(($(wc -l <"$WORK/expected") - $(wc -l <"$WORK/missing"))) of \
$(wc -l <"$WORK/expected" | tr -d ' ') static addresses and routes as before"
    check_dns
}
