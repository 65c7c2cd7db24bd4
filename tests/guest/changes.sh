#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the scripts change can be put back: by --undo, when a step fails, when a
# boot ends half way. In a machine of namespaces whose init is systemd, OpenRC,
# System V or none.
# shellcheck source=tests/lib/lib.bash
. "$(dirname "$0")/../lib/lib.bash"
guest=$tests_dir/guest
DS_GUEST_KIT=${DS_GUEST_KIT:-$DS_TEST_DIR/../guest/kit}
begin changes_guest
need jq unshare ip
"$guest/make_kit" "$DS_GUEST_KIT" || exit $?

mkdir -p mine/linux
# element NAME PHASE COMMAND: one more step, after all others
element() {
    printf '%s\n' "# element: $1" '# task: network' "# phase: $2" \
        '# order: 99' '# It breaks.' '' "element_$1() {" "    $3" '}' \
        >"mine/linux/$1.sh"
}
# scripts FILE: with what lies in mine
scripts() {
    "$DISKSHIFT" guest-script --guest linux --source vmware --target kvm \
        --task network,boot,power-off --elements mine -o grace=0 \
        -o virtual_nics=yes -o same_machine=run -o nic_wait=1 \
        -o address_wait=0 >"$1"
}

# place NAME: a machine, its disk made anew, in $place
machine_make() {
    place=$run/$1
    rm -rf "$place"
    mkdir -p "$place/upper/var/lib"
    ln -s "$(realpath "$DS_GUEST_KIT/kit.ext4")" "$place/kit.ext4"
    cp -r "$guest/fixtures/ifcfg-two-swapped/root/." "$place/upper/"
    cp "$guest/fixtures/ifcfg-two-swapped/nics" "$place/nics"
    printf 'tmpfs /none tmpfs noauto 0 0\n' >"$place/upper/etc/fstab"
    chmod -R u=rwX,go=rX "$place/upper"
    cp first.sh "$place/upper/"
}

# boot COLUMN COMMANDS
boot() {
    "$guest/machine" "$place" "$place/nics" "$1" sh -c "$init
        $2" >"$place/out" 2>&1
}

# What there is below /etc, with contents, modes and links.
tree() {
    (cd "$place/upper/etc" && find . -path './udhcpc*' -prune -o -type f \
        -printf '%p %m\n' -exec sha256sum {} + -o -type l -printf '%p %l\n' |
        sort)
}

same_tree() {
    diff <(cat "$place/$1") <(tree)
}

result() {
    jq -e "$2" "$place/upper/var/lib/diskshift/result-$1-all.json"
}

armed() {
    ls "$place/upper/etc/systemd/system/diskshift-arrive.service" \
        "$place/upper/etc/init.d/diskshift-arrive" \
        "$place/upper/etc/rc.d/init.d/diskshift-arrive" 2>/dev/null |
        grep -q . || grep -qs '# diskshift' "$place/upper/etc/rc.local"
}

not_armed() {
    ! armed
}

lib_file() {
    ls "$place"/upper/var/lib/diskshift/$1
}

init=:
scripts first.sh
machine_make dry
boot 1 "sh /first.sh --undo"
tree >"$place/tree"
boot 1 "sh /first.sh --dry-run"
check "a dry run changes nothing" same_tree tree
check "and says what it would" grep -q 'would: write .*diskshift-arrive' \
    "$place/out"
boot 1 "sh /first.sh --nonsense; echo status \$?"
check "words that it does not know" grep -q 'status 2' "$place/out"

for kind in systemd openrc sysv-numbered local; do
    case $kind in
    systemd) init=: ;;
    openrc) init='rmdir /run/systemd/system; mkdir /run/openrc' ;;
    sysv-numbered) init='rmdir /run/systemd/system; rm -rf /etc/rcS.d
        mkdir -p /etc/rc.d/rc3.d' ;;
    local) init='rmdir /run/systemd/system; rm -rf /etc/rcS.d
        [ -f /etc/rc.local ] || printf "#!/bin/sh\necho mine\n" >/etc/rc.local' ;;
    esac
    machine_make "$kind"
    boot 1 ":"
    tree >"$place/tree"
    boot 1 "sh /first.sh"
    check "$kind: armed" armed
    check "$kind: done" result first '.status == "done"'
    tree >"$place/once"
    boot 1 "sh /first.sh"
    check "$kind: once more changes nothing" same_tree once
    boot 1 "sh /first.sh --undo"
    check "$kind: undone" same_tree tree
    check "$kind: nothing waits" not_armed
