# SPDX-License-Identifier: Apache-2.0
# element: network-adapt
# task: network
# phase: common
# order: 60
# needs: change network-files
# The managers' own files, for NICs whose old names cannot return.
#
# NetworkManager and netplan can be told the MAC address. For the others the
# name is written anew wherever it stands as a word, all names at once, so that
# names which have swapped come out right; files that are named after an
# interface are renamed likewise.

# Words of AWK for programs that begin with them: renamed(LINE), by the table
# of mac, old, now in MAP.
# shellcheck disable=SC2016 # awk's
AWK_RENAMED='
function map_read(file,  line, part) {
    while ((getline line < file) > 0) {
        split(line, part, "\t")
        count++
        mac[count] = plain(part[1])
        old[count] = plain(part[2])
        now[count] = plain(part[3])
    }
    close(file)
}
function name_at(s, i,  k, length_old, after, best) {
    best = 0
    if (i > 1 && substr(s, i - 1, 1) ~ /[A-Za-z0-9_.\/-]/) return 0
    for (k = 1; k <= count; k++) {
        length_old = length(old[k])
        if (substr(s, i, length_old) != old[k]) continue
        after = substr(s, i + length_old, 1)
        if (after != "" && after ~ /[A-Za-z0-9_-]/) continue
        if (!best || length_old > length(old[best])) best = k
    }
    return best
}
function renamed(s,  i, k, out) {
    for (i = 1; i <= length(s); i++) {
        k = name_at(s, i)
        if (k) {
            out = out now[k]
            i += length(old[k]) - 1
        } else out = out substr(s, i, 1)
    }
    return out
}
function known(name,  k) {
    for (k = 1; k <= count; k++) if (old[k] == name) return k
    return 0
}
BEGIN { map_read(ENVIRON["MAP"]); FS = " " }
'

adapt_words() {
    awk "$AWK$AWK_RENAMED"'{ print renamed($0) }' "$1"
}

