#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compressed sources: what is encoded and how, what was decoded and why.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
# Text compresses; random bytes would be stored as they are.
truncate -s 4M a.raw
seq 1 60000 | head -c 262144 |
    dd of=a.raw bs=64k seek=3 conv=notrunc status=none
sync a.raw
qemu-img convert -q -f raw -O vmdk -o subformat=streamOptimized a.raw z.vmdk
qemu-img convert -q -c -f raw -O qcow2 a.raw z.qcow2
qemu-img convert -q -c -f raw -O qcow2 -o compression_type=zstd a.raw s.qcow2

for pair in z.vmdk:zlib z.qcow2:deflate s.qcow2:zstd; do
    image=${pair%:*} codec=${pair#*:}
    run "map $image" 0 map --json "$image"
    json "[.extents[] | select(.kind == \"encoded\")] | length > 0 and
        all(.encoding == \"$codec\" and .stored_bytes > 0 and
        .stored_bytes <= .unit_bytes and .unit_bytes == 65536 and
        .skip_bytes == 0)"
    json '[.extents[] | select(.kind != "encoded")] |
        all(.encoding == null and .stored_bytes == null)'
    run "in text" 0 map "$image"
    said "encoded .* $codec " out
    check "units and skips are for programs" \
        test "$(grep -c 'unit\|skip' out)" = 0
    run "plan $image" 0 plan --ops --json "$image" x.vhdx
    json '.targets[0] | .decoded_bytes > 0 and .copied_bytes == 0 and
        .decoded_bytes_by_reason == {compressed: .decoded_bytes,
        encrypted: 0}'
    json "[.targets[0].operations[] | select(.kind == \"decode\")] |
        length > 0 and all(.encoding == \"$codec\" and
        .reason == \"compressed\" and .stored_bytes > 0 and
        .unit_bytes == 65536 and .source_index == 0)"
    json '[.targets[0].operations[] | select(.kind != "decode")] |
        all(.encoding == null)'
    run "measure $image" 0 measure --json -O vhdx "$image"
    json '.measure | .decoded_bytes > 0 and .new_bytes >= .decoded_bytes'
    run "convert $image" 0 convert --json "$image" "${image/./-}.vhdx"
    json '.targets[0] | .decoded_bytes > 0 and
        .decoded_bytes_by_reason.compressed == .decoded_bytes and
        .verify.identical'
    check "another reader agrees" \
        qemu-img compare -q -f raw -F vhdx a.raw "${image/./-}.vhdx"
    run "in text" 0 plan "$image" x.vhdx
    said 'decoded because:' out
    said '^ *compressed: ' out
    run "--warn-copy: 7" 7 convert --force --warn-copy "$image" x.vhdx
    run "--require-clone: 6" 6 convert --force --require-clone "$image" x.vhdx
    run "compare" 0 compare "$image" a.raw
    run "check" 0 check --json "$image"
    json '.check.encoded_bytes > 0'
done
echo "- a compressed target: the figures are upper bounds"
stream="-O vmdk -o subformat=streamOptimized"
# shellcheck disable=SC2086 # the words are words
run "plan" 0 plan --ops --json $stream a.raw y.vmdk
json '.targets[0].upper_bound'
json '.targets[0].strategy == "encode"'
json '[.targets[0].operations[] | select(.kind == "encode")] | length > 0 and
    all(.reason == "compressed" and .target_offset_bytes == null and
    .source_index == null and .guest_offset_bytes % 65536 == 0)'
# shellcheck disable=SC2086 # the words are words
run "measure" 0 measure --json $stream a.raw
json '.measure.upper_bound'
most=$(jq .measure.file_bytes out)
# shellcheck disable=SC2086 # the words are words
run "convert" 0 convert $stream a.raw y.vmdk
said 'strategy: *encode' out
# shellcheck disable=SC2086 # the words are words
run "range cannot be" 3 plan --strategy range $stream a.raw x.vmdk
said 'strategy range is not possible: the target.s units are compressed' err
run "graft cannot be" 3 plan --strategy graft -o compress=zlib a.raw x.qcow2
said 'strategy graft is not possible: the target.s units are compressed' err
run "a compressed qcow2" 0 plan --json -o compress=zlib a.raw x.qcow2
json '.targets[0].strategy == "encode"'
check "it is no larger" test "$(stat -c %s y.vmdk)" -le "$most"
check "but smaller" test "$(stat -c %s y.vmdk)" -lt $((most - 65536))
run "a plain target: the figures are exact" 0 plan --json a.raw x.qcow2
json '.targets[0].upper_bound == false'
finish
