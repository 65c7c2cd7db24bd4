# SPDX-License-Identifier: Apache-2.0
# Sourced after lib/lib.bash by scripts that need a real libvirt with real
# guests. They begin again in namespaces of their own (in_libvirt_namespace):
# network, and mounts, in which libvirt's directories are the run's.
#
#   in_libvirt_namespace "$@"   first call
#   libvirt_start               libvirtd, as qemu:///system
#   guest_make DIR NAME [uefi]  a VMware-like guest with a VMDK in DIR, defined
#   migrate ARGUMENT...         diskshift-migrate with the run's journal
#   guest_run NAME COMMAND      by its agent; its output

orchestrator_dir=$tests_dir/orchestrator
DS_MIGRATE=${DS_MIGRATE:-$tests_dir/../build/tools/orchestrator/diskshift-migrate}

skip_all() {
    echo "skipped: $1"
    exit 77
}

in_libvirt_namespace() {
    local out status=0

    ((EUID == 0)) || die "needs root"
    [[ -z ${DS_OWN_LIBVIRT:-} ]] || return 0
    mkdir -p "$DS_TEST_DIR"
    DS_GUEST_KIT=$(realpath "$DS_TEST_DIR/..")/orchestrator-guest
    out=$("$orchestrator_dir/make_guest" "$DS_GUEST_KIT" 2>&1) || status=$?
    ((status != 77)) || skip_all "${out#skipped: }"
    ((status == 0)) || die "cannot make the guest: $out"
    unshare -n -m true 2>/dev/null || skip_all "no namespaces here"
    DS_MIGRATE=$(realpath "$DS_MIGRATE")
    export DS_GUEST_KIT DS_MIGRATE
    DS_OWN_LIBVIRT=1 exec unshare -n -m bash "$0" "$@"
}

# Libvirt's directories, the account that it wants, a QEMU that carries the
# run's mark: bound over the system's, here alone.
libvirt_directories() {
    local name place

    for name in /etc/libvirt /var/lib/libvirt /var/cache/libvirt \
        /var/log/libvirt; do
        place=$run/libvirt$name
        mkdir -p "$place" "$name" && mount --bind "$place" "$name" ||
            die "cannot bind $name"
    done
    mkdir -p "$run/libvirt/etc" /run/libvirt
    mount -t tmpfs run /run/libvirt
    cp /etc/passwd /etc/group "$run/libvirt/etc/"
    grep -q '^libvirt-qemu:' /etc/passwd || {
        echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' \
            >>"$run/libvirt/etc/passwd"
        echo 'libvirt-qemu:x:64055:' >>"$run/libvirt/etc/group"
    }
    mount --bind "$run/libvirt/etc/passwd" /etc/passwd
    mount --bind "$run/libvirt/etc/group" /etc/group
    cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
END
    cat >/etc/libvirt/libvirtd.conf <<END
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
END
}

libvirt_qemu() {
    echo "$run" >/run/libvirt/ds-run
    # QEMU finds its modules and firmware from where it lies.
    mkdir /run/libvirt/usr
    mount --bind /usr /run/libvirt/usr
    mount --bind "$DS_GUEST_KIT/qemu" /usr/bin/qemu-system-x86_64
    # What QEMU can is asked once for a build directory: it takes 10 s.
    [[ ! -d $DS_GUEST_KIT/cache ]] || cp -a "$DS_GUEST_KIT/cache/." /var/cache/libvirt/
}

# libvirtd_start URI: until it answers there.
libvirtd_start() {
    local tries

    ip link set lo up
    spawn libvirtd --pid-file /run/libvirt/libvirtd.pid </dev/null \
        >"$run/libvirtd.out" 2>&1
    libvirtd=$spawned
    disown "$libvirtd"
    for ((tries = 0; tries < 600; tries++)); do
        virsh -q -c "$1" uri >/dev/null 2>&1 &&
            [[ -S /run/libvirt/libvirt-sock ]] && return 0
        kill -0 "$libvirtd" 2>/dev/null ||
            die "libvirtd ended: $(cat "$run/libvirtd.out")"
        sleep 0.1
    done
    die "libvirtd does not answer"
}

libvirt_start() {
    need virsh libvirtd qemu-system-x86_64 ip
    libvirt_directories
    libvirt_qemu
    libvirtd_start qemu:///system
    export LIBVIRT_DEFAULT_URI=qemu:///system
    [[ -d $DS_GUEST_KIT/cache ]] || {
        virsh -q capabilities >/dev/null
        cp -a /var/cache/libvirt "$DS_GUEST_KIT/cache.$$" &&
            mv -T "$DS_GUEST_KIT/cache.$$" "$DS_GUEST_KIT/cache" 2>/dev/null ||
            rm -rf "$DS_GUEST_KIT/cache.$$"
    }
}

# Two bridges, which stand for two networks; this side has addresses on them.
bridges_make() {
    local name
    for name in "$@"; do
        ip link add "$name" type bridge && ip link set "$name" up ||
            die "cannot make a bridge"
    done
}

guest_xml() {
    cat <<END
<domain type='qemu'>
  <name>$2</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='vmdk'/><source file='$1/$2.vmdk'/>
      <target dev='sda' bus='scsi'/>
    </disk>
    <controller type='scsi' index='0' model='vmpvscsi'/>
    <interface type='bridge'>
      <mac address='52:54:00:aa:bb:01'/><source bridge='old0'/>
      <model type='vmxnet3'/><rom enabled='no'/>
      <address type='pci' slot='0x10'/>
    </interface>
    <interface type='bridge'>
      <mac address='52:54:00:aa:bb:02'/><source bridge='old1'/>
      <model type='vmxnet3'/><rom enabled='no'/>
      <address type='pci' slot='0x11'/>
    </interface>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <serial type='file'><source path='$run/$2.console'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
END
}

guest_make() {
    mkdir -p "$1"
    qemu-img convert -f raw -O vmdk "$DS_GUEST_KIT/guest${3:+-$3}.raw" \
        "$1/$2.vmdk"
    guest_xml "$1" "$2" | sed -e "s/<os>/<os${3:+ firmware='efi'}>/" \
        ${3:+-e "s/dev='sda' bus='scsi'/dev='hda' bus='ide'/"} >"$run/$2.xml"
    virsh -q define "$run/$2.xml" || die "cannot define $2"
}

migrate() {
    "$DS_MIGRATE" "$@" --journal "$run/journal"
}

agent_ready() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        virsh -q qemu-agent-command "$1" '{"execute":"guest-ping"}' --timeout 2 \
            >/dev/null 2>&1 && return 0
        [[ $(virsh -q domstate "$1" 2>&1) == running ]] || return 1
        sleep 0.2
    done
    return 1
}

guest_run() {
    local pid answer
    pid=$(virsh -q qemu-agent-command "$1" "$(jq -nc --arg c "$2" \
        '{execute:"guest-exec",arguments:{path:"/bin/sh",arg:["-c",$c],"capture-output":true}}')" |
        jq .return.pid) || return 1
    while :; do
        answer=$(virsh -q qemu-agent-command "$1" \
            "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}") ||
            return 1
        [[ $(jq .return.exited <<<"$answer") == false ]] || break
        sleep 0.1
    done
    jq -r '.return."out-data" // ""' <<<"$answer" | base64 -d
    return "$(jq '.return.exitcode // 99' <<<"$answer")"
}

is_state() {
    [[ $(virsh -q domstate "$1" 2>&1) == "$2" ]]
}
