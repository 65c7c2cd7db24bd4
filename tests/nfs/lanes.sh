#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clones by way of files beside the target, as for a server that flushes after
# each (remote_lanes.c): the same bytes on the same blocks, and nothing left of
# those files, whatever happens between.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

begin nfs-lanes
server_need
mib=16
disk_make xfs 1G
disk_mount
(
    cd "$disk_at" || exit 1
    head -c ${mib}M /dev/urandom >disk.raw
    qemu_make_shuffled qcow2 disk.raw disk.qcow2
    mv disk.raw "$run/"
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs sync
server_out_of_grace

clusters=$((mib * 16))
near='nfs://127.0.0.1/srv'
query="$server_query&timeout=1&patience=20"
convert() { # URL OPTION TARGET
    timeout 60 "$DISKSHIFT" convert --json --no-verify --require-clone \
        "$1/disk.qcow2$query&$2" "$1/$3"
}
noted() { jq -r '.targets[0].notes | join(" ")' "$run/out"; }
staged() { noted | sed -n 's/.* \([0-9]*\) of them put together .*/\1/p'; }

for lanes in 2 4 16; do
    status "$lanes lanes" 0 convert "$server_url" lanes=$lanes $lanes.raw
    check "the report says so: $(staged)" test "$(staged)" = $clusters
    check "and of all that they are clones" grep -q "($clusters CLONE)" <(noted)
done
status "into a format with tables" 0 convert "$server_url" lanes=4 4.vhdx
check "the report says so: $(staged)" test "$(staged)" -ge $((clusters / 2))
status "none, when told so" 0 convert "$server_url" lanes=1 1.raw
check "the report says nothing of them" test -z "$(staged)"
status "none, where one call is in flight" 0 convert "$server_url" \
    'lanes=4&slots=1' slots.raw
check "the report says nothing of them" test -z "$(staged)"

proxy 20048
mount_proxy=$spawned
proxy 2049
status "through nfs_proxy" 0 convert "$near" lanes=4 calm.raw
reap "$spawned"
count=$(grep -c '^100003 ' "$run/calls.2049")
wrong=()
for fault in "cut N" "drop N" "delay N 3"; do
    for ((n = count / 3; n <= count; n += count / 3)); do
        # shellcheck disable=SC2086
        proxy 2049 ${fault/N/$n}
        convert "$near" lanes=4 "${fault%% *}.$n.raw" >"$run/out" 2>"$run/err" ||
            wrong+=("$fault, N = $n: exit status $?: $(head -c 200 "$run/err")")
        reap "$spawned"
    done
done
if ((${#wrong[@]} == 0)); then
    case_ok "cut, dropped, put off at three of $count calls"
else
    case_fail "cut, dropped, put off" "${wrong[@]}"
fi

# On the server, as soon as four lanes hold something.
when_filled() { # COMMAND
    server_run "i=0 filled=0
        while [ \$filled -lt 4 -a \$i -lt 3000 ]; do
            i=\$((i + 1)) filled=0
            for lane in /srv/*.partial.*; do
                [ ! -s \"\$lane\" ] || filled=\$((filled + 1))
            done
            sleep 0.01
        done
        echo \$filled; $1" >"$run/filled"
}
# All of them have the clones, the target has none of those yet.
proxy 2049 late 200
proxy=$spawned
spawn when_filled 'rm /srv/*.partial.*'
when=$spawned
status "somebody removes them" 0 convert "$near" lanes=4 removed.raw
wait "$when"
check "they were filled" test "$(head -n 1 "$run/filled")" = 4
check "all the same by clones" grep -q "($clusters CLONE)" <(noted)
reap "$proxy"

# A signal, when the probe and each lane have had their clones.
proxy 2049 late 200
proxy=$spawned
spawn convert "$near" lanes=4 ended.raw >"$run/out" 2>"$run/err"
converts=$spawned
for ((i = 0; i < 3000; i++)); do
    (($(grep -c '^100003 4 1 71$' "$run/calls.2049") < 5)) || break
    sleep 0.01
done
kill -TERM "$(pgrep -P "$(pgrep -P "$converts" -x timeout)" -x diskshift)"
wait "$converts"
outcome=$?
check "a signal ends it, exit status $outcome" test $outcome != 0
reap "$proxy"
reap "$mount_proxy"

server_end
disk_mount
cd "$disk_at" || exit 1
wrong_targets() {
    local target
    for target in *.raw *.vhdx; do
        wrong_contents "${target##*.}" "$target" "$run/disk.raw"
        [[ $(fiemap disk.qcow2 -- "$target") == "shared $((mib << 20)) "* ]] ||
            echo "$target: have $(fiemap disk.qcow2 -- "$target")" \
                "expect shared $((mib << 20))"
    done
}
check "each target has the source's bytes on the source's blocks" \
    test -z "$(wrong_targets | tee "$run/wrong")"
cat "$run/wrong"
check "nothing is left over" test -z \
    "$(find . -mindepth 1 ! -name '*.raw' ! -name '*.vhdx' ! -name disk.qcow2)"
check "nothing of what was ended" test ! -e ended.raw
cd "$run" || exit 1
disk_unmount
finish
