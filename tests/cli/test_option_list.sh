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
finish
