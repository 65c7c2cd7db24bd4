#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A kernel NFS mount is a local path: the program runs on the server's own
# machine, which has mounted its export by NFSv4.2. Blocks are shared by CLONE,
# no address proves it there, and the server's disk shows it afterwards.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

begin nfs-mount
server_need
disk_make xfs 1G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk sparse 8M 51 disk.raw
    cp disk.raw "$run/disk.raw"
    qemu-img convert -f raw -O vmdk disk.raw disk.vmdk
    programs_put "$DISKSHIFT"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async
server_run nfs-mount >"$run/mount.log" ||
    skip_all "the server's machine cannot mount: $(grep . "$run/mount.log" | tail -n 1)"

# On that machine; what it prints is in $run/out.
there() { # WHAT EXIT ARGUMENT...
    local what=$1 exit=$2
    shift 2
    server_run "cd /mnt && /srv/.programs/diskshift $* 2>/tmp/err
        echo \"exit \$?\"" 120 >"$run/all"
    sed '/^exit /,$d' "$run/all" >"$run/out"
    check "$what: exit status $exit" grep -qx "exit $exit" "$run/all"
}
field() { jq -r "$1" "$run/out"; }
t='.targets[0]'

check "it is NFSv4.2" server_run "grep ' /mnt nfs4 .*vers=4.2' /proc/mounts"
there "convert" 0 convert --json disk.vmdk a.vhdx
data=$(field "$t.shared_bytes")
check "shared" test "$data" -gt 1000000
check "nothing copied" test "$(field "$t.copied_bytes")" = 0
check "read to be verified" test "$(field "$t.verify.hashed_bytes")" -ge "$data"
check "and why" test "$(field "$t.verify.not_proven")" = \
    "the filesystem does not tell where the bytes lie"
check "nothing trusted" test "$(field "$t.verify.trusted_bytes")" = 0
there "convert and trust" 0 convert --json --verify=metadata disk.vmdk b.qcow2
check "trusted" test "$(field "$t.verify.trusted_bytes")" -ge "$data"
check "nothing read" test "$(field "$t.verify.hashed_bytes")" = 0
check "nothing proven" test "$(field "$t.verify.proven_bytes")" = 0
there "and in text" 0 convert --verify=metadata disk.vmdk c.raw
check "it says so" grep -q 'not read, as told shared' "$run/out"
check "by CLONE" server_run \
    "grep -E 'CLONE: [1-9]' /proc/self/mountstats"
there "storage, measured" 0 storage --json --probe .
check "ranges" test "$(field '.storage.range_clone')" = true
check "whole files" test "$(field '.storage.file_clone')" = true
check "of this many bytes" test "$(field '.storage.granularity_bytes')" = 4096
check "copied by the server" test "$(field '.storage.server_copy')" = true
check "without addresses" test "$(field '.storage.physical_extents')" = false

# The same place without a mount.
url=$server_url query=$server_query
status "nfs://: convert and trust" 0 "$DISKSHIFT" convert --json \
    --require-clone --verify=metadata "$url/disk.vmdk$query" "$url/d.vhdx"
check "trusted" test "$(field "$t.verify.trusted_bytes")" -ge "$data"
check "nothing read" test "$(field "$t.verify.hashed_bytes")" = 0
status "nfs://: a graft, and trust" 0 "$DISKSHIFT" convert --json \
    --strategy graft --verify=metadata "$url/d.vhdx$query" "$url/e.qcow2"
check "trusted" test "$(field "$t.verify.trusted_bytes")" -ge "$data"
check "nothing read" test "$(field "$t.verify.hashed_bytes")" = 0
status "nfs://: storage, measured" 0 "$DISKSHIFT" storage --json --probe \
    "$url$query"
check "ranges" test "$(field '.storage.range_clone')" = true
check "copied by the server" test "$(field '.storage.server_copy')" = true
check "without addresses" test "$(field '.storage.physical_extents')" = false
status "nfs://: storage of a file's place" 0 "$DISKSHIFT" storage --json \
    "$url/disk.vmdk$query"
check "not measured" test "$(field '.storage.measured')" = false
status "nfs://: storage by NFSv3 alone" 0 "$DISKSHIFT" storage --json --probe \
    "$url/disk.vmdk$query&nfs42=0"
check "shares nothing" test "$(field '.storage.range_clone')" = false
check "copies nothing" test "$(field '.storage.server_copy')" = false
check "nothing is left there" server_run "! ls -A /srv | grep -E 'probe|nfs0'"

server_run 'rm -r /srv/.programs' >/dev/null
server_end
disk_mount
for name in a.vhdx b.qcow2 c.raw d.vhdx e.qcow2; do
    have=$(fiemap "$disk_at/disk.vmdk" -- "$disk_at/$name" | cut -d' ' -f2)
    check "$name lies on the source's blocks: $have" test "$have" -ge "$data"
    check "QEMU reads $name" qemu-img compare -q -F raw "$disk_at/$name" \
        "$run/disk.raw"
done
check "nothing is left over" test \
    -z "$(find "$disk_at" -name '*.partial' -o -name '.diskshift*')"
disk_unmount
finish
