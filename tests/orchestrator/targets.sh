#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whole moves to hosts that call our directories otherwise (--target-path): an
# ESXi host, as govmomi simulates its API, whose datastore is a directory here;
# and Hyper-V, by a stand-in for ssh.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
# Built while there is a network.
if [[ -z ${DS_OWN_LIBVIRT:-} ]]; then
    mkdir -p "$DS_TEST_DIR"
    DS_GOVMOMI=$(realpath "$DS_TEST_DIR/..")/govmomi
    made=0
    out=$("$tests_dir/lib/make_govmomi" "$DS_GOVMOMI" 2>&1) || made=$?
    ((made == 0 || made == 77)) || die "cannot make the simulator: $out"
    ((made == 0)) || DS_GOVMOMI="${out#skipped: }"
    export DS_GOVMOMI
fi
in_fake_namespace "$@"
begin targets
mount=$(fs_make xfs 1G) || exit 1
fake_start

# As before anything began, wherever the target's files were.
source_is_untouched() {
    cmp "$mount/template" "$mount/vm/web.img" &&
        virsh -q dominfo web | grep -q 'State: *running' &&
        virsh -q dominfo web | grep -q 'Autostart: *enable' &&
        test "$(cd "$mount/vm" && echo *)" = web.img
}
same_disk() { # FORMAT FILE
    qemu-img compare -q -f raw -F "$1" "$mount/vm/web.img" "$2"
}

# shown FILTER: true of the migration.
shown() {
    jq -e "$1" <<<"$(fake show web --json)"
}

# -- ESXi ----------------------------------------------------------------------

esx() { virsh -q -c "$esx_uri" "$@" 2>/dev/null; }
esx_state() { [[ $(esx domstate web-moved) == "$1" ]]; }
# The guest's own power-off, when it has booted.
esx_guest() {
    local i
    for ((i = 0; i < 300; i++)); do
        ! esx_state running || { esx destroy web-moved && return 0; }
        sleep 0.1
    done
}
to_esx() {
    move web --to "$esx_uri" --auth-file "$run/auth.conf" --format vmdk \
        -o subformat=vmfs --network default='VM Network' \
        --directory "$home" "$@"
}
nothing_on_esx() {
    source_is_untouched || return 1
    [[ -z $(ls -A "$home") ]] || { ls -A "$home" && return 1; }
    ! esx list --all --name | grep -qx web-moved
}

esx_start() {
    local port
    printf '%s\n' '[credentials-sim]' username=user password=pass \
        '[auth-esx-127.0.0.1]' credentials=sim >"$run/auth.conf"
    chmod 600 "$run/auth.conf"
    export LIBVIRT_AUTH_FILE=$run/auth.conf LIBVIRT_LOG_OUTPUTS=4:file:/dev/null
    # libvirt looks even numbers up, which takes an address that is not lo's.
    ip link add ds0 type bridge
    ip addr add 10.9.8.7/24 dev ds0
    ip link set ds0 up || die "no bridge"
    mkdir "$mount/stores"
    mkfifo "$run/input" "$run/output"
    TMPDIR=$mount/stores "$DS_GOVMOMI/vcsim" <"$run/input" >"$run/output" \
        2>"$run/vcsim.log" &
    exec 8>"$run/input"
    read -r port <"$run/output" || die "vcsim: $(cat "$run/vcsim.log")"
    esx_uri="esx://127.0.0.1:$port/?no_verify=1"
    store=$(echo "$mount"/stores/govcsim-*)
    # The simulator calls a VM as its directory is.
    home=$store/web-moved
    mkdir "$home" "$mount/elsewhere"
}

