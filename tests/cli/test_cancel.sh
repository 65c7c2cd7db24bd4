#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A signal stops a conversion: no target, no .partial, the source as it was.
source "$(dirname "$0")/helpers.bash"
need jq
setup

# Large enough that the copy is under way when the signal comes; a file
# system that shares would be done at once, so make it copy.
copy_bytes=$((1536 * 1024 * 1024))
free=$(df --output=avail -B1 . | tail -1)
((free > 4 * copy_bytes)) || skip "too little room"
dd if=/dev/zero bs=1M count=1536 status=none |
    openssl enc -aes-128-ctr -nosalt -pass pass:x -pbkdf2 2>/dev/null >a.raw
[[ $(stat -c %s a.raw) == "$copy_bytes" ]] || skip "no openssl here"
sync a.raw
"$DISKSHIFT" plan --json a.raw b.qcow2 >out 2>err
shared=$(jq '.targets[0].shared_bytes' out)
((shared == 0)) || skip "blocks are shared here, nothing takes time"
before=$(stat -c '%s %Y %Z' a.raw)

# cancel SIGNAL STATUS: start, wait until it copies, send.
cancel() {
    local signal=$1 expected=$2 status pid
    rm -f lines
    : >lines
    # A shell's background jobs ignore SIGINT; the program would respect it.
    env --default-signal=INT,TERM,HUP "$DISKSHIFT" convert --json \
        --progress=3 a.raw b.qcow2 >out 2>err 3>lines &
    pid=$!
    for ((i = 0; i < 200; i++)); do
        jq -es 'any(.phase == "execute" and .done_bytes > 0)' lines \
            >/dev/null 2>&1 && break
        sleep 0.02
    done
    kill -s "$signal" $pid
    wait $pid
    status=$?
    ((status == expected)) ||
        fail "$signal: exit status, have $status expect $expected"
    json '.error.class == "cancelled"'
    prefixed
    check "nothing is left" test "$(echo b.qcow2*)" = 'b.qcow2*'
    check "the source is as it was" test \
        "$(stat -c '%s %Y %Z' a.raw)" = "$before"
}

echo "- SIGINT"
cancel INT 130
echo "- SIGTERM"
cancel TERM 1
echo "- SIGHUP"
cancel HUP 1

echo "- a signal that is ignored from outside stays so"
nohup "$DISKSHIFT" convert --quiet a.raw b.qcow2 >/dev/null 2>err &
pid=$!
sleep 0.3
kill -HUP $pid
wait $pid || fail "nohup did not hold"
rm -f b.qcow2

echo "- what a kill leaves is cleared by the next run"
"$DISKSHIFT" convert --quiet a.raw b.qcow2 2>err &
pid=$!
for ((i = 0; i < 200; i++)); do
    [[ -e b.qcow2.partial ]] && break
    sleep 0.02
done
kill -KILL $pid
wait $pid 2>/dev/null
check "only the .partial is left" test "$(echo b.qcow2*)" = b.qcow2.partial
run "the next run" 0 convert a.raw b.qcow2
check "only the target is left" test "$(echo b.qcow2*)" = b.qcow2
finish
