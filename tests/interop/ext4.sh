#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where blocks cannot be shared the same commands copy, and say so.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

begin ext4
mount=$(fs_make ext4 1G)
other=$(fs_make xfs 400M)
cd "$mount" || exit 1
mkdisk sparse 8M 1 a.raw
sync a.raw
cp a.raw "$other/a.raw"
# Holes as ext4 has them, so that both lists of data agree.
allocated=$(fiemap a.raw -- a.raw | cut -d' ' -f4)

refuses() { # SOURCE TARGET_FORMAT TARGET
    local before
    before=$(ls -la --time-style=full-iso "$(dirname "$3")")
    status "--require-clone: $1 -> $3 refused" 6 \
        "$DISKSHIFT" convert --require-clone -O "$2" "$1" "$3"
    said "--require-clone says why" 'cop(y|ied)|share|clone'
    check "nothing written" test "$before" = \
        "$(ls -la --time-style=full-iso "$(dirname "$3")")"
}

copies() { # WHAT REASON SOURCE VARIANT TARGET
    remember "$3"
    convert_case "$1 -> $4" raw "$3" "$4" "$5" "$3" "$allocated" || return
    check "$1 -> $4: all is copied and nothing shared" test \
        "$(report '$t | "\(.shared_bytes) \(.copied_bytes_by_reason.'"$2)\"")" \
        = "0 $allocated"
}

for variant in "${variants[@]}"; do
    format=$(format_of "$variant")
    refuses a.raw "$format" "b.$format"
    copies ext4 no_reflink a.raw "$variant" "b.$format"
    remove_image "b.$format"
done
status "--warn-copy: exit 7" 7 "$DISKSHIFT" convert --warn-copy a.raw w.qcow2
check "which is done" qemu-img compare -q -f raw -F qcow2 a.raw w.qcow2
refuses a.raw qcow2 "$other/c.qcow2"
copies "ext4 to XFS" other_filesystem a.raw qcow2 "$other/c.qcow2"
refuses "$other/a.raw" qcow2 d.qcow2
copies "XFS to ext4" other_filesystem "$other/a.raw" qcow2 d.qcow2
finish