# What is told before anything is made, or at least before the VM is.
esx_refusals() {
    local map="$store=[LocalDS_0]"
    status "ESXi: a path that it cannot name" 6 to_esx
    said "ESXi: says how to name it" \
        "target-path: .*no file of the target's host is named $home/.*--target-path"
    status "ESXi: a datastore that it lacks" 6 to_esx \
        --target-path "$store=[none]"
    said "ESXi: a datastore that it lacks: it says so" \
        'target-place: .*has no \[none\] web-moved'
    status "ESXi: a directory that the datastore lacks" 6 to_esx --tries 1 \
        --target-path "$home=[LocalDS_0] other" --accept-warnings
    said "ESXi: a directory that it lacks: it says so" \
        "the target's host has no \[LocalDS_0\] other/web-moved-sda.vmdk"
    check "ESXi: a directory that it lacks: nothing is left" nothing_on_esx
    # Ours is not mounted: what is made is not in the datastore.
    status "ESXi: a directory that is not the datastore's" 6 to_esx \
        --directory "$mount/elsewhere" \
        --target-path "$mount/elsewhere=[LocalDS_0] web-moved" --tries 1 \
        --accept-warnings
    said "ESXi: not the datastore's: it is seen before the VM is made" \
        "the target's host has no \[LocalDS_0\] web-moved/web-moved-sda.vmdk, which is $mount/elsewhere/web-moved-sda.vmdk here"
    check "ESXi: not the datastore's: nothing is left" nothing_on_esx
    check "ESXi: not the datastore's: nor there" test -z \
        "$(ls -A "$mount/elsewhere")"
    echo >"$mount/elsewhere/somebody.vmdk"
    status "ESXi: the same, where something stands already" 6 to_esx \
        --directory "$mount/elsewhere" \
        --target-path "$mount/elsewhere=[LocalDS_0] web-moved"
    said "ESXi: preflight sees it" \
        'target-place: .*is not \[LocalDS_0\] web-moved of .*has no somebody.vmdk'
    status "ESXi: disks that it cannot power on" 6 to_esx \
        --target-path "$map" -o subformat=monolithicSparse
    said "ESXi: it says which it can" 'target-format: .*-o subformat=vmfs'
    status "ESXi: a bus and a card that it lacks" 6 to_esx \
        --target-path "$map" --bus virtio --nic virtio
    said "ESXi: the bus" 'target-disks: .*have virtio expect ide, sata, scsi'
    said "ESXi: the card" 'target-nics: .*model, have virtio expect e1000'
    status "ESXi: MAC addresses anew" 6 to_esx --target-path "$map" --macs renew
    said "ESXi: it gives none" 'macs-renew: '
    status "ESXi: a result that it does not show" 6 to_esx \
        --target-path "$map" --check-addresses
    said "ESXi: has to be accepted" 'result-unseen: .*powers off is taken'
    said "ESXi: nor addresses" 'addresses-unseen: '
}

esx_moves() {
    local guest name='\(/vmfs/volumes/LocalDS_0/web-moved/\)\?web-moved-sda.vmdk'
    esx_guest &
    guest=$!
    status "ESXi: moves" 0 to_esx --target-path "$store=[LocalDS_0]" \
        --deadline 30 --accept-warning result-unseen
    reap "$guest"
    # The simulator has no manager of that.
    said "ESXi: what could not be set at last is told" \
        'warning: web-moved does not start with its host, as the source did'
    check "ESXi: it runs there" esx_state running
    check "ESXi: the source is off" state_is web "shut off"
    check "ESXi: its disk is the guest's" same_disk vmdk \
        "$home/web-moved-sda.vmdk"
    check "ESXi: the verdict" shown '.verdict | test("does not show")'
    check "ESXi: the disk is named as the host does" grep -q \
        "scsi0:0.fileName = \"$name\"" "$home/web-moved.vmx"
    esx dumpxml web-moved >"$run/esx.xml"
    check "ESXi: and the API says so" grep -q \
        "source file='\[LocalDS_0\] web-moved/web-moved-sda.vmdk'" "$run/esx.xml"
    check "ESXi: in its network" grep -q "source bridge='VM Network'" \
        "$run/esx.xml"
    status "ESXi: and back" 0 fake rollback web
    check "ESXi: nothing is left of it" nothing_on_esx
    vm_drop web

    # By the other name of the same place; what is another's stays.
    vm_make web
    esx_guest &
    guest=$!
    status "ESXi: moves to /vmfs/volumes" 0 to_esx --deadline 30 \
        --target-path "$store=/vmfs/volumes/LocalDS_0" --accept-warnings
    reap "$guest"
    check "ESXi: it runs there as well" esx_state running
    echo mine >"$home/notes.txt"
    status "ESXi: and back again" 0 fake rollback web
    check "ESXi: what is another's stays" test "$(ls -A "$home")" = \
        notes.txt
    rm "$home/notes.txt"
    check "ESXi: nothing else does" nothing_on_esx
}

