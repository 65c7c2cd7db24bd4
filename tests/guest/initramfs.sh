#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builders of initramfs other than initramfs-tools, which guest/boot.sh has. Real:
# dracut with a kernel of Debian, and its lsinitrd. Stand-ins, since Debian has
# them not: mkinitcpio, mkinitfs and mkinitrd, which take the words and read the
# files that their manuals name, refuse all else, and build true archives.
# shellcheck source=tests/lib/lib.bash
. "$(dirname "$0")/../lib/lib.bash"
guest=$tests_dir/guest
# shellcheck source=tests/guest/debian.bash
. "$guest/debian.bash"
DS_GUEST_DRACUT=${DS_GUEST_DRACUT:-$DS_TEST_DIR/../guest/dracut}
begin initramfs_guest
need jq unshare mmdebstrap cpio
"$guest/make_debian" "$DS_GUEST_DRACUT" dracut || exit $?
DS_GUEST_DRACUT=$(realpath "$DS_GUEST_DRACUT")
kernel=$(basename "$DS_GUEST_DRACUT"/root/lib/modules/*)
drivers=(virtio_blk virtio_scsi virtio_net)

# script [OPTIONS...]: the first script goes into the guest
script() {
    "$DISKSHIFT" guest-script --guest linux --source vmware --target kvm \
        --task drivers -o grace=0 -o same_machine=run -o virtual_nics=yes \
        "$@" \
        >"$place/upper/first.sh" || die "no script"
}

# machine_make NAME LINES...: a guest whose initramfs those commands have built, in
# a machine of dracut's or without
machine_make() {
    place_make "$1" "$DS_GUEST_DRACUT/root"
    boot "$2"
    [[ -f $place/upper$image ]] || die "no image: $(tail -n 5 "$place/out")"
}

image_sum() {
    sha256sum <"$place/upper$image"
}

# has_drivers LISTING-COMMAND: all of them are in the image
has_drivers() {
    local driver
    boot "$1 $image"
    for driver in "${drivers[@]}"; do
        grep -q "/$driver\.ko" "$place/out" || return 1
    done
}

# has_drivers_cpio: what the image holds, told by nothing of the builder's
has_drivers_cpio() {
    local driver unpack
    for unpack in zcat xzcat zstdcat cat; do
        "$unpack" <"$place/upper$image" 2>/dev/null | cpio -it 2>/dev/null \
            >"$place/cpio" && [[ -s $place/cpio ]] && break
    done
    for driver in "${drivers[@]}"; do
        grep -q "/$driver\.ko" "$place/cpio" || return 1
    done
}

files() {
    (cd "$place/upper/etc" && find . -type f -exec sha256sum {} + |
        sort -k 2)
}

# -- dracut -------------------------------------------------------------------

image=/boot/initrd.img-$kernel
machine_make dracut "printf '%s\n' hostonly=no compress=gzip \
    'omit_dracutmodules+=\" kernel-modules kernel-modules-extra qemu \"' \
    'omit_dracutmodules+=\" qemu-net nvdimm virtiofs \"' \
    >/etc/dracut.conf.d/only.conf
    dracut -f $image $kernel"
check "dracut: the source's image lacks the drivers" not has_drivers lsinitrd
cp -a "$place" "$run/dracut-clean"
script
before=$(image_sum)
files >"$place/before"
boot 'sh /first.sh --dry-run'
check "a dry run builds nothing" test "$(image_sum)" = "$before"
check "and tells" grep -q "would: build $image" "$place/out"
boot "$leave"
check "the first script is done" result first '.status == "done"'
check "it has built" said did "build $image" first
check "and seen" said did "find all drivers in $image now" first
check "lsinitrd lists them" has_drivers lsinitrd
check "and cpio" has_drivers_cpio
again=$(image_sum)
boot "$leave"
check "once more: nothing to build" said did "find all drivers in $image" first
check "and not built" test "$(image_sum)" = "$again"
boot "dracut -f $image $kernel"
check "a later build of the guest's own has them too" has_drivers lsinitrd
boot 'sh /first.sh --undo'
check "undone: the image that was there" test "$(image_sum)" = "$before"
check "and the files" diff "$place/before" <(files)

# reset NAME: the source as it was
reset() {
    place=$run/$1
    cp -a "$run/${2:-dracut}-clean" "$place"
    before=$(image_sum)
    files >"$place/before"
}

# failed_with WHAT WORDS: told as failed, with words; all put back
failed_with() {
    check "$1: told" said failed "$2" first
    check "$1: the result" result first '.status == "failed"'
    check "$1: the image that was there" test "$(image_sum)" = "$before"
    check "$1: and the files" diff "$place/before" <(files)
    check "$1: nothing is armed" test ! -e \
        "$place/upper/var/lib/diskshift/second.d"
}

reset missing
script
boot "rm /lib/modules/$kernel/kernel/drivers/scsi/virtio_scsi.ko*
    sh /first.sh"
failed_with "a module that is listed and not there" "still lacks virtio_scsi"
reset unknown
script -o drivers=no_such_module
boot 'sh /first.sh'
failed_with "a module that is asked for and unknown" \
    "has no module no_such_module"

# /boot of its own, just large enough for what is there.
reset space
script
size=$(($(stat -c %s "$place/upper$image") / 1024 + 64))
boot "cp $image /image; mount -t tmpfs -o size=${size}k boot /boot
    cp /image $image; sh /first.sh; sha256sum <$image; ls /boot"
check "no space: the image that was there is there" grep -qxF "$before" \
    "$place/out"
check "no space: nothing else is" test \
    "$(tail -n 1 "$place/out")" = "${image##*/}"
