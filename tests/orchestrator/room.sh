#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Preflight's rules of room and of devices, at their edges: on filesystems with
# just enough room and a block less; and that each rule is in the manual.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin room
mount=$(fs_make xfs 512M) || exit 1
small=$(fs_make ext4 64M) || exit 1
fake_start

free_bytes() { stat -f -c '%a %S' "$1" | awk '{print $1 * $2}'; }
# Fills DIRECTORY until BYTES are free there, or up to a block less.
leave_free() {
    local have want=$2
    rm -f "$1/fill"
    sync -f "$1"
    have=$(free_bytes "$1")
    fallocate -l $((have - want)) "$1/fill" || return 1
    # What the fill's own records took.
    while have=$(free_bytes "$1") && ((have < want)); do
        truncate -s $(($(stat -c %s "$1/fill") - (want - have + 4095) / 4096 * 4096)) \
            "$1/fill"
        sync -f "$1"
    done
    ((have - want < 4096))
}
# The bytes that the last check wants at DIRECTORY.
wanted() {
    sed -n "s|.*target-room: $1: \([0-9]*\) bytes are needed.*|\1|p" "$run/err"
}
checks() {
    fake check web --from "$uri" --to "$uri" --target-name web-moved \
        --directory "$mount/target" --network default=bridge:br0 \
        --guest-timeout 0 "$@"
}

# What is copied is counted, to the block: ext4 shares nothing with XFS.
vm_make web
copies=(--directory "$small" --format raw --accept-warnings)
status "on another filesystem" 0 checks "${copies[@]}"
need=$(wanted "$small")
size=$(stat -c %s "$mount/vm/web.img")
check "its copies are counted: $need bytes" test "$need" -ge $((size / 2)) -a \
    "$need" -le $((size + 1048576))
check "just enough is free" leave_free "$small" "$need"
status "just enough: preflight lets it" 0 checks "${copies[@]}"
check "a block less is" leave_free "$small" $((need - 4096))
status "a block less: refused" 6 checks "${copies[@]}"
said "a block less: by its rule, with the figures" \
    "target-room: $small: $need bytes are needed .* are free"
leave_free "$small" "$need"
status "just enough: it moves" 0 move web "${copies[@]}"
status "and back" 0 fake rollback web
vm_drop web

# Two disks, of which each would fit alone.
vm_make web
cp --reflink=always "$mount/template" "$mount/vm/web-2.img"
sed "s|</disk>|</disk><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$mount/vm/web-2.img'/><target dev='sdb' bus='scsi'/></disk>|" \
    "$run/vm.xml" >"$run/two.xml"
virsh -q "destroy web; undefine web; define $run/two.xml; start web" >/dev/null
leave_free "$small" "$need"
status "two disks on one filesystem are summed up: refused" 6 checks "${copies[@]}"
said "both are counted" "target-room: $small: [0-9]+ bytes are needed"
both=$(wanted "$small")
check "both are counted: $both bytes" test "$both" -gt $((need * 3 / 2))
leave_free "$small" "$both"
status "room for both: preflight lets it" 0 checks "${copies[@]}"
status "room for both: it moves" 0 move web "${copies[@]}"
fake rollback web >/dev/null 2>&1
vm_drop web
rm -f "$small"/*.raw "$small/fill"

# A backup that is copied is counted where it lands.
vm_make web
elsewhere=(--backup-directory "$small/backup" --accept-warnings)
status "a backup elsewhere" 0 checks "${elsewhere[@]}"
need=$(wanted "$small")
check "a backup elsewhere is counted whole: $need bytes" test "$need" -ge "$size"
leave_free "$small" $((need - 4096))
status "a backup elsewhere, a block less: refused" 6 checks "${elsewhere[@]}"
leave_free "$small" "$need"
status "a backup elsewhere, just enough: it moves" 0 move web "${elsewhere[@]}"
fake rollback web >/dev/null 2>&1
vm_drop web
find "$small" -mindepth 1 ! -name lost+found -delete

# Where blocks are shared it is tables and records alone.
vm_make web
status "on the same filesystem" 0 checks
need=$(wanted "$mount/target"); backup=$(wanted "$mount/vm")
need=$((${need:-0} + ${backup:-0}))
check "no copy is counted: $need bytes" test "$need" -gt 0 -a \
    "$need" -lt 2097152
check "it is little more than that" leave_free "$mount" "$need"
status "just enough: preflight lets it" 0 checks
leave_free "$mount" $((need - 4096))
status "a block less: refused" 6 checks
said "a block less: by its rule" "target-room: .* 0 copies"
rm "$mount/fill"
vm_drop web

# Options of the format count: the plan is made with them.
vm_make web
status "a format's options" 0 checks -o cluster_size=4k
vast=$(wanted "$mount/target"); vast=${vast:-$(wanted "$mount/vm")}
check "a format's options change the tables: $vast" test -n "$vast" -a \
    "$vast" != "$need"
status "an option that is none" 6 checks -o cluster_size=3
said "an option that is none: told by preflight" 'disk-convert: sda: .*cluster_size'

# Paths of servers, which the rest of the system has no calls for.
status "a target on a server's path" 6 checks --directory nfs://127.0.0.1/vm \
    --accept-warnings
said "is refused by name" 'server-path: .*nfs://127.0.0.1/vm/.*could not be removed'
status "a backup there" 6 checks --backup-directory nfs://127.0.0.1/vm \
    --accept-warnings
said "is refused by name" 'server-path: backup: .*no backup can be put there'
status "a disk there, to be backed up" 6 checks \
    --path "$mount/vm=nfs://127.0.0.1/vm" --directory "$mount/target" \
    --accept-warnings
said "is refused by name" 'server-path: sda: .*no backup can be made of it'

# Devices: the numbers are those of QEMU's machines.
status "a bus that the target lacks" 6 checks --bus nvme
said "by its rule" 'target-disks: .*NVMe bus, have 1 expect at most 0'
status "IDE where there is none" 6 checks --disk-bus sda=ide --machine pc-q35-7.2
said "by its rule" 'target-disks: .*q35 machine, have 1 expect at most 0'
many=
for letter in b c d e f; do
    cp --reflink=always "$mount/template" "$mount/vm/web-$letter.img"
    many+="<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$mount/vm/web-$letter.img'/><target dev='sd$letter' bus='scsi'/></disk>"
done
sed "s|</disk>|</disk>$many|" "$run/vm.xml" >"$run/many.xml"
virsh -q "destroy web; undefine web; define $run/many.xml; start web" >/dev/null
status "more disks than IDE has places" 6 checks --bus ide
said "by its rule" 'target-disks: web-moved: .*IDE bus, have 6 expect at most 4'
status "which SCSI has" 0 checks
vm_drop web

# Every rule has its line in the manual, and none that is not there does.
rules=$(cat "$tests_dir"/../tools/orchestrator/preflight*.c | tr -s ' \n' ' ' |
    grep -oE 'find\( ?check, "[a-z-]+"|"target-[a-z]+", "' |
    grep -oE '"[a-z-]+"' | tr -d '"' | sort -u)
told=$(sed -n '/^\.Sh RULES/,/^\.Sh FILES/s/^\.It Cm //p' \
    "$tests_dir/../tools/man/diskshift-migrate.1" | tr -s ', ' '\n' | sort -u)
check "the manual has all rules: $(wc -w <<<"$rules")" diff \
    <(echo "$rules") <(echo "$told")
finish
