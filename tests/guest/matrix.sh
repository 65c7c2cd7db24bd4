#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each fixture's network, brought up by its manager, goes through the first
# script to the second, which runs in a machine with other interface names; the
# manager brings it up again there. What the kernel has then must be what it had,
# by MAC address; and that is what the fixture has on record (ip.json, what
# `ip -json` said: DS_GUEST_RECORD=1 writes it anew).
#
# usage: matrix.sh [quick | devices | FIXTURE...]
#
# Twice where names swap: with udev, by which old names return, and without, so
# that the manager's files are adapted. dash and busybox take turns. VLANs and
# bonds, where this kernel has none, in one that has (guest/kernel).
# shellcheck source=tests/lib/lib.bash
. "$(dirname "$0")/../lib/lib.bash"
guest=$tests_dir/guest
DS_GUEST_KIT=${DS_GUEST_KIT:-$DS_TEST_DIR/../guest/kit}
begin matrix_guest
need jq unshare ip
[[ -n ${DS_IN_KERNEL:-} ]] || "$guest/make_kit" "$DS_GUEST_KIT" || exit $?

"$DISKSHIFT" guest-script --guest linux --source vmware --target kvm \
    --task network,power-off -o grace=0 -o virtual_nics=yes \
    -o same_machine=run -o nic_wait=3 -o address_wait=5 >first.sh || exit 1
shells=(dash "busybox sh")
turn=0

# in_machine COLUMN COMMAND...: in $place, with NICs of this column
in_machine() {
    local column=$1
    shift
    MACHINE_DHCP=$dhcp "$guest/machine" "$place" "$place/nics" "$column" "$@"
}

# What a boot does, and what is seen then. $1: scripts before the manager.
# $2: and after.
boot() {
    cat <<END
set -u
$1
bash /manager $manager >/run/manager.log 2>&1
bash /state >/var/lib/ip.json
$2
END
}

# fixture NAME UDEV
fixture() {
    local name=$1 udev=$2 what=$1 shell=${shells[turn++ % 2]} place
    local manager dhcp words without=
    what="$name, $([[ $udev == yes ]] || echo 'no udev, ')$shell"
    place=$(mktemp -d "$run/machine.XXXXXX")
    mkdir "$place/upper"
    ln -s "$(realpath "$DS_GUEST_KIT/kit.ext4")" "$place/kit.ext4"
    cp -r "$guest/fixtures/$name/root/." "$place/upper/"
    cp "$guest/fixtures/$name/nics" "$place/nics"
    chmod 755 "$place/upper" && chmod -R u=rwX,go=rX "$place/upper"
    chmod -R go= "$place/upper/etc/NetworkManager" 2>/dev/null
    mkdir -p "$place/upper/var/lib"
    read -r manager words <"$guest/fixtures/$name/manager"
    dhcp=no
    [[ $words != dhcp ]] || dhcp=yes
    [[ $udev == yes ]] || without='rm -rf /etc/udev'
    cp first.sh "$guest/manager" "$guest/state" "$place/upper/"

    in_machine 1 bash -c "$(boot "$without" \
        "$shell /first.sh >/var/lib/first 2>/var/lib/first.log
        echo \$? >/var/lib/first.status
        $shell /var/lib/diskshift/second.d/60-all.sh --phase leave \
            >/dev/null 2>&1")" >"$place/source" 2>&1
    if ! state_of "$place" "$place/before.json"; then
        case_fail "$what: source" "$(tail -n 20 "$place/source")"
        return
    fi
    recorded "$name" "$place/ip.json"
    in_machine 2 bash -c "$(boot \
        "$shell /var/lib/diskshift/second arrive >/var/lib/arrive 2>&1" \
        "$shell /var/lib/diskshift/second settle >/var/lib/settle 2>&1")" \
        >"$place/target" 2>&1
    if judge "$place" "$name"; then
        case_ok "$what"
        # shellcheck disable=SC2115
        rm -rf "$place"
    else
        case_fail "$what" "$(cat "$place/why")" \
            "$(tail -n 30 "$place/upper/var/lib/diskshift/log" \
                "$place/source" "$place/target" 2>&1)"
    fi
}

