#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A chain is one disk: its layers, the depth of each range, its points.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img qemu-io
setup
raw_image a.raw 4
size=$((4 * 1024 * 1024))
qemu-img convert -q -f raw -O vmdk a.raw base.vmdk
qemu-img create -q -f vmdk -b base.vmdk -F vmdk middle.vmdk
qemu-io -f vmdk -c 'write -q -P 7 1M 64k' middle.vmdk
qemu-img create -q -f vmdk -b middle.vmdk -F vmdk top.vmdk
qemu-io -f vmdk -c 'write -q -P 8 3M 64k' top.vmdk
qemu-img convert -q -f vmdk -O raw top.vmdk flat.raw
cp top.vmdk kept
sha256sum ./*.vmdk >digests

run "info counts the parents" 0 info --json top.vmdk
silent err
json '.parent_count == 2 and (has("chain") | not) and
    (.facts | has("subformat"))'
run "info of a disk without parents" 0 info a.raw
silent err
check "does not speak of any" test "$(grep -c parents out)" = 0

run "info --chain" 0 info --chain --json top.vmdk
silent err
json '[.chain[].path] == ["top.vmdk", "middle.vmdk", "base.vmdk"]'
json '[.chain[].depth] == [0, 1, 2]'
json ".chain | all(.format == \"vmdk\" and .size_bytes == $size and
    .facts.subformat == \"monolithicSparse\")"
json '[.chain[].facts.cid] | unique | length == 3'
json '.files == ["top.vmdk", "middle.vmdk", "base.vmdk"]'
run "the same in text" 0 info --chain top.vmdk
check "three layers" test "$(grep -c '^layer:' out)" = 3
said 'path: *middle.vmdk' out

run "map" 0 map --json top.vmdk
json '[.extents[] | select(.kind == "data") | .depth] | unique == [0, 1, 2]'
json '[.extents[] | select(.kind == "data")] | all(.depth == .file_index)'
json '[.extents[] | select(.kind == "hole")] | all(.depth == null)'
json '[.extents[] | select(.guest_offset_bytes == 1048576)][0].depth == 1'
json '[.extents[] | select(.guest_offset_bytes == 3145728)][0].depth == 0'
json ".extents | all(.encoding == null and .stored_bytes == null)"

run "snapshot-points" 0 snapshot-points --json top.vmdk
silent err
json '[.points[].source] == ["-f vmdk top.vmdk", "-f vmdk middle.vmdk",
    "-f vmdk base.vmdk"]'
json '.points | all(.kind == "layer" and .id == null and .name == null and
    .created == null)'
for depth in 0 1 2; do
    words=$("$DISKSHIFT" snapshot-points --json top.vmdk |
        jq -r ".points[$depth].source")
    qemu-img convert -q -O raw "${words##* }" want.raw
    # shellcheck disable=SC2086 # the words are words
    run "convert of point $depth" 0 convert -q --force $words point.raw
    check "is that state" cmp point.raw want.raw
done

run "the chain flattened" 0 convert --json top.vmdk flat.qcow2
json '.targets[0].verify.identical'
run "compare with the other reader's" 0 compare flat.raw flat.qcow2
run "it has no parents" 0 info --json flat.qcow2
json '.parent_count == 0'
run "check looks at each layer" 0 check --json top.vmdk
json '.files == ["top.vmdk", "middle.vmdk", "base.vmdk"] and
    .problems == [] and .check.corruption_count == 0'
check "no layer was touched" sha256sum --quiet -c digests

echo "- a chain of three formats"
qemu-img convert -q -f raw -O vhdx a.raw base.vhdx
qemu-img create -q -f qcow2 -b base.vhdx -F vhdx middle.qcow2
qemu-io -f qcow2 -c 'write -q -P 7 1M 64k' middle.qcow2
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2 6M
qemu-io -f qcow2 -c 'write -q -P 8 3M 64k' -c 'write -q -z 64k 64k' \
    -c 'write -q -P 9 5M 64k' top.qcow2
qemu-img convert -q -f qcow2 -O raw top.qcow2 mixed.raw
run "info --chain" 0 info --chain --json top.qcow2
json '[.chain[].format] == ["qcow2", "qcow2", "vhdx"]'
json "[.chain[].size_bytes] == [6291456, $size, $size]"
run "map" 0 map --json top.qcow2
json '[.extents[] | select(.kind == "data") | .depth] | unique == [0, 1, 2]'
json '[.extents[] | select(.kind == "zero")] | all(.depth == 0)'
run "flattened and larger" 0 convert --json --resize +2M top.qcow2 mixed.vmdk
json '.targets[0].verify.identical and .source.resized_bytes == 8388608'
run "compare" 0 compare mixed.raw mixed.vmdk
run "snapshot-points" 0 snapshot-points --json top.qcow2
json '.points[2].source == "-f vhdx base.vhdx"'
run "compare with a point" 0 compare -F vhdx a.raw base.vhdx

run "a parent that must not be looked for: 6" 6 info --no-refs top.vmdk
prefixed
mkdir parents
mv base.vmdk parents/
run "a parent elsewhere: not found" 5 info top.vmdk
prefixed
run "unless it is allowed" 0 info --json --allow-refs parents top.vmdk
json '.files[2] == "parents/base.vmdk"'
mv parents/base.vmdk .

echo "- names that a shell would take apart"
name="a b'c\$d.vmdk"
qemu-img create -q -f vmdk -b base.vmdk -F vmdk "$name"
run "snapshot-points" 0 snapshot-points --json "$name"
words=$(jq -r '.points[0].source' out)
eval "set -- $words"
check "its words are read back" test "$*" = "-f vmdk $name"
cp "$name" ./-x.vmdk
run "a name like an option" 0 snapshot-points --json -- -x.vmdk
json '.points[0].source == "-f vmdk ./-x.vmdk"'
printf 'x' >$'odd\n\377'
run "a name that is no text" 0 snapshot-points --json -f raw $'odd\n\377'
words=$(jq -r '.points[0].source' out)
eval "set -- $words"
check "is read back too" test "$3" = $'odd\n\377'
finish
