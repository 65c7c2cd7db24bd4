#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --share-source-file: the target names the source's file. On any file system.
source "$(dirname "$0")/helpers.bash"
need jq
setup

raw_image a.raw 8
before=$(sha256sum a.raw)

run "a target that has no data file" 2 convert --share-source-file a.raw b.qcow2
prefixed
run "nor has a flat one" 2 convert --share-source-file -O vmdk \
    -o subformat=monolithicFlat a.raw b.vmdk
check "nothing was begun" test ! -e b.qcow2 -a ! -e b.vmdk

run "plan" 0 plan --json --share-source-file -O vmdk -o subformat=overlay \
    a.raw b.vmdk
json '.targets[0] | .strategy == "reference" and .copied_bytes == 0 and
    .shared_bytes > 0 and .operations_by_kind.clone == 0 and
    .operations_by_kind.copy == 0'
json '.targets[0].notes[0] | test("what the guest writes changes it")'
run "convert" 0 convert --json --share-source-file --require-clone -O vmdk \
    -o subformat=overlay a.raw b.vmdk
json '.targets[0] | .strategy == "reference" and .copied_bytes == 0 and
    .verify.identical'
check "one file was made" test "$(echo b*)" = b.vmdk
check "it names the source" grep -q '^RW [0-9]* FLAT "a.raw" 0$' b.vmdk
check "the source is untouched" test "$(sha256sum a.raw)" = "$before"
run "it equals the source" 0 verify a.raw b.vmdk
run "in text too" 0 convert --force --share-source-file -O vmdk \
    -o subformat=overlay a.raw b.vmdk
said 'must stay where it is' out
run "not over the source itself" 6 convert --force --share-source-file \
    -O vmdk -o subformat=overlay a.raw a.raw
check "which is untouched" test "$(sha256sum a.raw)" = "$before"

mkdir there
run "into another directory" 0 convert -q --share-source-file -O vmdk \
    -o subformat=overlay a.raw there/b.vmdk
check "it has the full name" grep -q "FLAT \"$PWD/a.raw\" 0" there/b.vmdk
run "which is a file elsewhere" 6 info there/b.vmdk
run "and admitted" 0 info --allow-refs "$PWD" there/b.vmdk

run "a source of two files" 0 convert -q -O vmdk \
    -o subformat=twoGbMaxExtentFlat a.raw split.vmdk
run "whose data lies in one" 0 convert -q --share-source-file -O vmdk \
    -o subformat=overlay split.vmdk of.vmdk
check "has that named" grep -q 'FLAT "split-f001.vmdk" 0' of.vmdk
finish