# state_of PLACE FILE: what the machine had, and in ip.json as `ip` said it
state_of() {
    mv "$1/upper/var/lib/ip.json" "$1/ip.json" &&
        jq -S -s -f "$guest/state.jq" "$1/ip.json" >"$2"
}

# recorded NAME FILE: with DS_GUEST_RECORD it becomes the fixture's; from where
# that cannot be written, in_kernel takes it along.
recorded() {
    [[ -n ${DS_GUEST_RECORD:-} ]] || return 0
    if [[ -w $guest/fixtures/$1 ]]; then
        cp "$2" "$guest/fixtures/$1/ip.json"
    else
        sed "s/^/@record $1 /" "$2"
    fi
}

# Why it is not right, line by line, to PLACE/why; empty when it is.
judge() {
    local lib=$1/upper/var/lib
    state_of "$1" "$1/after.json" || : >"$1/after.json"
    {
        [[ -n ${DS_GUEST_RECORD:-} ]] ||
            diff <(jq -S -s -f "$guest/state.jq" "$guest/fixtures/$2/ip.json") \
                "$1/before.json" || echo "the source is not what is on record"
        jq -e '.interfaces | map(.addresses) | flatten | length > 0' \
            "$1/before.json" >/dev/null || echo "the source has no address"
        diff "$1/before.json" "$1/after.json"
        [[ $(cat "$lib/first.status") == 0 ]] || echo "the first script failed"
        jq -e '.schema == 1 and (.nics | length > 0)' \
            "$lib/diskshift/guest.json" || cat "$lib/diskshift/guest.json"
        jq -e '.status == "done" and .phase == "settle"' \
            "$lib/diskshift/result-second-all.json" ||
            cat "$lib/diskshift/result-second-all.json"
        grep -q 'poweroff' "$lib/called" || echo "nothing powered off"
        [[ ! -e $1/upper/pwned && ! -e $1/upper/root/pwned ]] ||
            echo "a value became code"
        [[ -z $(find "$1/upper/etc" -name '*diskshift-arrive*' -type f) ]] ||
            echo "it is still armed"
    } 2>&1 | grep -vx true >"$1/why"
    [[ ! -s $1/why ]]
}

# Also without udev where that makes a difference.
with_and_without() {
    fixture "$1" yes
    case $1 in
    *-swapped | *-bridge | *-vlan | *-bond | netplan-flow | *-many-*)
        fixture "$1" no
        ;;
    esac
}

has_devices() {
    unshare --net sh -c 'ip link add name bond9 type bond &&
        ip link add link bond9 name vlan9 type vlan id 2' 2>/dev/null
}

# Cases of a machine with another kernel become ours.
in_kernel() {
    local status line
    "$guest/kernel" "$DS_TEST_DIR" bash "$guest/matrix.sh" "$@" >cases
    status=$?
    while IFS= read -r line; do
        case $line in
        ok\ *) case_ok "VLANs and bonds: ${line#ok * - }" ;;
        FAILED\ *) case_fail "VLANs and bonds: ${line#FAILED * - }" ;;
        @record\ *)
            line=${line#@record }
            echo "${line#* }" >>"record.${line%% *}"
            ;;
        '# '* | skipped:*) ;;
        *) echo "$line" ;;
        esac
    done <cases
    case $status in
    77) case_skip "VLANs and bonds" "$(tail -n 1 cases)" ;;
    *) check "all of them came to their end" grep -q '^# [0-9]* cases' cases ;;
    esac
    for line in record.*; do
        # With and without udev: the source was the same.
        tail -n 5 "$line" >"$guest/fixtures/${line#record.}/ip.json"
    done
}

cd "$guest/fixtures" || exit 1
case ${1:-} in
quick) # of each manager what is hardest
    set -- ifcfg-two-swapped ifupdown-hostile-names ifupdown-many-addresses \
        netplan-flow networkd-hostile-names networkd-two-swapped \
        nm-two-swapped wicked-two-swapped
    ;;
devices) set -- *-vlan *-bond *-bridge ;;
'') set -- * ;;
esac
cd "$run" || exit 1
elsewhere=()
for name; do
    if [[ $name == *-vlan || $name == *-bond ]] && ! has_devices; then
        elsewhere+=("$name")
    else
        with_and_without "$name"
    fi
done
((${#elsewhere[@]} == 0)) || in_kernel "${elsewhere[@]}"
finish
