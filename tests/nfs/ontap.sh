#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --clone-via ontap: an NFSv3 server whose blocks are shared by a REST
# interface beside it, which is ontap_sim on the server's machine, sharing for
# real. When the server has ended, its disk tells what is shared.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/server.bash"
in_namespace "$@"

begin nfs-ontap
need openssl
server_need
url=$server_url query="$server_query&nfs42=0"
secret='netapp1!-%s"&$?'
array=(--clone-via ontap --ontap-url https://10.0.2.15 --ontap-volume vol1
    --ontap-credentials "$run/credentials" --ontap-cacert "$run/ca.pem")

sign() { # NAME SUBJECT
    openssl x509 -req -in "$run/array.csr" -CA "$run/ca.pem" \
        -CAkey "$run/ca.key" -CAcreateserial -days 2 \
        -extfile <(echo "subjectAltName=$2") -out "$run/$1.pem"
}

make_certificates() {
    local name
    for name in ca other; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -keyout "$run/$name.key" -out "$run/$name.pem" -days 2 \
            -subj "/CN=$name" || return
    done
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$run/array.key" -out "$run/array.csr" -subj /CN=array &&
        sign array IP:10.0.2.15 && sign stranger DNS:stranger
}
make_certificates >"$run/openssl.log" 2>&1 ||
    die "no certificates: $(tail -n 3 "$run/openssl.log")"
(umask 077 && printf 'admin:%s\n' "$secret" >"$run/credentials")

disk_make xfs 1G
disk_mount
(
    cd "$disk_at" || exit 1
    mkdisk sparse 8M 41 disk.raw
    cp disk.raw "$run/disk.raw"
    qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat disk.raw \
        flat.vmdk
    qemu-img convert -f raw -O vhdx disk.raw disk.vhdx
    qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
    qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 over.qcow2
    qemu-io -f qcow2 -c 'write -P 7 1M 64k' over.qcow2 >/dev/null
    qemu-img convert -f qcow2 -O raw over.qcow2 "$run/over.raw"
    mkdisk fragmented 24M 42 many.raw
    qemu-img convert -f raw -O qcow2 many.raw many.qcow2
    chmod 640 disk.qcow2
    mkdir elsewhere
    programs_put "$DS_HELPERS/ontap_sim"
    cp "$run/array.pem" "$run/stranger.pem" "$run/array.key" .programs/
    sync .
) || die "cannot make sources"
disk_unmount
server_start xfs async

array_start() { # PORT CERTIFICATE
    local i
    server_run "mkdir -p /tmp/sim && : >/tmp/sim/knobs
        /srv/.programs/ontap_sim /srv /srv 10.0.2.15:$1 /srv/.programs/$2 \
        /srv/.programs/array.key 'admin:$secret' /tmp/sim/knobs /tmp/sim/log \
        </dev/null >/tmp/sim/out.$1 2>&1 &
        echo \$! >>/tmp/sim/pids" >/dev/null
    for ((i = 0; i < 50; i++)); do
        ! timeout 1 bash -c ": </dev/tcp/10.0.2.15/$1" 2>/dev/null || return 0
        sleep 0.1
    done
    die "the array does not start: $(server_run "cat /tmp/sim/out.$1")"
}
array_start 443 array.pem
array_start 444 stranger.pem
knobs() { server_run "printf '%s\n' $* >/tmp/sim/knobs; : >/tmp/sim/log" >/dev/null; }
calls() { server_run "grep -c '$1' /tmp/sim/log" | head -n1; }
t='.targets[0]'
convert() { # WHAT EXIT ARGUMENT...
    local what=$1 exit=$2
    shift 2
    status "$what" "$exit" timeout 60 "$DISKSHIFT" convert --json \
        "${array[@]}" "$@"
}
same() { # NAME RAW
    check "$1 holds the disk" "$DISKSHIFT" verify -F raw "$url/$1$query" "$2"
}

absent() {
    local left
    left=$(server_run "ls -A /srv | grep -E 'never|partial|diskshift'")
    check "nothing is left" test -z "$left"
}

# What is shared. A whole file and a graft by one call, else ranges.
knobs polls=2
convert "a graft" 0 --require-clone "$url/disk.vhdx$query" "$url/graft.qcow2"
check "by graft" test "$(jq -r "$t.strategy" "$run/out")" = graft
check "in one call" test "$(calls 'POST .*clone')" = 1
check "the job was waited for" test "$(calls 'GET .*jobs')" -ge 2
check "the report says by whom" grep -q 'shared by ontap' \
    <(jq -r "$t.notes[]" "$run/out")
