#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On a file system that shares blocks: nothing is copied, and it is said so.
source "$(dirname "$0")/helpers.bash"
need jq mkfs.xfs mount umount
((EUID == 0)) || skip "mounting takes root"
setup
mkdir mnt
truncate -s 512M xfs.img
mkfs.xfs -q -m reflink=1 xfs.img || skip "mkfs.xfs fails"
mount -o loop xfs.img mnt 2>err || skip "no loop mounts here"
teardown() {
    cd / && umount "$work/mnt"
}
cd mnt || exit 1
raw_image a.raw 64

run "convert" 0 convert --json --require-clone a.raw b.qcow2
silent err
json '.targets[0] | .copied_bytes == 0 and .decoded_bytes == 0 and
    .shared_bytes >= 458752'
json '.targets[0].verify | .identical and .proven_bytes > 0 and
    .hashed_bytes == 0 and .not_proven == null'
json '.targets[0] | .source_exclusive_bytes != null and
    .source_exclusive_bytes < 458752'
run "--warn-copy is content" 0 convert --warn-copy --force a.raw b.qcow2
silent err
said 'shared: ' out

run "measure here: shared" 0 measure --json -O qcow2 a.raw
silent err
json '.measure | .copied_bytes == 0 and .shared_bytes >= 458752 and
    .new_bytes == .metadata_bytes and .new_bytes < 458752'
check "as the conversion did" test "$(jq .measure.shared_bytes out)" = \
    "$("$DISKSHIFT" plan --json a.raw x.qcow2 | jq '.targets[0].shared_bytes')"
run "measure elsewhere: copied, and nothing shared" 0 measure --json \
    -O qcow2 a.raw "$work"
json '.measure | .shared_bytes == 0 and .copied_bytes >= 458752'
run "compare proves without reading" 0 compare --json a.raw b.qcow2
json '.verify | .proven_bytes >= 458752 and .hashed_bytes == 0'

for strategy in range graft; do
    run "--strategy $strategy" 0 convert --json --strategy $strategy \
        b.qcow2 $strategy.vmdk
    json ".targets[0].strategy == \"$strategy\""
    run "it equals the source" 0 verify a.raw $strategy.vmdk
done

free=$(df --output=avail -B1 . | tail -1)
fallocate -l $((free - 3 * 1024 * 1024)) fill 2>/dev/null ||
    fail "fallocate"
run "growth without room is a warning" 0 convert --json --growth 1000 \
    --force a.raw b.qcow2
json '.targets[0].growth_short_bytes > 0'
said 'warning' err
prefixed
finish
