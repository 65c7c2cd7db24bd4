#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Another vendor than ONTAP (clone_via.h): a row of three verbs in vendor_via,
# which is not part of diskshift, for arrays that clone whole files and nothing
# else. Here the server's own cp does, so that the blocks are shared for real.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

begin nfs-vendor
server_need
url=$server_url query="$server_query&nfs42=0"
disk_make xfs 1G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk sparse 8M 41 disk.raw
    cp disk.raw "$run/disk.raw"
    qemu-img convert -f raw -O vhdx disk.raw disk.vhdx
    programs_put "$(command -v cp)"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async

cat >"$run/array" <<END
#!/bin/bash
source "$tests_dir/lib/lib.bash"
source "$tests_dir/nfs/server.bash"
server_run "/srv/.programs/cp --reflink=always '/srv/\$1' '/srv/\$2'"
END
printf '#!/bin/sh\nexit 3\n' >"$run/broken"
chmod +x "$run/array" "$run/broken"
convert() { # WHAT EXIT COMMAND SOURCE TARGET FORMAT STRATEGY
    status "$1" "$2" timeout 60 "$DS_HELPERS/vendor_via" "$run/$3" \
        "$url/$4$query" "$url/$5" "$6" "$7"
}
has() { check "$1" grep -qE "$2" "$run/out"; }

convert "a whole file" 0 array disk.raw whole.raw raw auto
has "by one clone" '^clones 1$'
has "the report says by whom" '^note .* shared by vendor'
convert "a graft" 0 array disk.vhdx graft.qcow2 qcow2 auto
has "is chosen, ranges not being had" '^strategy graft$'
has "by one clone" '^clones 1$'
convert "ranges" 0 array disk.vhdx range.qcow2 qcow2 range
has "are copied" '^clones 0$'
has "which the numbers say" '^shared 0$'
convert "a clone that fails" 1 broken disk.vhdx never.qcow2 qcow2 auto
said "in the vendor's words" 'vendor: the clone failed'
check "nothing is left" test -z \
    "$(server_run "ls -A /srv | grep -E 'never|partial|diskshift-'")"

server_run 'rm -r /srv/.programs' >/dev/null
server_end
disk_mount
cd "$disk_at" || exit 1
data=$("$DISKSHIFT" map --json -f raw disk.raw |
    jq '[.extents[] | select(.kind == "data").length_bytes] | add')
check "whole.raw lies on the source's blocks" test \
    "$(fiemap disk.raw -- whole.raw | cut -d' ' -f2)" = "$data"
check "so does graft.qcow2" test \
    "$(fiemap disk.vhdx -- graft.qcow2 | cut -d' ' -f2)" = "$data"
for name in graft.qcow2 range.qcow2 whole.raw; do
    check "$name holds the disk" qemu-img compare -q \
        -f "${name##*.}" -F raw "$name" "$run/disk.raw"
done
cd "$run" || exit 1
disk_unmount
finish
