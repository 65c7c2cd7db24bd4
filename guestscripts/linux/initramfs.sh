# SPDX-License-Identifier: Apache-2.0
# element: initramfs
# task: drivers
# phase: common
# order: 60
# needs: change
# The initramfs of each kernel: what is in it, and how it is built.

# The running kernel and the newest, which the next boot may take.
initramfs_kernels() {
    {
        uname -r
        for kernel_folder in /lib/modules/*; do
            [ ! -f "$kernel_folder/modules.dep" ] ||
                printf '%s\n' "${kernel_folder##*/}"
        done | sort -V | tail -n 1
    } | sort -u | while read -r kernel_version; do
        [ ! -d "/lib/modules/$kernel_version" ] ||
            printf '%s\n' "$kernel_version"
    done
}

# initramfs_file KERNEL. Arch names them by packages, Alpine by flavours.
initramfs_file() {
    initramfs_package=$(cat "/lib/modules/$1/pkgbase" 2>/dev/null)
    for initramfs_try in "/boot/initrd.img-$1" "/boot/initramfs-$1.img" \
        "/boot/initrd-$1" "/boot/initrd-$1.img" \
        "/boot/$(cat /etc/machine-id 2>/dev/null)/$1/initrd" \
        "/boot/initramfs-${initramfs_package:-linux}.img" \
        "/boot/initramfs-${1##*-}"; do
        if [ -f "$initramfs_try" ]; then
            printf '%s\n' "$initramfs_try"
            return 0
        fi
    done
    return 1
}

# How initramfs are built here.
initramfs_builder() {
    for initramfs_try in update-initramfs dracut mkinitcpio mkinitfs mkinitrd; do
        if have "$initramfs_try"; then
            echo "$initramfs_try"
            return 0
        fi
    done
    echo none
}

# What mkinitfs and mkinitrd make: cpio, compressed as they were told.
initramfs_unpack() {
    for unpack_by in gzip xz zstd; do
        if have "$unpack_by" && "$unpack_by" -dc <"$1" 2>/dev/null; then
            return 0
        fi
    done
    cat "$1"
}

initramfs_list() {
    case $(initramfs_builder) in
    update-initramfs) lsinitramfs "$1" ;;
    dracut) lsinitrd "$1" ;;
    mkinitcpio) lsinitcpio "$1" ;;
    *) initramfs_unpack "$1" | cpio -it ;;
    esac 2>/dev/null
}

# initramfs_build KERNEL IMAGE. The image that was there is kept.
initramfs_build() {
    [ -n "$DRY" ] || keep "$2" || {
        fail "$2 cannot be kept, so it is not built anew: is there room in \
$STATE?"
        return 1
    }
    : >"$WORK/initramfs-$1.built"
    case $(initramfs_builder) in
    update-initramfs) run "build $2" update-initramfs -u -k "$1" ;;
    dracut) run "build $2" dracut -f "$2" "$1" ;;
    mkinitcpio) run "build $2" mkinitcpio -k "$1" -g "$2" ;;
    mkinitfs) run "build $2" mkinitfs -o "$2" "$1" ;;
    mkinitrd) run "build $2" mkinitrd ;;
    *) return 1 ;;
    esac || {
        fail "$2 was not built: $(grep -v '^ *$' "$WORK/run" | tail -n 1)"
        return 1
    }
}

# module_path KERNEL MODULE: its file below the kernel's directory, without what
# tells how it is compressed
module_path() {
    awk -F : -v name="$2" '
        BEGIN { gsub(/-/, "_", name) }
        {
            base = $1
            sub(/.*\//, "", base)
            sub(/\.ko.*/, "", base)
            gsub(/-/, "_", base)
            if (base == name) { sub(/\.ko.*/, ".ko", $1); print $1 }
        }' "/lib/modules/$1/modules.dep"
}

# What the builder is told to put in, besides what it was told before. KERNEL
# MODULES...
initramfs_want() {
    want_kernel=$1
    shift
    case $(initramfs_builder) in
    update-initramfs)
        {
            cat /etc/initramfs-tools/modules 2>/dev/null
            printf '%s\n' "$@"
        } | put /etc/initramfs-tools/modules 644
        ;;
    dracut)
        want_file=/etc/dracut.conf.d/90-diskshift.conf
        {
            cat "$want_file" 2>/dev/null
            echo "add_drivers+=\" $* \""
        } | put "$want_file" 644
        ;;
    mkinitcpio)
        # Bash reads it: whatever MODULES was before, array or words.
        {
            cat /etc/mkinitcpio.conf
            echo "MODULES+=($*)"
        } | put /etc/mkinitcpio.conf 644
        ;;
    mkinitfs)
        want_file=/etc/mkinitfs/features.d/diskshift.modules
        {
            cat "$want_file" 2>/dev/null
            for want_module in "$@"; do
                module_path "$want_kernel" "$want_module" | sed 's/$/*/'
            done
        } | put "$want_file" 644
        sed '/diskshift/!s/^features="\(.*\)"/features="\1 diskshift"/' \
            /etc/mkinitfs/mkinitfs.conf | put /etc/mkinitfs/mkinitfs.conf 644
        ;;
    mkinitrd)
        sed "s/^INITRD_MODULES=\"\\(.*\\)\"/INITRD_MODULES=\"\\1 $*\"/" \
            /etc/sysconfig/kernel | put /etc/sysconfig/kernel 644
        ;;
    esac
}

# module_where KERNEL MODULE: built in, a file, or none
module_where() {
    module_pattern="/$(printf '%s' "$2" | sed 's/[-_]/[-_]/g')\\.ko"
    if grep -q "$module_pattern" "/lib/modules/$1/modules.builtin" \
        2>/dev/null; then
        echo built-in
    elif grep -q "${module_pattern}[^/]*:" "/lib/modules/$1/modules.dep" \
        2>/dev/null; then
        echo file
    else
        echo none
    fi
}

# Of MODULES those that the kernel has as files and its initramfs lacks.
# KERNEL IMAGE MODULES...
initramfs_lacks() {
    lacks_kernel=$1
    initramfs_list "$2" >"$WORK/initramfs"
    shift 2
    for lacks_module in "$@"; do
        [ "$(module_where "$lacks_kernel" "$lacks_module")" = file ] ||
            continue
        grep -q "/$(printf '%s' "$lacks_module" |
            sed 's/[-_]/[-_]/g')\\.ko" "$WORK/initramfs" ||
            printf '%s\n' "$lacks_module"
    done
}