check "no space: told" said failed "$image was not built" first
check "no space: and the files" diff "$place/before" <(files)
reset keep
script
boot "mkdir -p /var/lib/diskshift
    mount -t tmpfs -o size=512k state /var/lib/diskshift
    sh /first.sh; sha256sum <$image"
check "no room to keep it: told" grep -q 'cannot be kept, so it is not built' \
    "$place/out"
check "no room to keep it: not touched" grep -qxF "$before" "$place/out"
check "no room to keep it: and the files" diff "$place/before" <(files)

# -- stand-ins ----------------------------------------------------------------

# put NAME: standard input is this program, in a guest without dracut
put() {
    mkdir -p "$place/upper/usr/local/bin"
    {
        cat <<'END'
#!/bin/bash
# pack KERNEL IMAGE PROGRAM MODULES...: a true archive
pack() {
    local kernel=$1 image=$2 program=$3 root module
    shift 3
    root=$(mktemp -d)
    for module; do
        module=$(find "/lib/modules/$kernel" -name "${module//[-_]/[-_]}.ko*")
        [ -n "$module" ] || return 1
        cp --parents "$module" "$root"
    done
    touch "$root/init"
    (cd "$root" && find . | cpio --quiet -o -H newc | $program) >"$image"
    rm -r "$root"
}
END
        cat
    } >"$place/upper/usr/local/bin/$1"
    chmod 755 "$place/upper/usr/local/bin/$1"
}

# stand_in NAME: what the real one must do, shown with one that is not
stand_in() {
    [[ -f $place/upper$image ]] || die "no image: $(tail -n 5 "$place/out")"
    before=$(image_sum)
    files >"$place/before"
    script
    boot "$leave"
    check "$1, a stand-in: done" result first '.status == "done"'
    check "$1, a stand-in: all drivers are in the image" has_drivers_cpio
    again=$(image_sum)
    boot "$leave"
    check "$1, a stand-in: once more: nothing to build" test \
        "$(image_sum)" = "$again"
    boot 'sh /first.sh --undo'
    check "$1, a stand-in: undone" test "$(image_sum)" = "$before"
    check "$1, a stand-in: and the files" diff "$place/before" <(files)
}

without='rm -f /usr/bin/dracut /usr/sbin/update-initramfs /boot/initrd*'

# mkinitcpio(8): -k, -g; mkinitcpio.conf(5): MODULES; lsinitcpio(1). Names by
# packages: a second kernel's image must stay as it is.
image=/boot/initramfs-linux-lts.img
place_make mkinitcpio "$DS_GUEST_DRACUT/root"
put mkinitcpio <<'END'
[ "$1 $3" = "-k -g" ] && [ $# = 4 ] || exit 1
. /etc/mkinitcpio.conf
pack "$2" "$4" gzip "${MODULES[@]}"
END
put lsinitcpio <<'END'
[ $# = 1 ] && zcat "$1" | cpio -it --quiet | sed 's,^\./,,'
END
boot "$without; echo linux-lts >/lib/modules/$kernel/pkgbase
    echo 'MODULES=(sd_mod)' >/etc/mkinitcpio.conf
    echo other >/boot/initramfs-linux.img
    mkinitcpio -k $kernel -g $image"
stand_in mkinitcpio
check "mkinitcpio, a stand-in: another kernel's image is as it was" \
    grep -qx other "$place/upper/boot/initramfs-linux.img"

# mkinitfs(1): -o, the kernel's version; mkinitfs.conf and features.d: globs below
# the kernel's directory. Compressed by zstd, as it may be told.
for program in gzip zstd; do
    image=/boot/initramfs-amd64
    place_make "mkinitfs-$program" "$DS_GUEST_DRACUT/root"
    put mkinitfs <<'END'
[ "$1" = -o ] && [ $# = 3 ] || exit 1
. /etc/mkinitfs/mkinitfs.conf
cd "/lib/modules/$3" || exit 1
names=()
for feature in $features; do
    for file in $(cat "/etc/mkinitfs/features.d/$feature.modules"); do
        [ ! -f "$file" ] || names+=("$(basename "${file%.ko*}")")
    done
done
pack "$3" "$2" "$initfscomp" "${names[@]}"
END
    boot "$without; mkdir -p /etc/mkinitfs/features.d
        echo 'kernel/drivers/scsi/sd_mod*' >/etc/mkinitfs/features.d/disk.modules
        printf '%s\n' 'features=\"disk\"' initfscomp=$program \
            >/etc/mkinitfs/mkinitfs.conf
        mkinitfs -o $image $kernel"
    stand_in "mkinitfs, $program"
done

# SUSE's mkinitrd(8) of old: no words, INITRD_MODULES in /etc/sysconfig/kernel.
image=/boot/initrd-$kernel
place_make mkinitrd "$DS_GUEST_DRACUT/root"
put mkinitrd <<'END'
[ $# = 0 ] || exit 1
. /etc/sysconfig/kernel
for kernel in /lib/modules/*; do
    kernel=${kernel##*/}
    pack "$kernel" "/boot/initrd-$kernel" gzip $INITRD_MODULES || exit 1
done
END
boot "$without; mkdir -p /etc/sysconfig
    echo 'INITRD_MODULES=\"sd_mod\"' >/etc/sysconfig/kernel; mkinitrd"
stand_in mkinitrd

finish