if [[ -x $DS_GOVMOMI/vcsim ]]; then
    esx_start
    vm_make web
    esx_refusals
    esx_moves
    exec 8>&-
    vm_drop web
else
    case_skip ESXi "$DS_GOVMOMI"
fi

# -- Hyper-V -------------------------------------------------------------------

mkdir -p "$run/bin" "$run/hyperv"
ln -s "$orchestrator_dir/hyperv-ssh" "$run/bin/ssh"
export PATH=$run/bin:$PATH HYPERV_DIR=$run/hyperv \
    HYPERV_HOST=$orchestrator_dir/hyperv-host HYPERV_ROOT=$mount/target
to_hyperv() {
    move web --to hyperv+ssh://admin@hv1 --format vhdx --network default=LAN \
        --bus scsi --deadline 30 "$@"
}
nothing_on_hyperv() {
    is_untouched web && [[ -z $(ls -A "$HYPERV_DIR/vms") ]]
}
map=$mount/target=C:/vm
vm_make web
status "Hyper-V: a path that it cannot name" 6 to_hyperv
said "Hyper-V: says how to name it" \
    "target-path: .*named $mount/target/.*--target-path"
status "Hyper-V: a drive that it lacks" 6 to_hyperv \
    --target-path "$mount/target=D:/vm"
said "Hyper-V: it says so" "target-place: .*has no D:/vm"
HYPERV_ROOT=$mount/other
mkdir -p "$HYPERV_ROOT"
status "Hyper-V: another place than ours" 6 to_hyperv --accept-warnings \
    --target-path "$map" --tries 1
said "Hyper-V: another place: the disk is not there" \
    "the target's host has no C:/vm/web-moved-sda.vhdx"
check "Hyper-V: another place: nothing is left" nothing_on_hyperv
truncate -s 4096 "$HYPERV_ROOT/web-moved-sda.vhdx"
status "Hyper-V: another file of that name" 6 to_hyperv --accept-warnings \
    --target-path "$map" --tries 1
check "Hyper-V: another file: nothing is left" nothing_on_hyperv
HYPERV_ROOT=$mount/target
touch "$HYPERV_DIR/refuses"
status "Hyper-V: it says no" 6 to_hyperv --target-path "$map" --accept-warnings
said "Hyper-V: it says no: try by try" "try 2 of 3: .*Failed to add device"
check "Hyper-V: it says no: nothing is left" nothing_on_hyperv
rm "$HYPERV_DIR/refuses"
touch "$HYPERV_DIR/boots"
status "Hyper-V: moves" 0 to_hyperv --target-path "$map" \
    --accept-warning result-unseen --macs renew
check "Hyper-V: it has booted twice" test \
    "$(wc -l <"$HYPERV_DIR/started")" = 2
check "Hyper-V: it runs" grep -q Running "$HYPERV_DIR/vms/web-moved"
check "Hyper-V: it gave MAC addresses anew" test -e "$HYPERV_DIR/renewed"
check "Hyper-V: it starts with its host" grep -q true "$HYPERV_DIR/autostart"
check "Hyper-V: the disk is named as the host does" jq -e \
    '.disks[0].path == "C:\\vm\\web-moved-sda.vhdx"' "$HYPERV_DIR/defined.json"
check "Hyper-V: its disk is the guest's" same_disk vhdx \
    "$mount/target/web-moved-sda.vhdx"
status "Hyper-V: and back" 0 fake rollback web
check "Hyper-V: nothing is left of it" nothing_on_hyperv
finish
