#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One exit status for each class of failure, in text and JSON.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4
cp a.raw b.raw
printf x | dd of=b.raw bs=1 seek=3000000 conv=notrunc status=none
qemu-img create -q -f qcow2 good.qcow2 4M
qemu-img convert -q -O qcow2 a.raw data.qcow2

# fails WHAT STATUS CLASS ARGUMENT...: in text, then in JSON.
fails() {
    local what=$1 expected=$2 class=$3
    shift 3
    run "$what: $expected" "$expected" "$@"
    prefixed
    run "$what: $expected in JSON" "$expected" "$@" --json
    prefixed
    json ".error.class == \"$class\" and (.error.message | length) > 0"
}

run "done: 0" 0 info a.raw
silent err
run "verify of equal disks: 0" 0 verify a.raw a.raw
silent err
run "verify of different disks: 1" 1 verify a.raw b.raw
silent err
said 'first difference' out
run "the same in JSON" 1 verify --json a.raw b.raw
json '.verify.identical == false and
    .verify.difference_offset_bytes <= 3000000'

fails "a wrong word" 2 argument info a.raw --none

# Byte 79 holds bits 0 to 7 of incompatible_features (qcow2 header, offset 72,
# big endian); bit 7 is reserved.
cp good.qcow2 feature.qcow2
printf '\200' | dd of=feature.qcow2 bs=1 seek=79 conv=notrunc status=none
fails "an unknown feature" 3 unsupported info feature.qcow2
fails "the same for map" 3 unsupported map feature.qcow2
fails "the same for convert" 3 unsupported convert feature.qcow2 x.raw

head -c 100000 data.qcow2 >short.qcow2
fails "a truncated image" 4 corrupt map short.qcow2
fails "the same for convert" 4 corrupt convert short.qcow2 x.raw
said 'short.qcow2' err

fails "a missing file" 5 system info none.raw
fails "a target's directory is missing" 5 system convert a.raw none/x.raw
"$DISKSHIFT" map --json a.raw >/dev/full 2>err
check "standard output full: 5" test $? = 5
prefixed

cp a.raw there.raw
fails "the target exists" 6 refused convert a.raw there.raw
check "it was not touched" cmp -s a.raw there.raw
fails "the target is the source" 6 refused convert --force a.raw a.raw
ln a.raw link.raw
fails "the target is the source by another name" 6 refused \
    convert --force a.raw link.raw
cp good.qcow2 lies.raw
fails "content and name disagree" 6 refused info lies.raw
run "unless the format is named" 0 info -f raw lies.raw

check "no target was made" test ! -e x.raw -a ! -e x.raw.partial
finish
