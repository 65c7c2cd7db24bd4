#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real Debian guest moves: i440fx, IDE disk, e1000 with a static address on
# ens3, fstab by /dev/sda1, an initramfs without virtio, to q35, virtio disk,
# virtio NICs. QEMU's agent brings the first script in; what follows the guest
# does by itself. Emulated, since nothing here may need KVM.
#
# usage: boot.sh [INIT [BUILDER]], as of guest/make_guest. Others than the standard
# have PVSCSI and vmxnet3, lose open-vm-tools and get QEMU's agent at the first
# boot, from a repository behind HTTP.
# shellcheck source=tests/lib/lib.bash
. "$(dirname "$0")/../lib/lib.bash"
guest=$tests_dir/guest
init=${1:-systemd} builder=${2:-initramfs-tools}
kind=$init-$builder
source=(pc-i440fx-7.2 pvscsi vmxnet3)
folder=debian-$kind
if [[ $kind == systemd-initramfs-tools ]]; then
    source=(pc-i440fx-7.2 ide-hd e1000)
    folder=debian
fi
begin boot_guest
need jq qemu-system-x86_64 socat busybox
DS_GUEST=${DS_GUEST:-$DS_TEST_DIR/../guest/$folder}
"$guest/make_guest" "$DS_GUEST" "$init" "$builder" || exit $?
list=lsinitramfs
[[ $builder != dracut ]] || list=lsinitrd
boot_seconds_max=${DS_BOOT_SECONDS:-420}

# start NAME MACHINE DISK NIC: QEMU in the background, in $spawned
start() {
    local name=$1 machine=$2 disk=$3 nic=$4
    local -a adapter=()
    if [[ $disk == pvscsi ]]; then
        adapter=(-device "pvscsi,id=s")
        disk=scsi-hd,bus=s.0
    fi
    rm -f "$run/agent"
    spawn qemu-system-x86_64 -name "$name" -machine "$machine" -m 512 \
        -display none -nodefaults -no-reboot \
        -serial "file:$run/$name.console" \
        -drive "file=$run/disk.qcow2,if=none,id=d,cache=unsafe" \
        "${adapter[@]}" -device "$disk,drive=d" \
        -netdev "user,id=n1$forward" \
        -device "$nic,netdev=n1,mac=52:54:00:aa:bb:01,addr=3" \
        -netdev user,id=n2,net=192.168.77.0/24 \
        -device "$nic,netdev=n2,mac=52:54:00:aa:bb:02,addr=4" \
        -object rng-random,filename=/dev/urandom,id=r \
        -device virtio-rng-pci,rng=r \
        -device virtio-serial-pci \
        -chardev "socket,path=$run/agent,server=on,wait=off,id=a" \
        -device virtserialport,chardev=a,name=org.qemu.guest_agent.0 \
        -chardev "file,path=$run/$name.report,id=p" \
        -device virtserialport,chardev=p,name=org.diskshift.report.0
    vm=$spawned
    connect
}

# connect: to the agent's socket. It stays so, for QEMU takes the end of what it
# reads for the end of what it may write.
connect() {
    disconnect
    until [[ -S $run/agent ]]; do
        sleep 0.1
    done
    coproc AGENT { exec socat - "UNIX-CONNECT:$run/agent"; }
    # Of its own number: subshells do not get a coprocess's.
    exec {agent_out}<&"${AGENT[0]}" {agent_in}>&"${AGENT[1]}"
    agent_pid=$AGENT_PID
}

agent_pid=
disconnect() {
    [[ -n $agent_pid ]] || return 0
    exec {agent_out}<&- {agent_in}>&-
    reap "$agent_pid"
    agent_pid=
}

# agent JSON: its answer on standard output; fails when there is none in time
agent() {
    local answer=
    printf '%s\n' "$1" >&"${agent_in}" || return 1
    read -r -t "${2:-60}" -u "${agent_out}" answer
    [[ -n $answer ]] && jq -ce .return <<<"$answer"
}

# in_guest COMMAND...: standard input and output are the guest's
in_guest() {
    local pid status=
    pid=$(agent "$(jq -nc --arg path "$1" --rawfile input /dev/stdin \
        '{execute: "guest-exec", arguments: {path: $path, arg: $ARGS.positional,
            "input-data": ($input | @base64), "capture-output": true}}' \
        --args -- "${@:2}")" | jq .pid) || return 125
    for _ in $(seq 900); do
        status=$(agent "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}") ||
            return 125
        [[ $(jq .exited <<<"$status") != true ]] || break
        sleep 0.3
    done
    jq -r '."out-data" // ""' <<<"$status" | base64 -d
    jq -r '."err-data" // ""' <<<"$status" | base64 -d >&2
    return "$(jq '.exitcode // 126' <<<"$status")"
}

wait_agent() {
    local end=$((SECONDS + boot_seconds_max))
    # One answer comes for all that were asked before it was there.
    until agent '{"execute":"guest-sync","arguments":{"id":1}}' 5 >/dev/null 2>&1; do
        ((SECONDS < end)) && kill -0 "$vm" 2>/dev/null || return 1
    done
    while read -r -t 1 -u "$agent_out" _; do :; done
}

wait_off() {
    local end=$((SECONDS + boot_seconds_max))
    while kill -0 "$vm" 2>/dev/null; do
        ((SECONDS < end)) || return 1
        sleep 0.5
    done
}

