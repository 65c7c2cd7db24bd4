# SPDX-License-Identifier: Apache-2.0
# element: system-collect
# task: base
# phase: collect
# order: 10
# needs: log arming machine
# The system and the machine that it runs on.
#
#     system    key value
#     mounts    target device uuid type

os_release() {
    for os_file in /etc/os-release /usr/lib/os-release; do
        [ -f "$os_file" ] || continue
        sed -n "s/^$1=//p" "$os_file" | head -n 1 |
            sed -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/"
        return 0
    done
}

collect_mounts() {
    awk '$1 ~ /^\// { print $1, $2, $3 }' /proc/mounts |
        while read -r mount_device mount_target mount_type; do
            mount_uuid=
            mount_device=$(printf '%b' "$mount_device")
            ! have blkid || mount_uuid=$(blkid -o value -s UUID \
                "$mount_device" 2>/dev/null | head -n 1)
            row "$(printf '%b' "$mount_target")" "$mount_device" \
                "$mount_uuid" "$mount_type"
        done
}

element_system_collect() {
    {
        row id "$(os_release ID)"
        row version "$(os_release VERSION_ID)"
        row name "$(os_release PRETTY_NAME)"
        row hostname "$(cat /proc/sys/kernel/hostname)"
        row kernel "$(uname -r)"
        row architecture "$(uname -m)"
        row init "$(init_kind)"
        if [ -d /sys/firmware/efi ]; then
            row firmware efi
        else
            row firmware bios
        fi
        row machine "$(machine_identity)"
    } >"$WORK/tables/system"
    collect_mounts >"$WORK/tables/mounts"
}
