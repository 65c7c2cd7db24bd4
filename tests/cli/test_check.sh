#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check: corruption and leaks, with offsets, counts and statuses.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4
for format in vmdk vpc vhdx qcow2; do
    qemu-img convert -q -f raw -O $format a.raw "a.$format"
done
mv a.vpc a.vhd

for image in a.raw a.vmdk a.vhd a.vhdx a.qcow2; do
    run "$image is clean: 0" 0 check --json $image
    silent err
    json ".files == [\"$image\"] and .problems == []"
    json '.check | .corruption_count == 0 and .leak_count == 0'
done
json '.check | .data_bytes + .zero_bytes + .hole_bytes + .encoded_bytes ==
    4194304 and .data_bytes == 458752'
run "in text" 0 check a.qcow2
said 'corruptions: *0' out
check "no head over no problems" test "$(grep -c message out)" = 0

# big_endian FILE OFFSET BYTES
big_endian() {
    echo $((16#$(od -An -v -tx1 -j "$2" -N "$3" "$1" | tr -d ' \n')))
}

# poke FILE OFFSET BYTE...: as printf writes them.
poke() {
    printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# From the format's specification: the L1 table's offset is at 40, the
# refcount table's at 48; pointers are the low 56 bits without the low 9.
l1=$(big_endian a.qcow2 40 8)
l2=$(($(big_endian a.qcow2 $((l1 + 1)) 7) & ~511))
refcounts=$(big_endian a.qcow2 "$(big_endian a.qcow2 48 8)" 8)
clusters=$(($(stat -c %s a.qcow2) / 65536))

echo "- two guest clusters over one"
cp a.qcow2 twice.qcow2
dd if=a.qcow2 of=twice.qcow2 bs=1 skip=$((l2 + 8)) seek=$((l2 + 16)) count=8 \
    conv=notrunc status=none
run "corruption: 4" 4 check --json twice.qcow2
silent err
json '.check.corruption_count > 0 and (.problems | length) > 0 and
    (.problems | any(.kind == "corruption" and .file_index == 0 and
    (.message | startswith("qcow2") or contains("overlap"))))'
run "in text" 4 check twice.qcow2
said '^corruption' out
said '^kind  *file  *offset  *message' out

echo "- a cluster far out, and nothing in between"
cp a.qcow2 far.qcow2
poke far.qcow2 $((l2 + 8)) '\x80\x00\x01\x00\x00\x00\x00\x00' # 1 TiB
truncate -s 2T far.qcow2
run "corruption: 4" 4 check --json far.qcow2
json '.check.corruption_count == 1 and .check.leak_count == 1 and
    (.problems | any(.message |
        contains("refcount of cluster 16777216, have 0 expect 1")))'
qemu-img create -q -f qcow2 -o cluster_size=512 small.qcow2 1M
truncate -s 2T small.qcow2
check "2 TiB of clusters of 512 bytes: as quick as what it holds" \
    bash -c 'ulimit -t 2 && "$0" check small.qcow2' "$DISKSHIFT"

echo "- the same in a parent"
qemu-img create -q -f qcow2 -b twice.qcow2 -F qcow2 top.qcow2
run "corruption: 4" 4 check --json top.qcow2
json '.files == ["top.qcow2", "twice.qcow2"] and
    (.problems | any(.kind == "corruption") and all(.file_index == 1))'

echo "- a pointer out of the file"
cp a.qcow2 outside.qcow2
poke outside.qcow2 $((l2 + 8)) '\0200\0\0\0177\0377\0\0\0'
run "corruption: 4" 4 check --json outside.qcow2
json '.check.corruption_count > 0 and
    (.problems | any(.kind == "corruption" and .offset_bytes != null))'

echo "- a cluster that is counted and not used"
cp a.qcow2 leak.qcow2
truncate -s $(((clusters + 1) * 65536)) leak.qcow2
poke leak.qcow2 $((refcounts + 2 * clusters)) '\0\001'
qemu-img check -q leak.qcow2
check "qemu-img calls it a leak" test $? = 3
run "a leak: 1" 1 check --json leak.qcow2
silent err
json '.check | .leak_count == 1 and .corruption_count == 0'
json '.problems | length == 1 and .[0].kind == "leak"'
run "in text" 1 check leak.qcow2
said '^leak ' out

echo "- a block that is counted and not used"
qemu-img convert -q -f raw -O vdi a.raw a.vdi
run "a.vdi is clean: 0" 0 check --json a.vdi
cp a.vdi leak.vdi
# u32BlocksAllocated, at 388, little-endian; blocks are of 1 MiB.
count=$(od -An -tu1 -j 388 -N 1 a.vdi | tr -d ' ')
poke leak.vdi 388 "\\0$(printf %03o $((count + 1)))"
truncate -s +1M leak.vdi
run "a leak: 1" 1 check --json leak.vdi
json '.check | .leak_count == 1 and .corruption_count == 0'
json '.problems[0] | .kind == "leak" and (.message | startswith("vdi"))'

head -c 100000 a.qcow2 >short.qcow2
run "truncated: 4" 4 check --json short.qcow2
run "no such file: 5" 5 check none.qcow2
prefixed
"$DISKSHIFT" check --json a.qcow2 >/dev/full 2>err
check "standard output full: 5" test $? = 5
prefixed
"$DISKSHIFT" check --json twice.qcow2 >/dev/full 2>err
check "corrupt and standard output full: 4" test $? = 4
prefixed
finish