wait_network() {
    for _ in $(seq 60); do
        in_guest /bin/sh -c 'ip -4 route' </dev/null | grep -q ^172 && return 0
        sleep 1
    done
    return 1
}

# What must be as before, by MAC address; and what is mounted.
facts() {
    in_guest /bin/sh -s <<'END'
for path in /sys/class/net/*; do
    name=${path##*/}
    [ "$name" = lo ] || echo "$(cat "$path/address") $name" \
        "$(ip -o -4 addr show dev "$name" | awk '{print $4}')"
done
ip -4 route | grep -v 'proto kernel' | sed 's/ *$//' | sort
cat /etc/resolv.conf
findmnt -no TARGET,FSTYPE / /data
cat /data/proof
END
}

check_equal() {
    if diff "$run/before" "$run/after" >"$run/diff"; then
        case_ok "$1"
    else
        case_fail "$1" "$(cat "$run/diff")"
    fi
}

began=$SECONDS
lap() {
    echo "# $((SECONDS - began)) s: $1"
}
qemu-img create -q -f qcow2 -F raw -b "$(realpath "$DS_GUEST/guest.raw")" \
    disk.qcow2 || exit 1
forward=
tasks=network,drivers,boot,power-off
if [[ $folder != debian ]]; then
    tasks+=,tools-remove,tools-install
    "$guest/make_debian" "$DS_TEST_DIR/../guest/tools" tools || exit $?
    # Started by QEMU for each connection.
    forward=",guestfwd=tcp:10.0.2.100:80-cmd:$(command -v busybox) httpd -i \
-h $(realpath "$DS_TEST_DIR/../guest/tools/repo")"
fi
"$DISKSHIFT" guest-script --guest linux --source vmware --target kvm \
    --task "$tasks" --job guest-test -o grace=2 >first.sh || exit 1

start source "${source[@]}"
check "the source boots" wait_agent
lap "agent"
check "its network is up" wait_network
facts >before
lap "network"
check "it has the static address on ens3" \
    grep -qx '52:54:00:aa:bb:01 ens3 10.0.2.50/24' before
check "its initramfs lacks virtio" in_guest /bin/sh -c \
    "! for image in /boot/initrd*; do $list \$image; done | grep -q virtio_blk" \
    </dev/null
in_guest /bin/sh -c 'cat >/root/first.sh' <first.sh
[[ $folder != debian ]] || check "a dry run changes nothing" in_guest /bin/sh -c \
    'sh /root/first.sh --dry-run >/root/dry 2>&1 && test ! -e /var/lib/diskshift/second && grep -q /dev/sda1 /etc/fstab' </dev/null
lap "dry run"
if in_guest /bin/sh /root/first.sh </dev/null >answer 2>log; then
    case_ok "the first script"
else
    case_fail "the first script" "$(tail -n 30 log answer)"
fi
lap "first script"
check "it says that it is done" test "$(sed -n 's/^diskshift-result //p' answer |
    jq -r .status)" = "done"
check "it built the initramfs and saw the driver there" \
    grep -q 'find all drivers in /boot/initrd.img-.* now' log
check "the source powers off by itself" wait_off
lap "source off"

start target pc-q35-7.2 virtio-blk-pci virtio-net-pci
check "the target powers off by itself" wait_off
lap "target off"
grep '^diskshift-result ' target.report | tail -n 1 |
    sed 's/^diskshift-result //' >result.json
check "its result is there, all done" jq -e \
    '.phase == "settle" and .status == "done" and .job == "guest-test"' \
    result.json

start target2 pc-q35-7.2 virtio-blk-pci virtio-net-pci
check "it boots again, and stays" wait_agent
lap "agent"
check "its network is up again" wait_network
facts >after
check_equal "addresses, routes, DNS, names and mounts are as before"
check "fstab is by identity" in_guest /bin/sh -c \
    '! grep -q /dev/sd /etc/fstab && test "$(grep -c ^UUID= /etc/fstab)" = 2' </dev/null
check "nothing is armed" in_guest /bin/sh -c \
    'test ! -e /var/lib/diskshift/second &&
    test -z "$(find /etc -name "*diskshift-arrive*" -o -name "*diskshift-settle*")"' \
    </dev/null
if [[ $folder != debian ]]; then
    check "open-vm-tools is gone" in_guest /bin/sh -c \
        '! dpkg -l open-vm-tools | grep ^ii' </dev/null
    check "QEMU's agent is installed" in_guest /bin/sh -c \
        'dpkg -l qemu-guest-agent | grep ^ii' </dev/null
    check "and it is what answers here" in_guest /bin/sh -c \
        'pidof /usr/sbin/qemu-ga && ! pidof /usr/local/sbin/agent' </dev/null
    check "the record tells both" jq -e '[.steps[].messages[].text] |
        any(contains("remove open-vm-tools")) and
        any(contains("install qemu-guest-agent"))' result.json
fi
agent '{"execute":"guest-shutdown"}' >/dev/null 2>&1 &
check "it is shut down" wait_off
lap "done"
((failures == 0)) || {
    echo "--- result"; cat result.json
    tail -n 40 source.console target.console target2.console
    diff before after
    cat log answer
}
finish