done

# What names a disk by where it hangs, and a host by what could be code. The
# disk is a loop device by the name sda1, in a /dev of the machine's own.
disk=$(fs_make ext4 16M)
disk=$(findmnt -no SOURCE "$disk")
uuid=$(blkid -o value -s UUID "$disk")
hostile='a"b'"'"'$(touch pwned)`touch pwned`%sü;\n'
domain='ex%s.ü$(touch${IFS}pwned)`pwned`"'
init="mount -t tmpfs -o mode=755 tmpfs /dev
    mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9
    mknod /dev/sda1 b $((0x$(stat -c %t "$disk"))) $((0x$(stat -c %T "$disk")))
    ln -s /proc/self/fd /dev/fd; mkdir -p /dev/disk/by-path
    ln -s ../../sda1 /dev/disk/by-path/pci-0000:00:10.0-part1
    cat /hostname >/proc/sys/kernel/hostname"
machine_make identity
etc=$place/upper/etc
mkdir -p "$etc/default" "$etc/initramfs-tools/conf.d" "$etc/lvm/devices" \
    "$place/upper/boot/grub"
printf '%s' "$hostile" >"$place/upper/hostname"
printf 'search %s\nnameserver 10.0.2.3\n' "$domain" >"$etc/resolv.conf"
printf '%s\n' '# /dev/sda1 stays here' \
    '/dev/sda1  /  ext4  errors=remount-ro  0 1' \
    '/dev/disk/by-path/pci-0000:00:10.0-part1 /data ext4 noauto 0 0' \
    '/dev/sda10 /other ext4 noauto 0 0' >"$etc/fstab"
echo 'swap /dev/sda1 /dev/urandom swap' >"$etc/crypttab"
printf '%s\n' 'GRUB_DISABLE_LINUX_UUID=true' \
    'GRUB_CMDLINE_LINUX="quiet root=/dev/sda1 resume=/dev/sda1"' \
    >"$etc/default/grub"
echo 'linux /vmlinuz root=/dev/sda1 ro resume=/dev/sda10' \
    >"$place/upper/boot/grub/grub.cfg"
echo 'RESUME=/dev/sda1' >"$etc/initramfs-tools/conf.d/resume"
echo 'IDTYPE=sys_serial IDNAME=x DEVNAME=/dev/sda1 PVID=y' \
    >"$etc/lvm/devices/system.devices"
boot 1 ":"
tree >"$place/tree"
cp "$place/upper/boot/grub/grub.cfg" "$place/grub.cfg"
boot 1 "sh /first.sh"
cp "$place/upper/var/lib/diskshift/guest.json" "$run/identity.json"
check "fstab: by UUID, what is not there and comments as they were" \
    diff "$etc/fstab" - <<END
# /dev/sda1 stays here
UUID=$uuid  /  ext4  errors=remount-ro  0 1
UUID=$uuid /data ext4 noauto 0 0
/dev/sda10 /other ext4 noauto 0 0
END
check "what is not there is told" grep -q '/dev/sda10 is named and not there' \
    "$place/upper/var/lib/diskshift/log"
check "crypttab: by UUID" grep -qx "swap UUID=$uuid /dev/urandom swap" \
    "$etc/crypttab"
check "GRUB's words: by UUID" grep -qx \
    "GRUB_CMDLINE_LINUX=\"quiet root=UUID=$uuid resume=UUID=$uuid\"" \
    "$etc/default/grub"
check "and it goes on so" grep -qx 'GRUB_DISABLE_LINUX_UUID=false' \
    "$etc/default/grub"
check "the boot loader's file: by UUID" grep -qx \
    "linux /vmlinuz root=UUID=$uuid ro resume=/dev/sda10" \
    "$place/upper/boot/grub/grub.cfg"
