# SPDX-License-Identifier: Apache-2.0
# Sourced after lib.bash by scripts that drive the machine with the fake of
# fake.c, over libvirt's test driver in a daemon of the run's own.
#
#   in_fake_namespace "$@"   first call
#   fake_start               libvirtd, one connection that keeps its VMs alive
#   vm_make NAME             with a raw disk in $mount/vm, running
#   nvram_make NAME          it boots by UEFI, with variables in $mount/nvram
#   vm_drop NAME             it and all that was made of it
#   fake ARGUMENT...         diskshift-migrate with the fake, the run's journal
#   told WORD [TEXT]         a file for the fake

DS_STEPS=${DS_STEPS:-$tests_dir/../build/tests/orchestrator/orchestrator_steps}
DS_MIGRATE_FAKE=${DS_MIGRATE_FAKE:-$tests_dir/../build/tests/orchestrator/diskshift-migrate-fake}

in_fake_namespace() {
    ((EUID == 0)) || die "needs root"
    [[ -z ${DS_OWN_LIBVIRT:-} ]] || return 0
    unshare -n -m true 2>/dev/null || skip_all "no namespaces here"
    DS_MIGRATE_FAKE=$(realpath "$DS_MIGRATE_FAKE")
    DS_STEPS=$(realpath "$DS_STEPS")
    export DS_MIGRATE_FAKE DS_STEPS
    DS_OWN_LIBVIRT=1 exec unshare -n -m bash "$0" "$@"
}

fake_start() {
    local tries

    need virsh libvirtd
    libvirt_directories
    libvirtd_start test:///default
    uri="fake+test+unix:///default?socket=/run/libvirt/libvirt-sock"
    export LIBVIRT_DEFAULT_URI=${uri#fake+} DS_FAKE=$run/fake
    mkdir -p "$DS_FAKE"
    # In memory: its flushes are for power cuts, which are not tested here.
    journal=/run/libvirt/journal
    # The test driver forgets its VMs with its last connection.
    spawn virsh event --event lifecycle --loop >/dev/null 2>&1
    disown "$spawned"
    for ((tries = 0; tries < 100; tries++)); do
        virsh -q dominfo test >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    die "the test driver does not answer"
}

vm_xml() {
    cat <<END
<domain type='test'>
  <name>$1</name>
  <memory unit='MiB'>64</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='$mount/vm/$1.img'/>
      <target dev='sda' bus='scsi'/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:$(printf '%02x:%02x' $((RANDOM % 256)) $((RANDOM % 256))):01'/>
      <source network='default'/><model type='e1000'/>
    </interface>
  </devices>
</domain>
END
}

vm_make() {
    mkdir -p "$mount/vm" "$mount/target"
    [[ -e $mount/template ]] || {
        mkdisk "$mount/template" >/dev/null 2>&1 ||
            head -c 4M /dev/urandom >"$mount/template"
    }
    cp --reflink=always "$mount/template" "$mount/vm/$1.img"
    vm_xml "$1" >"$run/vm.xml"
    virsh -q "define $run/vm.xml; autostart $1; start $1" >/dev/null ||
        die "cannot make $1"
}

nvram_make() {
    mkdir -p "$mount/nvram"
    cp --reflink=always "$mount/template" "$mount/nvram/$1.fd"
    told "nvram-$1" "$mount/nvram/$1.fd"
}

vm_drop() {
    local name commands= server
    for server in "$mount"/target/*.nbd.pid; do
        kill "$(cat "$server")"
    done
    for name in "$1" "$1-moved"; do
        commands+="destroy $name; undefine $name; "
    done
    virsh -q "$commands" >/dev/null 2>&1
    rm -rf "$mount/vm" "$mount/nvram" "$mount/target" "$DS_FAKE" "$journal"
    mkdir -p "$mount/vm" "$mount/target" "$DS_FAKE"
}

told() {
    printf '%s' "${2:-1}" >"$DS_FAKE/$1"
}

fake() {
    "$DS_MIGRATE_FAKE" "$@" --journal "$journal"
}

# The options of a whole move; $1 is the VM. $script: the guest's, a person's
# own; empty: the one that is generated.
script=$orchestrator_dir/script.sh
move() {
    local name=$1
    shift
    fake run "$name" --from "$uri" --to "$uri" --target-name "$name-moved" \
        --directory "$mount/target" --network default=bridge:br0 \
        ${script:+--script "$script"} --retry-after 0 \
        --guest-timeout 0 --power-off-timeout 1 --deadline 2 "$@"
}

state_is() {
    [[ $(virsh -q domstate "$1" 2>/dev/null) == "$2" ]]
}

journal_state() {
    fake show "$1" --json | jq -r .state
}

# As it was before anything began: byte by byte, defined, running, alone.
is_untouched() {
    local have
    cmp "$mount/template" "$mount/vm/$1.img" || return 1
    [[ ! -d $mount/nvram ]] ||
        cmp "$mount/template" "$mount/nvram/$1.fd" || return 1
    have=$(virsh -q "dominfo $1; list --all --name")
    grep -q 'State: *running' <<<"$have" ||
        { echo "$1 does not run" && return 1; }
    grep -q 'Autostart: *enable' <<<"$have" ||
        { echo "autostart of $1 is off" && return 1; }
    ! grep -qx "$1-moved" <<<"$have" ||
        { echo "$1-moved is defined" && return 1; }
    [[ ! -e $DS_FAKE/snapshot-$1 ]] || { echo "a snapshot" && return 1; }
    have=$(cd "$mount" && find vm target ./nvram ! -type d 2>/dev/null |
        grep -vx -e "vm/$1.img" -e "./nvram/$1.fd")
    [[ -z $have ]] || { echo "left: $have" && return 1; }
}

# The target has the disk that the guest left, and its UEFI variables; the
# source is off.
is_moved() {
    local have disk
    have=$(virsh -q "dominfo $1; domstate $1-moved" 2>&1)
    grep -q 'State: *shut off' <<<"$have" ||
        { echo "$1 is not off" && return 1; }
    [[ ${have##*$'\n'} == running || $have == *$'\nrunning'* ]] ||
        { echo "$1-moved does not run" && return 1; }
    ! grep -q 'Autostart: *enable' <<<"$have" ||
        { echo "autostart of $1 is on" && return 1; }
    disk=$(echo "$mount/target/$1-moved-sda".{q*2,v*x})
    qemu-img compare -q -U -f raw -F "${disk##*.}" "$mount/vm/$1.img" "$disk" ||
        { echo "disks differ" && return 1; }
    [[ ! -d $mount/nvram ]] ||
        cmp "$mount/nvram/$1.fd" "$mount/target/$1-moved".*.nvram || return 1
    ! cmp -s "$mount/template" "$mount/vm/$1.img" ||
        { echo "the script has not run" && return 1; }
}
