#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What fits two formats is refused until one is named, and a raw disk in which a
# guest left an image's header is reported.
source "$(dirname "$0")/helpers.bash"
setup
need qemu-img

raw_image a.raw 16
for format in qcow2 vhdx vdi; do
    qemu-img convert -O $format a.raw a.$format
done
qemu-img convert -O vmdk -o subformat=monolithicSparse a.raw a.vmdk
qemu-img convert -O vpc -o subformat=fixed,force_size a.raw a.vhd

# A fixed VHD is any disk with a footer behind it.
for format in qcow2 vhdx vdi vmdk; do
    cp a.$format both.img
    tail -c 512 a.vhd >>both.img
    for verb in info map check; do
        run "$format with a VHD's footer: $verb refuses" 6 $verb both.img
    done
    said "fits both .*; name the format" err
    said "$format" err
    run "convert refuses" 6 convert -q both.img t.raw
    check "and makes nothing" test ! -e t.raw
    run "as $format, named" 0 info --json -f $format both.img
    json ".disk.format == \"$format\""
    run "measure refuses" 6 measure -O raw both.img
    run "compare refuses the second" 6 compare -f $format both.img both.img
done

for format in qcow2 vhdx vdi vmdk; do
    cp a.$format guest.raw
    run "$format in what is called raw: refused" 6 info guest.raw
    said "its name says raw and its content $format" err
    run "$format as raw, named" 0 info --json -f raw guest.raw
    json ".disk.format == \"raw\""
    check "is reported" grep -q "\"looks_like\": \"$format\"" out
    run "in a plan" 0 plan --json -f raw guest.raw p.vdi
    json ".targets[0].notes[0] | test(\"header of a $format image\")"
    run "and in a conversion" 0 convert --json -f raw guest.raw t.$format
    json ".targets[0].notes[0] | test(\"header of a $format image\")"
    rm -f t.*
done

# A parent that its child calls raw is raw, whatever the guest wrote there.
cp a.qcow2 base.img
qemu-img create -q -f qcow2 -b base.img -F raw over.qcow2 2>/dev/null
run "a raw parent that looks like qcow2" 0 info --json --chain over.qcow2
json '.chain[1].format == "raw"'
check "is reported" grep -q '"looks_like": "qcow2"' out
run "a disk without a header" 0 info --json -f raw a.raw
check "looks like nothing" test -z "$(grep looks_like out)"
finish
