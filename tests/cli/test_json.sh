#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each verb's --json is one document, with raw bytes and stable members.
source "$(dirname "$0")/helpers.bash"
need jq
setup
raw_image a.raw 4
size=$((4 * 1024 * 1024))

run "info" 0 info --json a.raw
silent err
json ".schema == 1 and .disk.format == \"raw\" and
    .disk.size_bytes == $size and .disk.path == \"a.raw\" and
    (.facts | type) == \"object\" and .files == [\"a.raw\"]"

run "map" 0 map --json a.raw
silent err
json ".extents | length > 0"
json "[.extents[].length_bytes] | add == $size"
json '[.extents[] | select(.kind == "data")] | all(.file_index == 0 and
    .file_offset_bytes == .guest_offset_bytes)'
json '.totals.extent_count == (.extents | length)'
json ".totals | .data_bytes + .zero_bytes + .hole_bytes + .encoded_bytes ==
    $size"

run "plan" 0 plan --json a.raw b.qcow2
silent err
json '.targets | length == 1'
json '.targets[0] | .format == "qcow2" and (.strategy == "range" or
    .strategy == "graft") and (.strategy_reason | type) == "string" and
    .files[0].path == "b.qcow2" and .files[0].size_bytes > 0 and
    (.notes | type) == "array" and (has("operations") | not)'
json '.targets[0] | .copied_bytes == ([.copied_bytes_by_reason[]] | add)'
jq -S '.targets[0].operations_by_kind' out >counts

run "plan with its operations" 0 plan --ops --json a.raw b.qcow2
json '.targets[0].operations | length > 0'
json '[.targets[0].operations[] | select(.kind == "copy")] |
    all(.reason != null and .length_bytes > 0 and .source_index == 0)'
jq -S '[.targets[0] | .operations_by_kind | to_entries[].key] as $kinds |
    [.targets[0].operations[].kind] as $ops |
    [$kinds[] | {key: ., value: (. as $k | $ops | map(select(. == $k)) |
    length)}] | from_entries' out >emitted
check "as many operations as the totals say" diff counts emitted
check "a plan makes nothing" test ! -e b.qcow2 -a ! -e b.qcow2.partial

run "convert" 0 convert --json a.raw b.qcow2
silent err
json '.targets | length == 1'
json '.targets[0] | .path == "b.qcow2" and .format == "qcow2" and
    .verify.verified and .verify.identical and
    .verify.difference_offset_bytes == null and .metadata_bytes > 0 and
    .seconds.total >= .seconds.execute and has("source_exclusive_bytes") and
    .growth_short_bytes == 0'
json '.targets[0].verify |
    .proven_bytes + .zero_bytes + .witnessed_bytes + .hashed_bytes ==
    4194304'

run "convert without verifying" 0 convert --json --no-verify a.raw c.qcow2
json '.targets[0].verify == {"verified": false}'

run "verify" 0 verify --json a.raw b.qcow2
silent err
json '.verify.identical and .source.format == "raw" and
    .target.format == "qcow2"'

name=$(printf 'a\033[31m\n"\377.raw')
cp a.raw "$name"
run "a name that is no text, in JSON" 0 info --json "$name"
json '.disk.path | contains("\ufffd") and contains("\u001b")'
run "the same in text" 0 info "$name"
said 'a\\x1b\[31m\\x0a"\\xff.raw' out
run "the same in an error" 5 info "$name.none"
said 'a\\x1b' err

echo "- a list that fails half way is still one document"
if command -v qemu-img >/dev/null; then
    qemu-img create -q -f raw big.raw 4G
    for offset in 0 1G 2G 3G; do
        qemu-img bench -f raw -w -c 1 -s 64k --pattern=65 -o $offset big.raw >/dev/null
    done
    qemu-img convert -q -O qcow2 big.raw big.qcow2
    # The first L2 entry for 3 GiB (L1 entry 6) names a cluster that is not in
    # the file.
    l1=$("$DISKSHIFT" info --json big.qcow2 | jq .facts.l1_table_offset_bytes)
    l2=$((16#$(od -An -tx8 --endian=big -j $((l1 + 48)) -N 8 big.qcow2 |
        tr -d ' ') & 0x00fffffffffffe00))
    printf '\200\0\0\0\177\377\0\0' |
        dd of=big.qcow2 bs=1 seek=$l2 conv=notrunc status=none
    "$DISKSHIFT" map --json big.qcow2 >out 2>err
    check "its status" test $? = 4
    json '.error.class == "corrupt" and (.extents | length > 0)'
    prefixed
fi
finish
