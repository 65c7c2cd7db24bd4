# SPDX-License-Identifier: Apache-2.0
# element: boot-identity
# task: boot
# phase: prepare
# order: 50
# needs: change
# What names a disk by where it hangs names it by identity.
#
# fstab, crypttab, the boot loader's files and resume= are looked through for
# names that another controller gives otherwise: /dev/sda1, by-path, by-id.
# Each becomes UUID= of what is on it, or else PARTUUID= of its partition.

# Names in the files that will not last, each once.
boot_names() {
    for boot_file in "$@"; do
        [ ! -f "$boot_file" ] || cat "$boot_file"
    done | grep -v '^[[:space:]]*#' | tr '[:space:]="'\''(),' '\n' |
        sed 's|^\(/dev/[^/:]*\):.*|\1|' |
        grep -xE '/dev/(sd[a-z]+|hd[a-z]|vd[a-z]+|xvd[a-z]+|nvme[0-9]+n[0-9]+p?|mmcblk[0-9]+p?)[0-9]*|/dev/disk/by-(id|path)/.*' |
        sort -u
}

# boot_identity DEVICE
boot_identity() {
    for boot_tag in UUID PARTUUID; do
        boot_value=$(blkid -o value -s "$boot_tag" "$1" 2>/dev/null |
            head -n 1)
        if [ -n "$boot_value" ]; then
            printf '%s=%s\n' "$boot_tag" "$boot_value"
            return 0
        fi
    done
    return 1
}

# Table: name identity
boot_table() {
    boot_names "$@" | while read -r boot_name; do
        if [ ! -b "$boot_name" ]; then
            warn "$boot_name is named and not there: left as it is"
        elif boot_found=$(boot_identity "$boot_name"); then
            row "$boot_name" "$boot_found"
        else
            warn "$boot_name has neither UUID nor PARTUUID: left as it is"
        fi
    done
}

# boot_rewrite FILE WHAT: the names as whole words. WHAT: a field's number, or
# `words` for root=, resume= and their like anywhere.
boot_rewrite() {
    WHAT=$2 TABLE=$WORK/identities awk '
        BEGIN {
            while ((getline line < ENVIRON["TABLE"]) > 0) {
                split(line, part, "\t")
                to[part[1]] = part[2]
            }
            what = ENVIRON["WHAT"]
        }
        function field(  i, at, rest, start) {
            rest = $0
            for (i = 1; match(rest, /[^ \t]+/); i++) {
                start += RSTART - 1
                if (i == what) {
                    at = substr(rest, RSTART, RLENGTH)
                    if (at in to)
                        $0 = substr($0, 1, start) to[at] \
                            substr($0, start + RLENGTH + 1)
                    return
                }
                start += RLENGTH
                rest = substr(rest, RSTART + RLENGTH)
            }
        }
        function words(  name, at, before, after, out, rest) {
            for (name in to) {
                rest = $0; out = ""
                while ((at = index(rest, name)) > 0) {
                    before = at == 1 ? "" : substr(rest, at - 1, 1)
                    after = substr(rest, at + length(name), 1)
                    if (before == "=" && after ~ /^[ \t"\047:,]?$/)
                        out = out substr(rest, 1, at - 1) to[name]
                    else
                        out = out substr(rest, 1, at + length(name) - 1)
                    rest = substr(rest, at + length(name))
                }
                $0 = out rest
            }
        }
        /^[ \t]*#/ { print; next }
        what == "words" { words(); print; next }
        { field(); print }' "$1"
}

# boot_change FILE WHAT
boot_change() {
    [ -f "$1" ] || return 0
    boot_rewrite "$1" "$2" >"$WORK/boot"
    ! cmp -s "$WORK/boot" "$1" || return 0
    put "$1" <"$WORK/boot" || return 1
    case $1 in
    /etc/crypttab | */resume | /etc/fstab) : >"$WORK/initramfs-stale" ;;
    esac
}

# GRUB would write the names of devices again at its next update.
boot_grub_default() {
    [ -f /etc/default/grub ] || return 0
    sed 's/^\(GRUB_DISABLE_LINUX_UUID=\).*/\1false/' /etc/default/grub |
        put /etc/default/grub 644
}

element_boot_identity() {
    have blkid || {
        warn "there is no blkid: names of disks cannot be looked up"
        return 0
    }
    set -- /etc/default/grub /etc/kernel/cmdline /etc/lilo.conf \
        /boot/grub/grub.cfg /boot/grub2/grub.cfg /boot/grub/grub.conf \
        /boot/grub/menu.lst /boot/loader/entries/*.conf \
        /boot/extlinux/extlinux.conf /boot/extlinux.conf \
        /boot/syslinux/syslinux.cfg /boot/efi/EFI/*/grub.cfg \
        /etc/initramfs-tools/conf.d/resume
    boot_table /etc/fstab /etc/crypttab "$@" >"$WORK/identities"
    boot_change /etc/fstab 1 || return 1
    boot_change /etc/crypttab 2 || return 1
    for boot_path in "$@"; do
        boot_change "$boot_path" words || return 1
    done
    boot_grub_default
}
