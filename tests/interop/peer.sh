#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# peer.sh
#
# Where another converter errs and says nothing: differencing VHD, ZERO and
# RDONLY extents, truncated images, overlapping grains, a fixed VHD taken for
# raw. Here each is an error or the right answer. What QEMU does with them is
# printed, not judged: it may learn.
source "$(dirname "$0")/../lib/lib.bash"

begin peer
mount=$(fs_make xfs 2G)
cd "$mount" || exit 1
mkdisk dense 8M 1 disk.raw
sync -f .

by_peer() { # FORMAT IMAGE RAW: what the peer makes of it
    local status=0
    rm -f peer.raw
    qemu-img convert -f "$1" -O raw "$2" peer.raw >/dev/null 2>&1 || status=$?
    if ((status != 0)); then
        echo "# QEMU: refuses $2"
    elif cmp -s peer.raw "$3"; then
        echo "# QEMU: reads $2 rightly"
    else
        echo "# QEMU: misreads $2 and says nothing"
    fi
}

refused() { # WHAT IMAGE PATTERN FORMAT
    by_peer "$4" "$2" disk.raw
    rm -f target.raw
    status "$1: refused" 4 "$DISKSHIFT" convert "$2" target.raw
    said "$1: names what is wrong" "$3"
    check "$1: no target" test ! -e target.raw
}

right() { # WHAT IMAGE RAW FORMAT
    by_peer "$4" "$2" "$3"
    rm -f target.raw
    status "$1: converted" 0 "$DISKSHIFT" convert "$2" target.raw
    check "$1: the right bytes" cmp target.raw "$3"
}

# A child without its parent's blocks is not a disk of zeros.
mkdiff vhd $((16 << 20)) 1 parent.vhd parent.raw
cp parent.raw child.raw
mkdiff vhd $((16 << 20)) 2 child.vhd child.raw parent=1:parent.vhd
right 'differencing VHD' child.vhd child.raw vpc
mkdir away && mv parent.vhd away
by_peer vpc child.vhd child.raw
status 'differencing VHD, no parent: refused' '4|5' \
    "$DISKSHIFT" convert --force child.vhd target.raw
mv away/parent.vhd .

# Extents that take up room in the disk and lie nowhere, or are read only.
head -c 1M disk.raw >one.bin
descriptor() { # ACCESS
    printf '%s\n' '# Disk DescriptorFile' version=1 CID=12345678 \
        parentCID=ffffffff 'createType="monolithicFlat"' \
        "$1 2048 FLAT \"one.bin\" 0" "$1 2048 ZERO" "$1 2048 FLAT \"two.bin\" 0"
}
dd if=disk.raw of=two.bin bs=1M skip=1 count=1 status=none
{ cat one.bin && head -c 1M /dev/zero && cat two.bin; } >expect.raw
descriptor RW >zero.vmdk
descriptor RDONLY >rdonly.vmdk
right 'ZERO extents' zero.vmdk expect.raw vmdk
right 'RDONLY extents' rdonly.vmdk expect.raw vmdk

for format in vmdk vpc vhdx qcow2; do
    qemu-img convert -O "$format" disk.raw "short.$format"
    truncate -s 5M "short.$format"
    refused "truncated $format" "short.$format" 'offset|past|truncated|end' \
        "$format"
done

# Two grains, one place: what the guest writes to one it reads in the other.
qemu-img convert -O vmdk disk.raw overlap.vmdk
tables=$("$DISKSHIFT" map --json overlap.vmdk |
    jq '.extents[0].file_offset_bytes / 512')
place=$(grep -obUaP "$(printf '\\x%02x\\x%02x\\x00\\x00\\x%02x\\x%02x\\x00\\x00' \
    $((tables & 255)) $((tables >> 8)) \
    $(((tables + 128) & 255)) $(((tables + 128) >> 8)))" overlap.vmdk |
    cut -d: -f1)
for at in $place; do # both copies of the table
    dd if=overlap.vmdk of=overlap.vmdk bs=1 skip="$at" seek=$((at + 4)) count=4 \
        conv=notrunc status=none
done
check 'overlapping grains: there are some' test -n "$place"
refused 'overlapping grains' overlap.vmdk 'overlap' vmdk

# The footer at its end is all that tells it from raw.
qemu-img convert -O vpc -o subformat=fixed,force_size=on disk.raw fixed.vhd
echo "# QEMU: takes a fixed VHD for $(qemu-img info --output=json fixed.vhd |
    jq -r .format)"
check 'fixed VHD: known by its footer' test \
    "$("$DISKSHIFT" info --json fixed.vhd | jq -r .disk.format)" = vhd
right 'fixed VHD' fixed.vhd disk.raw vpc

# Hyper-V refuses files that are sparse somewhere; Azure wants whole MiB.
mkdisk sparse $((40 * 1024 * 1024 + 512)) 3 sparse.raw
for form in 'vhdx subformat=fixed' 'vhdx subformat=dynamic' \
    'vhd subformat=fixed' 'vhd subformat=dynamic'; do
    read -r format option <<<"$form"
    rm -f "full.$format"
    status "allocate, $form: converted" 0 "$DISKSHIFT" convert --json \
        -O "$format" -o "$option" -o allocate=yes sparse.raw \
        "full.$format"
    check "allocate, $form: verified" "$DISKSHIFT" verify sparse.raw \
        "full.$format"
    check "allocate, $form: no hole" test \
        "$(($(stat -c %b "full.$format") * 512))" -ge \
        "$(stat -c %s "full.$format")"
    check "allocate, $form: the plan has it" test "$("$DISKSHIFT" plan --json \
        -O "$format" -o "$option" -o allocate=yes sparse.raw other |
        jq '.targets[0].operations_by_kind.allocate')" = 1
done
rm -f t.vhd
status 'a fixed VHD of odd size' 0 "$DISKSHIFT" convert -O vhd \
    -o subformat=fixed sparse.raw t.vhd
check 'Azure: told of it' grep -q 'whole number of MiB' "$run/out"
finish
