#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several targets from one source, and where options go.
source "$(dirname "$0")/helpers.bash"
need jq
setup
raw_image a.raw 4

run "formats from the endings of names" 0 plan --json a.raw x.QCOW2
json '.targets[0].format == "qcow2"'
for name in x.raw:raw x.img:raw x.vmdk:vmdk x.vhd:vhd x.vhdx:vhdx; do
    run "${name%:*} means ${name#*:}" 0 plan --json a.raw "${name%:*}"
    json ".targets[0].format == \"${name#*:}\""
done
run "-O beats the ending" 0 plan --json -O qcow2 a.raw x.raw
json '.targets[0].format == "qcow2"'

run "two plans" 0 plan --json --to raw=x.raw --to qcow2=x.qcow2 a.raw
json '[.targets[].format] == ["raw", "qcow2"]'
run "their operations" 0 plan --ops --json --to raw=x --to qcow2=y a.raw
json '.targets | all(.operations | length > 0)'

run "three targets, each with its own options" 0 convert --json \
    --to qcow2=one.qcow2 -o cluster_size=64k --to raw=two.raw \
    --to qcow2=three.qcow2 -o compat=1.1 -o cluster_size=2M a.raw
silent err
json '[.targets[].path] == ["one.qcow2", "two.raw", "three.qcow2"]'
for pair in one.qcow2:65536 three.qcow2:2097152; do
    run "${pair%:*} has its cluster size" 0 info --json "${pair%:*}"
    json ".facts.cluster_size_bytes == ${pair#*:}"
done
for path in one.qcow2 two.raw three.qcow2; do
    run "$path equals the source" 0 verify a.raw $path
done
run "-o with TARGET, from any place" 0 convert -o cluster_size=4k a.raw \
    four.qcow2
run "it took" 0 info --json four.qcow2
json '.facts.cluster_size_bytes == 4096'
run "-oKEY=VALUE and --option" 0 plan -ocluster_size=4k --option=compat=1.1 \
    a.raw x.qcow2

rm -f one.qcow2 two.raw
run "a target that exists fails all before the first is written" 6 \
    convert --json --to qcow2=one.qcow2 --to qcow2=three.qcow2 a.raw
json '.error.class == "refused"'
check "nothing was made" test ! -e one.qcow2 -a ! -e one.qcow2.partial
run "--force replaces it" 0 convert -q --force -O qcow2 -o cluster_size=64k \
    a.raw three.qcow2
run "it is the new one" 0 info --json three.qcow2
json '.facts.cluster_size_bytes == 65536'

echo "- a target that fails while it is written"
mkdir small
if ((EUID == 0)) && mount -t tmpfs -o size=128k none small 2>err; then
    teardown() {
        umount "$work/small"
    }
    run "the one before it stays, the next is not begun" 5 convert --json \
        --to raw=first.raw --to raw=small/second.raw --to raw=third.raw a.raw
    json '.error.class == "system" and .error.errno == 28'
    json '[.targets[].path] == ["first.raw"]'
    prefixed
    check "nothing of the failed one is left" test -z "$(ls -A small)"
    check "the third was not begun" test "$(echo third*)" = 'third*'
    run "the first is whole" 0 verify a.raw first.raw
fi
finish
