#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks on a kernel NFS mount: their backup is a clone on the server, in the
# same clone domain, and so is what is put back. The orchestrator's own code,
# on the server's machine, which has mounted its export by NFSv4.2.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/../nfs/server.bash"
in_namespace "$@"

begin backup-nfs
driver=${DS_BACKUP_DRIVER:-$tests_dir/../build/tests/orchestrator/backup_driver}
server_need
disk_make xfs 1G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk dense 8M 51 disk.raw >/dev/null
    # Two files: a descriptor and its extent, whose names must stay.
    "$DISKSHIFT" convert -q -o subformat=monolithicFlat disk.raw web.vmdk
    cp web.vmdk web-flat.vmdk "$run/"
    programs_put "$driver"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async
server_run nfs-mount >"$run/mount.log" ||
    skip_all "the server's machine cannot mount: $(grep . "$run/mount.log" | tail -n 1)"
there() { server_run "cd /mnt && $*" 120; }
driven() { there "/srv/.programs/backup_driver $*"; }

check "it is NFSv4.2" server_run "grep ' /mnt nfs4 .*vers=4.2' /proc/mounts"
check "a backup is made" driven make /mnt/backup/web-1 vmdk /mnt/web.vmdk
check "nothing was copied" bash -c \
    "grep -qx 'copied 0' <<<'$(driven make /mnt/backup/web-2 vmdk /mnt/web.vmdk)'"
check "by CLONE" server_run "grep -E 'CLONE: [1-9]' /proc/self/mountstats"
check "the disk is changed" there \
    "dd if=/dev/zero of=web-flat.vmdk bs=1k seek=64 count=64 conv=notrunc"
check "and put back" driven restore /mnt/backup/web-1
check "the other is removed" driven remove /mnt/backup/web-2
check "of it nothing is left" there "test ! -e backup/web-2 && test -e backup/web-1"

server_run 'rm -r /srv/.programs' >/dev/null
server_end
disk_mount
check "the descriptor is as it was" cmp "$run/web.vmdk" "$disk_at/web.vmdk"
check "the extent is as it was" cmp "$run/web-flat.vmdk" "$disk_at/web-flat.vmdk"
data=$(stat -c %s "$run/web-flat.vmdk")
have=$(fiemap "$disk_at/backup/web-1/0/web-flat.vmdk" -- \
    "$disk_at/web-flat.vmdk" | cut -d' ' -f2)
check "backup and disk lie on the same blocks: $have" test "$have" -ge \
    $((data * 9 / 10))
check "nothing else is there" test -z "$(find "$disk_at" -name '*.partial' -o \
    -name '*.diskshift-*')"
disk_unmount
finish
