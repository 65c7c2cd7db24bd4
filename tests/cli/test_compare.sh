#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# compare: the content of any two images, whatever their sizes.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4
cp a.raw longer.raw
truncate -s 6M longer.raw
cp longer.raw tail.raw
printf x | dd of=tail.raw bs=1 seek=$((5 * 1024 * 1024)) conv=notrunc \
    status=none
cp a.raw other.raw
printf x | dd of=other.raw bs=1 seek=3000000 conv=notrunc status=none
qemu-img convert -q -f raw -O vmdk a.raw a.vmdk
qemu-img convert -q -f raw -O vhdx longer.raw longer.vhdx

# oracle STATUS FORMAT IMAGE FORMAT IMAGE: qemu-img says the same.
oracle() {
    qemu-img compare -q -f "$2" -F "$4" "$3" "$5"
    check "qemu-img says so too" test $? = "$1"
}

run "the same in two formats: 0" 0 compare --json a.raw a.vmdk
silent err
json '.same_size and .verify.identical and .first.format == "raw" and
    .second.format == "vmdk" and .verify.difference_offset_bytes == null'
oracle 0 raw a.raw vmdk a.vmdk
for pair in "a.vmdk longer.vhdx" "longer.vhdx a.vmdk"; do
    # shellcheck disable=SC2086 # two names
    run "a tail of zeros: 0 ($pair)" 0 compare --json $pair
    silent err
    json '.same_size == false and .verify.identical and
        ([.first.size_bytes, .second.size_bytes] | sort) == [4194304, 6291456]
        and (.verify | .proven_bytes + .zero_bytes + .hashed_bytes) == 6291456'
done
oracle 0 vmdk a.vmdk vhdx longer.vhdx
run "the sizes are told" 0 compare a.raw longer.raw
said 'same size: *no' out
said 'identical: *yes' out
run "--strict: 1" 1 compare --strict --json a.raw longer.raw
json '.same_size == false and .verify.identical == false and
    .verify.difference_offset_bytes == 4194304'
run "verify is as strict" 1 verify a.raw longer.raw
run "a tail of something: 1" 1 compare --json a.raw tail.raw
json '.verify.identical == false and
    .verify.difference_offset_bytes > 4194304 and
    .verify.difference_offset_bytes <= 5242880'
oracle 1 raw a.raw raw tail.raw
run "the other way round: 1" 1 compare tail.raw a.raw
run "other content: 1" 1 compare --json a.vmdk other.raw
json '.verify.difference_offset_bytes <= 3000000'
oracle 1 vmdk a.vmdk raw other.raw
run "formats named for each" 0 compare -f raw -F vmdk a.raw a.vmdk
run "-F is for the second" 4 compare -F vmdk a.vmdk a.raw
prefixed
finish
