#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Internal snapshots as sources, alone and beneath a chain.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img qemu-io
setup
raw_image first.raw 4
qemu-img convert -q -f raw -O qcow2 first.raw a.qcow2
qemu-img snapshot -c first a.qcow2
qemu-io -f qcow2 -c 'write -q -P 7 1M 128k' a.qcow2
qemu-img snapshot -c 'the "second" one' a.qcow2
qemu-img convert -q -O raw a.qcow2 second.raw
qemu-io -f qcow2 -c 'write -q -P 8 64k 128k' a.qcow2
qemu-img resize -q a.qcow2 6M
qemu-img convert -q -O raw a.qcow2 now.raw

run "snapshot-points" 0 snapshot-points --json a.qcow2
silent err
json '[.points[].kind] == ["layer", "snapshot", "snapshot"]'
json '[.points[].name] == [null, "first", "the \"second\" one"]'
json '[.points[].size_bytes] == [6291456, 4194304, 4194304]'
json '.points[1:] | all(.depth == 0 and .path == "a.qcow2" and
    (.created | test("^20[0-9-]*T[0-9:]*Z$")) and
    (now - .created_seconds) < 3600 and (now - .created_seconds) > -60)'
cp out points
run "in text" 0 snapshot-points a.qcow2
said '^snapshot .* first ' out

index=0
for state in now first second; do
    words=$(jq -r ".points[$index].source" points)
    eval "set -- $words"
    run "convert $words" 0 convert -q "$@" "$state.vhdx"
    run "is that state" 0 compare "$state.vhdx" "$state.raw"
    index=$((index + 1))
done
run "by name" 0 convert -q --snapshot first a.qcow2 named.vhd
run "is that state" 0 compare named.vhd first.raw
run "and not the present one" 1 compare named.vhd now.raw
run "compare one image's states" 0 compare --snapshot first \
    --other-snapshot first a.qcow2 a.qcow2
run "which differ" 1 compare --snapshot first a.qcow2 a.qcow2
run "verify takes it too" 0 verify --snapshot 2 a.qcow2 second.raw
run "map" 0 map --json --snapshot first a.qcow2
json '.disk.size_bytes == 4194304'
cp a.qcow2 odd.qcow2
qemu-img snapshot -c 2 odd.qcow2
qemu-img snapshot -c $'esc\033[31m\n' odd.qcow2
run "an id goes before a name" 0 compare --snapshot 2 odd.qcow2 second.raw
run "names that steer a terminal" 0 snapshot-points odd.qcow2
said 'esc\\x1b\[31m\\x0a' out
check "do not reach it" test "$(tr -d '[:print:]\n' <out | wc -c)" = 0
check "one line for each" test "$(wc -l <out)" = 6
run "no such snapshot" 2 info --snapshot third a.qcow2
said 'third' err
prefixed

echo "- a snapshot of a parent"
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 top.qcow2
run "snapshot-points" 0 snapshot-points --json top.qcow2
json '[.points[].depth] == [0, 1, 1, 1]'
words=$(jq -r '.points[2].source' out)
eval "set -- $words"
run "compare $words" 0 compare "$@" first.raw
finish