# A keyfile. An Ethernet connection that names its interface gets the MAC
# address in its place; a VLAN's parent and what is called after it the name.
adapt_keyfile() {
    awk "$AWK$AWK_RENAMED"'
        function end_section() {
            if (section == "ethernet" && want && !has_mac) {
                print "mac-address=" mac[want]
                want = 0
            }
        }
        NR == FNR {
            if ($0 ~ /^\[/) first = $0
            if (first == "[connection]" && $0 ~ /^type=/) type = substr($0, 6)
            if (first ~ /^\[(802-3-)?ethernet\]/ && $0 ~ /^mac-address=/)
                has_mac = 1
            next
        }
        /^\[/ {
            end_section()
            section = $0
            gsub(/[][]/, "", section)
            sub(/^802-3-/, "", section)
        }
        section == "connection" && /^interface-name=/ {
            name = substr($0, 16)
            if (known(name) && (type == "ethernet" || type == "802-3-ethernet")) {
                want = known(name)
                next
            }
            print "interface-name=" renamed(name)
            next
        }
        section == "vlan" && /^(parent|interface-name)=/ {
            at = index($0, "=")
            print substr($0, 1, at) renamed(substr($0, at + 1))
            next
        }
        section == "match" && /^interface-name=/ {
            print "interface-name=" renamed(substr($0, 16))
            next
        }
        { print }
        END {
            end_section()
            if (want && !has_mac) print "\n[ethernet]\nmac-address=" mac[want]
        }' "$1" "$1"
}

# netplan: what stands below ethernets: and has no match: gets one. Its key
# stays, by which bonds and bridges know it.
adapt_netplan() {
    awk "$AWK$AWK_RENAMED"'
        function indent(s) { match(s, /^ */); return RLENGTH }
        function key(s) {
            sub(/^ */, "", s)
            if (s ~ /^"[^"]*" *:/) { sub(/^"/, "", s); sub(/" *:.*/, "", s) }
            else if (s ~ /^\047[^\047]*\047 *:/) {
                sub(/^\047/, "", s); sub(/\047 *:.*/, "", s)
            } else if (s ~ /:( |$)/) sub(/ *:( .*)?$/, "", s)
            else s = ""
            return s
        }
        { line[NR] = $0 }
        END {
            for (n = 1; n <= NR; n++) {
                if (line[n] ~ /^ *(#|$)/) continue
                here = indent(line[n])
                if (inside && here <= outer) inside = 0
                if (!inside) {
                    if (key(line[n]) == "ethernets") {
                        inside = 1; outer = here; level = -1
                    }
                    continue
                }
                if (level < 0) level = here
                if (here == level) {
                    stanza = n
                    k = known(key(line[n]))
                    if (k) wants[stanza] = k
                    if (k && line[n] ~ /[{,] *match *:/) delete wants[stanza]
                    continue
                }
                if (!(stanza in child)) child[stanza] = here
                if (here == child[stanza]) matching = key(line[n]) == "match"
                if (here == child[stanza] && matching) delete wants[stanza]
                if (matching) line[n] = renamed(line[n])
            }
            for (n = 1; n <= NR; n++) {
                if (!(n in wants)) { print line[n]; continue }
                entry = "match: {macaddress: \"" mac[wants[n]] "\"}"
                if (line[n] ~ /: *\{/) {
                    at = match(line[n], /: *\{/) + RLENGTH
                    rest = substr(line[n], at)
                    print substr(line[n], 1, at - 1) entry \
                        (rest ~ /^ *\}/ ? "" : ", ") rest
                    continue
                }
                print line[n]
                printf "%" (n in child ? child[n] : indent(line[n]) + 2) "s%s\n", \
                    "", entry
            }
        }' "$1"
}

# RHEL: also by the MAC address, unless that is there.
adapt_ifcfg() {
    awk "$AWK$AWK_RENAMED"'
        { print renamed($0) }
        /^[ \t]*HWADDR=/ { has = 1 }
        /^[ \t]*DEVICE=/ {
            name = $0
            sub(/^[ \t]*DEVICE=/, "", name)
            gsub(/["\047]/, "", name)
            k = known(name)
        }
        END { if (k && !has) print "HWADDR=" mac[k] }' "$1"
}

# The file of that path by its interface's new name.
adapt_path() {
    PATH_OLD=$1 awk "$AWK$AWK_RENAMED"'BEGIN {
        path = ENVIRON["PATH_OLD"]
        base = path
        sub(/.*\//, "", base)
        folder = substr(path, 1, length(path) - length(base))
        at = index(base, "-")
        print folder substr(base, 1, at) renamed(substr(base, at + 1))
    }'
}

adapt_one() {
    case $1 in
    networkmanager) adapt_keyfile "$2" ;;
    netplan) adapt_netplan "$2" ;;
    ifcfg) adapt_ifcfg "$2" ;;
    *) adapt_words "$2" ;;
    esac
}

# adapt_files TABLE: of mac, old, now. All is read before anything is written.
adapt_files() {
    MAP=$1
    export MAP
    mkdir -p "$WORK/adapted"
    network_files >"$WORK/adapt"
    adapt_number=0
    while IFS=$TAB read -r adapt_manager adapt_file; do
        adapt_number=$((adapt_number + 1))
        adapt_file=$(text "$adapt_file") adapt_new=$adapt_file
        case $adapt_manager in
        ifcfg | wicked) adapt_new=$(adapt_path "$adapt_file") ;;
        esac
        adapt_one "$adapt_manager" "$adapt_file" \
            >"$WORK/adapted/$adapt_number" || {
            fail "cannot adapt $adapt_file"
            return 1
        }
        row "$adapt_number" "$adapt_file" "$adapt_new" >>"$WORK/adapted/list"
    done <"$WORK/adapt"
    [ -f "$WORK/adapted/list" ] || return 0
    while IFS=$TAB read -r adapt_number adapt_file adapt_new; do
        adapt_file=$(text "$adapt_file")
        adapt_mode=$(stat -c %a "$adapt_file" 2>/dev/null || echo 600)
        put "$(text "$adapt_new")" "$adapt_mode" \
            <"$WORK/adapted/$adapt_number" || return 1
    done <"$WORK/adapted/list"
    awk "$AWK"'NR == FNR { is[$3] = 1; next } !($2 in is) { print $2 }' \
        "$WORK/adapted/list" "$WORK/adapted/list" >"$WORK/adapted/gone"
    while read -r adapt_file; do
        drop "$(text "$adapt_file")" || return 1
    done <"$WORK/adapted/gone"
    grep -q "^netplan$TAB" "$WORK/adapt" || return 0
    have netplan || return 0
    run "let netplan read its files" netplan generate || {
        fail "netplan does not take its files: see the log"
        return 1
    }
}
