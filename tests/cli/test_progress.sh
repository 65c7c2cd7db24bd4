#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Progress as JSON lines, as a bar on a terminal, and not where none is asked.
source "$(dirname "$0")/helpers.bash"
need jq
setup
raw_image a.raw 4
dd if=/dev/urandom of=a.raw bs=1M count=64 conv=notrunc status=none

run "no terminal, no bar" 0 convert a.raw b.qcow2
silent err

run "JSON lines" 0 convert --progress=3 --force a.raw b.qcow2 3>lines
silent err
said '^target:' out
check "each line is an object with its members" jq -es 'length > 0 and
    all(keys == ["done_bytes", "done_ops", "phase", "total_bytes",
    "total_ops"])' lines
check "phases in their order" test "$(jq -r .phase lines | uniq |
    tr '\n' ' ')" = "$(jq -r .phase lines | uniq | sort -u |
    grep -xE 'plan|execute|sync|verify' |
    awk '{ seen[$1] = 1 } END { n = split("plan execute sync verify", p);
        for (i = 1; i <= n; i++) if (p[i] in seen) printf "%s ", p[i] }')"
check "execute and verify are among them" test \
    "$(grep -cE '"(execute|verify)"' lines)" -ge 2
check "what is done grows and stays below the total" jq -es 'group_by(.phase) |
    all(([.[].done_bytes] | . == sort) and
    all(.done_bytes <= .total_bytes))' lines

run "verify has progress too" 0 verify --progress=3 a.raw b.qcow2 3>lines
said '"phase": "verify"' lines
run "beside --json" 0 convert --json --progress=2 --force a.raw b.qcow2
json '.targets | length == 1'
check "the lines are on stderr" jq -es 'length > 0' err
run "not on stdout beside --json" 2 convert --json --progress=1 a.raw c.qcow2

echo "- a reader that leaves does not end the work"
(
    exec 4> >(exec true)
    sleep 0.2
    "$DISKSHIFT" convert --quiet --progress=4 --force a.raw b.qcow2
) || fail "convert with a closed progress pipe"

run "a bar where it is asked for" 0 verify --progress a.raw b.qcow2
said 'verify *\[#*-*\]' err
check "the line is wiped at the end" test "$(tail -c 4 err)" = \
    "$(printf '\r\033[K')"

if command -v script >/dev/null; then
    echo "- a bar on a terminal"
    script -qec "'$DISKSHIFT' convert --force a.raw b.qcow2 >out" log \
        >/dev/null </dev/null || fail "convert on a terminal"
    said '\[#*-*\]' log
    script -qec "'$DISKSHIFT' convert --quiet --force a.raw b.qcow2" log \
        >/dev/null </dev/null
    grep -q '\[[#-]*\]' log && fail "--quiet draws a bar"
fi
finish