convert "a raw disk" 0 --require-clone -f raw "$url/disk.raw$query" \
    "$url/whole.raw"
check "in one call" test "$(calls 'POST .*clone')" = 2
knobs polls=0
convert "ranges" 0 --strategy range "$url/disk.qcow2$query" "$url/range.vhdx"
convert "ranges by the hundred" 0 --strategy range "$url/many.qcow2$query" \
    "$url/many.vhdx"
check "in batches" test "$(calls 'POST .*clone')" -ge 3
convert "a chain, out of two files" 0 "$url/over.qcow2$query" "$url/flat.vhdx"
same flat.vhdx "$run/over.raw"
convert "the files' sizes and kinds are the graft's" 0 --strategy graft \
    "$url/flat.vmdk$query" "$url/flat.raw"
same graft.qcow2 "$run/disk.raw"
same flat.raw "$run/disk.raw"
convert "verified by its word" 0 --verify=metadata "$url/disk.vhdx$query" \
    "$url/trusted.qcow2"
check "trusted" test "$(jq "$t.verify.trusted_bytes" "$run/out")" -gt 4000000
check "nothing read" test "$(jq "$t.verify.hashed_bytes" "$run/out")" = 0
status "plan says the same" 0 "$DISKSHIFT" plan --json "${array[@]}" \
    "$url/disk.vhdx$query" "$url/planned.qcow2"
check "by graft" test "$(jq -r "$t.strategy" "$run/out")" = graft

# The clone takes the target's place by a RENAME. When its answer is lost it is
# sent again, and finds that it is done.
knobs polls=0
near='nfs://127.0.0.1/srv'
for port in 20048 2049; do
    proxy $port lose 14
    proxies+=("$spawned")
done
convert "the answer to a RENAME is lost" 0 --require-clone \
    "$near/disk.vhdx$query&timeout=2" "$near/renamed.qcow2"
check "it was sent twice" test "$(grep -c '^100003 3 14$' "$run/calls.2049")" = 2
reap "${proxies[0]}"
reap "${proxies[1]}"
same renamed.qcow2 "$run/disk.raw"

# A job that nobody knows any more.
knobs forget=1
convert "a job that is forgotten, whole file" 0 "$url/disk.vhdx$query" \
    "$url/forgot.qcow2"
check "the report says so" grep -q 'no record' \
    <(jq -r "$t.notes[]" "$run/out")
convert "whose word is not taken" 0 --verify=metadata "$url/disk.vhdx$query" \
    "$url/unsure.qcow2"
check "it is read" test "$(jq "$t.verify.hashed_bytes" "$run/out")" -gt 4000000
convert "a job that is forgotten, ranges" 0 --strategy range \
    "$url/disk.qcow2$query" "$url/forgot.vhdx"
same forgot.vhdx "$run/disk.raw"
knobs forget=1 lie=1
convert "forgotten and not done, whole file" 5 "$url/disk.vhdx$query" \
    "$url/never.qcow2"
said "it says so" 'have size 0'
absent
convert "forgotten and not done, ranges" 5 --no-verify --strategy range \
    "$url/disk.qcow2$query" "$url/never.vhdx"
said "it says so" 'does not say how its clone ended'
absent
knobs polls=1 lie=1
convert "success that is a lie" 5 --strategy range "$url/disk.qcow2$query" \
    "$url/never.vhdx"
said "verification finds it" 'differs'
absent

# A job that does not end is not waited for by who is told to stop.
knobs polls=100000
spawn "$DISKSHIFT" convert "${array[@]}" "$url/disk.vhdx$query" \
    "$url/never.qcow2" 2>"$run/err"
for ((i = 0; i < 100; i++)); do
    [[ $(calls 'GET .*jobs') -lt 2 ]] || break
    sleep 0.1
done
kill -TERM "$spawned"
for ((i = 0; i < 100; i++)); do
    kill -0 "$spawned" 2>/dev/null || break
    sleep 0.1
done
check "a signal ends it" test $i -lt 100
reap "$spawned" KILL
said "it says what may go on" 'may still finish its job'
absent

