# SPDX-License-Identifier: Apache-2.0
# element: network-names
# task: network
# phase: arrive
# order: 20
# needs: change links network-map network-adapt
# variable: NIC_WAIT=60 -- seconds to wait for all NICs to be there
# variable: RENAME=auto -- auto: NICs get their old names back where that lasts; no: the managers' files are adapted to the new ones
# NICs get their old names back, by MAC address.
#
#     wait      until every MAC address of the source is there
#     decide    which names can return, and stay
#     rename    now, over names in between, since names may have swapped
#     keep      for later boots: .link files and udev rules, by MAC address
#     adapt     the managers' files to those that cannot return
#
# A name cannot return for good when nothing would rename at the next boot (no
# udev); when it is the kernel's own (eth0) and there are several NICs, for then
# udev finds it taken by another one; when another NIC has it; or when the rules
# cannot hold its characters.

NIC_WAIT=@NIC_WAIT@
RENAME=@RENAME@

UDEV_RULES=/etc/udev/rules.d/70-diskshift-net.rules
LINK_FOLDER=/etc/systemd/network

wait_for_nics() {
    wait_count=0
    while :; do
        nics_now >"$WORK/nics-now"
        wait_missing=$(awk -F "$TAB" '
            NR == FNR { have[$1] = 1; next }
            !($1 in have) { print $1 " (" $2 ")" }' \
            "$WORK/nics-now" "$WORK/tables/nics")
        [ -n "$wait_missing" ] || return 0
        [ "$wait_count" -lt "$NIC_WAIT" ] || break
        [ -z "$DRY" ] || break
        wait_count=$((wait_count + 1))
        sleep 1
    done
    printf '%s\n' "$wait_missing" | while read -r wait_mac; do
        warn "no NIC here has the MAC address $wait_mac"
    done
}

has_udev() {
    [ -d /etc/udev ] && { [ -d /run/udev ] || have udevadm; }
}

# The reason why a name cannot return; nothing where it can. OLD NOW
why_not() {
    case $1 in
    *[!A-Za-z0-9._-]* | -*)
        echo "its characters"
        return
        ;;
    esac
    if [ "$RENAME" = no ]; then
        echo "as asked"
    elif ! has_udev; then
        echo "there is no udev"
    elif awk -F "$TAB" -v old="$1" '
        NR == FNR { known[$1] = 1; next }
        $2 == old && !($1 in known) { found = 1 }
        END { exit !found }' "$WORK/tables/nics" "$WORK/nics-now"; then
        echo "another NIC has it"
    else
        case $1 in
        eth[0-9]*)
            [ "$(wc -l <"$WORK/nics-now")" -le 1 ] ||
                echo "it is the kernel's own, and there are several NICs"
            ;;
        esac
    fi
}

# Table: mac old now returns
decide() {
    awk "$AWK"'
        NR == FNR { now[$1] = $2; next }
        $1 in now { print $1, $2, now[$1] }' \
        "$WORK/nics-now" "$WORK/tables/nics" |
        while IFS=$TAB read -r decide_mac decide_old decide_now; do
            decide_old=$(text "$decide_old") decide_now=$(text "$decide_now")
            decide_why=
            if [ "$decide_old" = "$decide_now" ]; then
                decide_how=same
            else
                decide_why=$(why_not "$decide_old")
                decide_how=${decide_why:+adapt}
                decide_how=${decide_how:-return}
            fi
            [ -z "$decide_why" ] ||
                did "leave $decide_now its name: $decide_old cannot return, \
$decide_why"
            row "$decide_mac" "$decide_old" "$decide_now" "$decide_how"
        done
}

# rename NOW NEW. The kernel refuses a name that any interface has as its
# second one, also this one.
rename_link() {
    links | while read -r rename_other; do
        ip link property del dev "$rename_other" altname "$2" 2>/dev/null
    done
    ip link set dev "$1" down && ip link set dev "$1" name "$2"
}

rename_all() {
    grep "${TAB}return\$" "$WORK/decided" >"$WORK/renames" || return 0
    rename_number=0
    while IFS=$TAB read -r rename_mac rename_old rename_now _; do
        rename_number=$((rename_number + 1))
        did "call $(text "$rename_now") ($rename_mac) $(text "$rename_old") \
again"
        [ -n "$DRY" ] ||
            rename_link "$(text "$rename_now")" "dsnic$rename_number" || {
            fail "cannot rename $(text "$rename_now")"
            return 1
        }
    done <"$WORK/renames"
    [ -z "$DRY" ] || return 0
    rename_number=0
    while IFS=$TAB read -r rename_mac rename_old rename_now _; do
        rename_number=$((rename_number + 1))
        rename_link "dsnic$rename_number" "$(text "$rename_old")" || {
            fail "cannot call dsnic$rename_number $(text "$rename_old")"
            return 1
        }
    done <"$WORK/renames"
}

# For the next boots. ID_PATH and DRIVERS: only what has hardware behind it,
# for a VLAN or a bridge has its NIC's address. Names were looked at above.
keep_names() {
    : >"$WORK/rules"
    while IFS=$TAB read -r keep_mac keep_old _ keep_how; do
        [ "$keep_how" = return ] || continue
        printf '%s, %s, %s, %s, NAME="%s"\n' \
            'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*"' \
            "ATTR{address}==\"$keep_mac\"" 'ATTR{type}=="1"' \
            'ATTR{dev_id}=="0x0"' "$keep_old" >>"$WORK/rules"
        printf '%s\n' '[Match]' "MACAddress=$keep_mac" 'Path=*' '' '[Link]' \
            "Name=$keep_old" 'NamePolicy=' |
            put "$LINK_FOLDER/10-diskshift-$(printf %s "$keep_mac" |
                tr -d :).link" 644 || return 1
    done <"$WORK/decided"
    [ ! -s "$WORK/rules" ] || {
        {
            echo "# NICs keep the names that they had before the move."
            cat "$WORK/rules"
        } | put "$UDEV_RULES" 644
    }
}

# Interfaces in between names, after a failure: the names that they had, again
# in two steps.
rename_back() {
    [ -z "$DRY" ] || return 0
    nics_now >"$WORK/nics-back"
    awk "$AWK"'
        NR == FNR { is[$1] = $2; next }
        $1 in is && is[$1] != $3 { print is[$1], $3 }' \
        "$WORK/nics-back" "$WORK/decided" >"$WORK/back"
    rename_number=0
    while IFS=$TAB read -r rename_is rename_now; do
        rename_number=$((rename_number + 1))
        rename_link "$(text "$rename_is")" "dsback$rename_number"
    done <"$WORK/back"
    rename_number=0
    while IFS=$TAB read -r rename_is rename_now; do
        rename_number=$((rename_number + 1))
        rename_link "dsback$rename_number" "$(text "$rename_now")"
    done <"$WORK/back"
}

element_network_names() {
    wait_for_nics
    decide >"$WORK/decided"
    if ! rename_all || ! keep_names; then
        rename_back
        return 1
    fi
    [ -n "$DRY" ] || ! have udevadm || udevadm control --reload 2>/dev/null
    awk "$AWK"'{ print $1, $2, $4 == "adapt" ? $3 : $2 }' \
        "$WORK/decided" >"$WORK/map"
    [ -n "$DRY" ] || cp "$WORK/map" "$NETWORK_MAP"
    awk "$AWK"'$2 != $3' "$WORK/map" >"$WORK/changed"
    [ ! -s "$WORK/changed" ] || adapt_files "$WORK/changed"
}
