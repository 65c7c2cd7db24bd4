#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --resize: the target is larger, and what is added is zeros.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4
cp a.raw want.raw
truncate -s 6M want.raw

for words in 6M 6144k 6144K +2M +2097152 6291456; do
    run "plan --resize $words" 0 plan --json --resize $words a.raw x.qcow2
    silent err
    json '.source | .size_bytes == 4194304 and .resized_bytes == 6291456'
done
run "not asked for" 0 plan --json a.raw x.qcow2
json '.source.resized_bytes == null'
for format in raw qcow2 vmdk vhdx; do
    run "convert to $format" 0 convert --json --resize +2M a.raw "b.$format"
    json '.source.resized_bytes == 6291456 and .targets[0].verify.identical'
    check "another reader agrees" qemu-img compare -q -f "$format" -F raw \
        "b.$format" want.raw
    check "on the size too" test "$(qemu-img info -f "$format" \
        --output=json "b.$format" | jq '."virtual-size"')" = 6291456
done
run "fixed" 0 convert -q -o subformat=fixed --resize 6M a.raw b.vhd
run "info" 0 info --json b.vhd
json '.disk.size_bytes >= 6291456'
run "compare" 0 compare b.vhd want.raw
run "measure" 0 measure --json -O raw --resize +1G a.raw
json '.measure.file_bytes == 1077936128 and .measure.taken_bytes <= 458752'
run "in text" 0 plan --resize 6M a.raw x.qcow2
said 'resized to: *6.0 MiB' out
run "the size that it has" 0 plan --json --resize 4M a.raw x.qcow2
json '.source.resized_bytes == null'

# refused WHAT MESSAGE SIZE
refused() {
    run "$1" 2 convert --resize "$3" a.raw x.raw
    prefixed
    said "$2" err
    check "nothing was made" test ! -e x.raw
}
refused "smaller" 'size: have' 3M
refused "no multiple of 512" 'multiple of 512' +1
refused "no number" 'expect SIZE' big
refused "no number after +" 'expect SIZE' +
refused "a sign" 'expect SIZE' -1M
refused "two signs" 'expect SIZE' ++1M
refused "an unknown suffix" 'expect SIZE' 6X
refused "two suffixes" 'expect SIZE' 6MB
refused "empty" 'expect SIZE' ''
refused "too large a number" 'expect SIZE' 99999999999999999999
refused "too large a size" 'expect SIZE' 99999999999T
refused "too large a sum" 'beyond' +18446744073709551104
finish