# Failures, in the array's words.
knobs fail=1
convert "a job that fails" 5 "$url/disk.vhdx$query" "$url/never.qcow2"
said "in its words" 'the clone failed, as it was told to'
absent
knobs fail=1 polls=0
convert "a request that fails" 5 "$url/disk.vhdx$query" "$url/never.qcow2"
said "in its words" 'HTTP 500, .the clone failed'
knobs garbage=1
convert "answers that are no JSON" 5 "$url/disk.vhdx$query" "$url/never.qcow2"
knobs volumes=2
convert "two volumes of that name" 2 "$url/disk.vhdx$query" "$url/never.qcow2"
said "and how to tell them apart" 'SVM:VOLUME'
knobs ''
convert "no such volume" 2 --ontap-volume vol2 "$url/disk.vhdx$query" \
    "$url/never.qcow2"
said "by name" 'no volume vol2'

# Who may.
convert "an authority that is not ours" 6 --ontap-cacert "$run/other.pem" \
    "$url/disk.vhdx$query" "$url/never.qcow2"
said "it says so" 'certificate is not to be believed'
convert "another host's certificate" 6 --ontap-url https://10.0.2.15:444 \
    "$url/disk.vhdx$query" "$url/never.qcow2"
(umask 077 && echo admin:wrong-pass >"$run/wrong")
convert "a wrong password" 6 --ontap-credentials "$run/wrong" \
    "$url/disk.vhdx$query" "$url/never.qcow2"
said "it says so" 'HTTP 401'
check "and does not tell it" bash -c "! grep -q wrong-pass '$run/err' '$run/out'"
cp "$run/credentials" "$run/open" && chmod 644 "$run/open"
convert "credentials that others may read" 6 --ontap-credentials "$run/open" \
    "$url/disk.vhdx$query" "$url/never.qcow2"
said "it says so" '0644'
convert "a password in the URL" 2 --ontap-url 'https://a:topsecret@10.0.2.15' \
    "$url/disk.vhdx$query" "$url/never.qcow2"
check "is not printed" bash -c "! grep -q topsecret '$run/err' '$run/out'"
convert "no TLS" 2 --ontap-url http://10.0.2.15 "$url/disk.vhdx$query" \
    "$url/never.qcow2"
convert "a local source and target" 3 -f raw "$run/disk.raw" "$run/local.qcow2"
said "it says so" 'nfs:// paths only'
check "the array was never told the password's file" bash -c \
    "! grep -rqF '$secret' '$run/err' '$run/out'"
absent

# A volume without room.
server_run 'dd if=/dev/zero of=/srv/filler bs=1M; : >/tmp/sim/knobs' 120 \
    >/dev/null
convert "a full volume" 5 "$url/disk.vhdx$query" "$url/never.qcow2"
said "it says so" 'No space left'
server_run 'rm /srv/filler' >/dev/null
absent

server_run 'kill $(cat /tmp/sim/pids); sleep 0.2
    rm -r /srv/.programs' >/dev/null
server_end
disk_mount
cd "$disk_at" || exit 1
declare -A from=([graft.qcow2]=disk.vhdx [whole.raw]=disk.raw
    [range.vhdx]=disk.qcow2)
data=$("$DISKSHIFT" map --json -f raw disk.raw |
    jq '[.extents[] | select(.kind == "data").length_bytes] | add')
for name in "${!from[@]}"; do
    have=$(fiemap "${from[$name]}" -- "$name" | cut -d' ' -f2)
    check "$name lies on the blocks of ${from[$name]}: $have" \
        test "$have" = "$data"
done
for name in graft.qcow2 range.vhdx forgot.vhdx forgot.qcow2; do
    check "QEMU reads $name" qemu-img compare -q -F raw "$name" "$run/disk.raw"
done
check "QEMU reads many.vhdx" qemu-img compare -q -F raw many.vhdx many.raw
check "QEMU checks graft.qcow2" qemu-img check -q graft.qcow2
check "a graft is no wider than its source" test \
    "$(stat -c %a graft.qcow2)" = "$(stat -c %a disk.vhdx)"
check "the source is as before" cmp disk.raw "$run/disk.raw"
check "nothing is left over" test \
    -z "$(find . -name '*.partial' -o -name '.diskshift*')"
cd "$run" || exit 1
disk_unmount
finish