check "resume: by UUID" grep -qx "RESUME=UUID=$uuid" \
    "$etc/initramfs-tools/conf.d/resume"
check "LVM's list of devices is away" test ! -e "$etc/lvm/devices/system.devices"
check "a host's name is a value" jq -e --arg name "$hostile" \
    '.guest.hostname == $name' "$run/identity.json"
check "a domain is a value" jq -e --arg name "$domain" '.dns.search == [$name]' \
    "$run/identity.json"
check "nothing of them has run" test -z "$(find "$place/upper" -name 'pwned*')"
boot 1 "sh /first.sh --undo"
check "all of it undone" same_tree tree
check "the boot loader's file too" cmp "$place/grub.cfg" \
    "$place/upper/boot/grub/grub.cfg"

init=:
machine_make second
boot 1 "sh /first.sh"
tree >"$place/tree"
boot 2 "rm -rf /etc/udev
    sh /var/lib/diskshift/second arrive; sh /var/lib/diskshift/second settle"
check "the second has adapted files" grep -q HWADDR \
    "$place/upper/etc/sysconfig/network-scripts/ifcfg-ens224"
check "it is disarmed" not_armed
check "it has called for power off" grep -q poweroff \
    "$place/upper/var/lib/called"
boot 2 "sh /var/lib/diskshift/done/all.sh --undo"
check "its undo brings the files back" \
    diff -r "$guest/fixtures/ifcfg-two-swapped/root/etc/sysconfig" \
    "$place/upper/etc/sysconfig"

element broken prepare 'echo new >/tmp/x; put /etc/fstab </tmp/x; return 1'
scripts first.sh
machine_make prepare-fails
boot 1 ":"
tree >"$place/tree"
boot 1 "sh /first.sh; echo status \$?"
check "a step that fails: told" result first '.status == "failed"'
check "and by the status" grep -q 'status 1' "$place/out"
check "what was changed is put back" same_tree tree
check "and nothing armed" not_armed
rm mine/linux/broken.sh

element broken arrive 'false'
scripts first.sh
machine_make arrive-fails
boot 1 "sh /first.sh"
boot 2 "rm -rf /etc/udev
    sh /var/lib/diskshift/second arrive; sh /var/lib/diskshift/second settle"
check "a step that fails in the target: told" result second \
    '.status == "failed" and .phase == "settle"'
check "its files are put back" \
    diff -r "$guest/fixtures/ifcfg-two-swapped/root/etc/sysconfig" \
    "$place/upper/etc/sysconfig"
check "it is disarmed" not_armed
check "it powers off all the same" grep -q poweroff \
    "$place/upper/var/lib/called"

element broken arrive '[ -f /var/lib/once ] || { : >/var/lib/once; kill -9 $$; }'
scripts first.sh
machine_make killed
boot 1 "sh /first.sh"
boot 2 "rm -rf /etc/udev; sh /var/lib/diskshift/second arrive"
check "a boot that ends half way: files are changed" grep -q HWADDR \
    "$place/upper/etc/sysconfig/network-scripts/ifcfg-ens224"
boot 2 "rm -rf /etc/udev; sh /var/lib/diskshift/second arrive
    sh /var/lib/diskshift/second settle"
check "the next one puts them back and does it again" grep -q \
    'attempt 2' "$place/upper/var/lib/diskshift/log"
check "and is done" result second '.phase == "settle" and .status != "failed"'

element broken arrive 'kill -9 $$'
scripts first.sh
machine_make always-killed
boot 1 "sh /first.sh"
for _ in 1 2; do
    boot 2 "rm -rf /etc/udev; sh /var/lib/diskshift/second arrive"
done
boot 2 "rm -rf /etc/udev; sh /var/lib/diskshift/second arrive
    sh /var/lib/diskshift/second settle"
check "not for ever" result second '.status == "failed" and .phase == "settle"'
check "the files are put back" \
    diff -r "$guest/fixtures/ifcfg-two-swapped/root/etc/sysconfig" \
    "$place/upper/etc/sysconfig"
check "and it powers off" grep -q poweroff "$place/upper/var/lib/called"

finish
