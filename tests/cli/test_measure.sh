#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# measure: what a target takes, by what it then took.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4
mkdir there

# measured FORMAT NAME OPTION...: the file becomes as large as was said, and
# the conversion's own figures are those of the measure.
measured() {
    local format=$1 name=$2
    shift 2
    run "measure $format $*" 0 measure --json -O "$format" "$@" a.raw there
    silent err
    json ".measure.format == \"$format\""
    json '.measure | .taken_bytes == .shared_bytes + .new_bytes and
        .new_bytes == .metadata_bytes + .copied_bytes + .decoded_bytes +
        .unshared_bytes + .zeroed_bytes'
    check "nothing was made" test -z "$(ls -A there)"
    jq .measure out >measure.json
    run "convert it" 0 convert --json -O "$format" "$@" a.raw "there/$name"
    # A VMDK's descriptor holds the names of its files.
    check "the figures were right" test "$(jq -s '
        .[0] as $m | .[1].targets[0] | [.shared_bytes - $m.shared_bytes,
        .copied_bytes - $m.copied_bytes, .metadata_bytes - $m.metadata_bytes |
        fabs] | add < 64' measure.json out)" = true
    check "the files have the size" test "$(jq .file_bytes measure.json)" -le \
        $(($(cat there/* | wc -c) + 64))
    check "and not less" test "$(jq .file_bytes measure.json)" -ge \
        $(($(cat there/* | wc -c) - 64))
    rm -f there/*
}

measured qcow2 x.qcow2
measured qcow2 x.qcow2 -o cluster_size=4k
measured vhdx x.vhdx
measured vhd x.vhd
measured raw x.raw
measured vmdk x.vmdk -o subformat=monolithicFlat

run "without a directory: where the source is" 0 measure --json -O vhd \
    there/../a.raw
json '.measure.new_bytes > 0'
check "nothing was made" test "$(find . -name '*measure*' ! -name \
    measure.json | wc -l)" = 0
run "the same in text" 0 measure -O vhd a.raw
said 'taken: ' out
said 'of it new: ' out
run "a directory that is not there: 5" 5 measure -O vhd a.raw none
prefixed

echo "- a target of the measure's own name is no matter"
touch there/.diskshift-measure.qcow2
run "measure" 0 measure -O qcow2 a.raw there
check "it stays" test ! -s there/.diskshift-measure.qcow2
finish
