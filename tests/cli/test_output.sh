#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What goes to stdout and what to stderr.
source "$(dirname "$0")/helpers.bash"
need jq
setup
raw_image a.raw 4

for verb in info map; do
    run "$verb reports on stdout alone" 0 $verb a.raw
    silent err
    check "on stdout" test -s out
done
said '^guest offset\|^ *guest offset' out

run "--quiet says nothing" 0 convert --quiet a.raw b.qcow2
silent out
silent err
run "--quiet leaves the JSON" 0 convert --quiet --json --force a.raw b.qcow2
json '.targets | length == 1'
run "a failure is told in spite of --quiet" 6 convert --quiet a.raw b.qcow2
silent out
prefixed
said 'b.qcow2' err

run "sizes for people have the raw bytes beside them" 0 info a.raw
said '4.0 MiB (4194304 bytes)' out

run "growth is no concern where there is room" 0 \
    convert --force --growth 0 a.raw b.qcow2
silent err

printf 'x%.0s' {1..100} >odd.raw
"$DISKSHIFT" plan --json a.raw c.qcow2 >out
if jq -e '.targets[0].copied_bytes > 0' out >/dev/null; then
    run "--warn-copy: 7 and a warning" 7 convert --warn-copy a.raw c.qcow2
    prefixed
    said 'copied, not shared' err
    said '^target:' out
    check "the target is there" test -e c.qcow2
    run "--require-clone: 6" 6 convert --require-clone a.raw d.qcow2
    check "nothing was begun" test "$(echo d.qcow2*)" = 'd.qcow2*'
    run "also for a plan" 6 plan --require-clone a.raw d.qcow2
fi

echo "- closed standard descriptors do not reach the target"
"$DISKSHIFT" convert --force a.raw b.qcow2 <&- >&- 2>&-
run "the target is sound" 0 verify a.raw b.qcow2

echo "- a reader of the report that leaves does not undo the work"
rm -f b.qcow2
"$DISKSHIFT" convert a.raw b.qcow2 2>err | true
run "the target is sound" 0 verify a.raw b.qcow2
finish
