#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several options of a target in one -o, as qemu-img has them.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4

run "two with a comma" 0 convert -q -o cluster_size=2M,compat=0.10 a.raw b.qcow2
check "both hold" test "$(qemu-img info --output=json b.qcow2 | jq -r '
    "\(.["cluster-size"]) \(.["format-specific"].data.compat)"')" = "2097152 0.10"
run "of two, the last counts" 0 plan --json -o cpus=1,name=w,cpus=2,name=v a.raw x.ova
json '.targets[0].disks[0].member == "v-disk1.vmdk"'
run "one that is wrong, behind one that is right" 2 \
    plan -o cluster_size=2M,compat=7 a.raw c.qcow2
said 'compat' err
run "each --to has its own" 0 convert -q --to qcow2=c.qcow2 \
    -o cluster_size=4k,compat=0.10 --to qcow2=d.qcow2 -o cluster_size=512k a.raw
check "of the first" test \
    "$(qemu-img info --output=json c.qcow2 | jq '.["cluster-size"]')" = 4096
check "of the second" test \
    "$(qemu-img info --output=json d.qcow2 | jq '.["cluster-size"]')" = 524288
run "two commas are one of the value" 0 \
    plan --json -o 'name=a,,b,,,,c,cpus=2' a.raw v.ova
json '.targets[0].disks[0].member == "a_b__c-disk1.vmdk"'

run "-o help lists those of -O" 0 convert -O qcow2 -o help
silent err
for key in $("$DISKSHIFT" __complete format-options qcow2); do
    said "^  qcow2  *${key%=} " out
done
check "and no other's" test "$(grep -c '^  [a-z]' out)" = \
    "$("$DISKSHIFT" __complete format-options qcow2 | wc -l)"
run "behind other options, and with a question mark" 0 \
    plan -O vhdx -o 'block_size=1M,?'
said '^  vhdx  *block_size ' out
run "of the target's name" 0 convert -o help a.raw help.vmdk
said '^  vmdk  *subformat ' out
check "and nothing is made" test ! -e help.vmdk
run "of the last --to" 0 convert --to vhd=x.vhd --to vdi=y.vdi -o help a.raw
said '^  vdi  *subformat ' out
check "of no other" test "$(grep -c '^  [a-z]' out)" = 1
run "of a format without any" 0 measure -O raw -o help
said 'raw has no options' out
run "of all where none is named" 0 convert -o help
for format in vmdk vhd vhdx qcow2 vdi ova; do
    said "^  $format " out
done
run "of what cannot be written" 2 convert -O floppy -o help
said 'floppy expect one of' err
run "a guest's script has no such" 2 guest-script -o help
said 'expect key=value' err
finish
