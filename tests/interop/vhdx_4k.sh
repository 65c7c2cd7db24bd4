#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VHDX with logical sectors of 4096 bytes, which QEMU refuses: judged by 7-Zip,
# whose reader is nobody's relative.
source "$(dirname "$0")/../lib/lib.bash"

begin vhdx_4k
need 7zz
kind=${1:-xfs}
mount=$(fs_make "$kind" 1G)
cd "$mount" || exit 1
mkdisk fragmented 96M 4 a.raw
qemu-img convert -f raw -O qcow2 a.raw a.qcow2
digest=$(sha256sum <a.raw)

# reads TARGET: 7-Zip finds the disk's bytes, and sectors of 4096 bytes.
reads() {
    [[ $(7zz x -so "$1" 2>err | sha256sum) == "$digest" ]] &&
        7zz l "$1" | grep -x 'PhysicalSectorSize: 4096'
}

for subformat in dynamic fixed; do
    for source in a.raw a.qcow2; do
        check "$source to $subformat" "$DISKSHIFT" convert -q \
            -o subformat=$subformat,logical_sector_size=4096 "$source" t.vhdx
        check "$source to $subformat: 7-Zip reads it" reads t.vhdx
        rm -f t.vhdx
    done
done
finish
