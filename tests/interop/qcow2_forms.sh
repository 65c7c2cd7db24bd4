#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every form of qcow2 that qemu-img makes, flattened to raw by us and held to
# what qemu-img reads; what we compress, held to qemu-img check and compare.
. "$(dirname "$0")/../lib/lib.bash"
begin qcow2_forms

# 24 MiB and some sectors: zeros, one byte over and over, noise, gaps.
make_source() {
    truncate -s $((24 * 1024 * 1024 + 2560)) "$1"
    dd if=/dev/urandom of="$1" bs=64k count=48 conv=notrunc status=none
    dd if=/dev/urandom of="$1" bs=4k seek=2500 count=300 conv=notrunc status=none
    yes 'all work and no play' | dd of="$1" bs=64k seek=100 count=120 \
        iflag=fullblock conv=notrunc status=none
}

# reads WHAT RAW IMAGE [OPTION...]: our raw of the image is RAW.
reads() {
    local what=$1 raw=$2 image=$3
    shift 3
    rm -f ours.raw
    if status "$what: converted" 0 "$DISKSHIFT" convert "$@" "$image" \
        ours.raw; then
        check "$what: same bytes" cmp "$raw" ours.raw
    fi
}

# sound WHAT IMAGE [OPTION...]: `check` finds nothing, nor does qemu-img.
sound() {
    local what=$1 image=$2
    shift 2
    status "$what: check" 0 "$DISKSHIFT" check "$@" "$image"
}

make_source source.raw

for cluster in 512 4k 64k 2M; do
    for type in zlib zstd; do
        qemu-img convert -c -O qcow2 \
            -o "cluster_size=$cluster,compression_type=$type" source.raw a.qcow2
        reads "compressed $type $cluster" source.raw a.qcow2
        sound "compressed $type $cluster" a.qcow2
    done
done
qemu-img convert -c -O qcow2 -o compat=0.10 source.raw a.qcow2
reads "compressed version 2" source.raw a.qcow2
qemu-img convert -c -O qcow2 -o extended_l2=on,cluster_size=128k source.raw \
    a.qcow2
reads "compressed extended" source.raw a.qcow2

for bits in 1 2 4 8 16 32 64; do
    qemu-img convert -O qcow2 -o "refcount_bits=$bits" source.raw "b$bits.qcow2"
    reads "refcount width $bits" source.raw "b$bits.qcow2"
    sound "refcount width $bits" "b$bits.qcow2"
done

for raw in on off; do
    qemu-img convert -O qcow2 -o "data_file=d.$raw,data_file_raw=$raw" \
        source.raw d.qcow2
    reads "data file, raw $raw" source.raw d.qcow2
    sound "data file, raw $raw" d.qcow2
    status "data file, raw $raw: no other files" 6 \
        "$DISKSHIFT" map --no-refs d.qcow2
done

# raw <- v3 smaller clusters <- extended, larger than its base
qemu-img create -q -f qcow2 -b source.raw -F raw c1.qcow2
qemu-io -c 'write -P 7 1M 3M' -c 'write -z 5M 1M' c1.qcow2 >/dev/null
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k \
    -b c1.qcow2 -F qcow2 c2.qcow2 40M
qemu-io -c 'write -P 9 1M 12k' -c 'write -z 2M 8k' -c 'write -P 3 39M 4k' \
    c2.qcow2 >/dev/null
qemu-img convert -O raw c2.qcow2 c2.raw
reads "chain of three" c2.raw c2.qcow2
sound "chain of three" c2.qcow2
qemu-img rebase -u -b 'json:{"driver":"raw"}' -F raw c1.qcow2
status "json backing name" 3 "$DISKSHIFT" map c2.qcow2
said "json backing name is named" 'only a plain path'

# snapshots, one of a smaller disk
cp b16.qcow2 s.qcow2
qemu-img snapshot -c one s.qcow2
qemu-io -c 'write -P 7 1M 3M' s.qcow2 >/dev/null
qemu-img snapshot -c two s.qcow2
qemu-img resize -q s.qcow2 60M
qemu-io -c 'write -P 8 0 30M' s.qcow2 >/dev/null
sound "snapshots" s.qcow2
qemu-img convert -l two -O raw s.qcow2 two.raw
truncate -s $((24 * 1024 * 1024 + 2560)) two.raw
reads "snapshot by name" source.raw s.qcow2 --snapshot one
reads "snapshot by id" two.raw s.qcow2 --snapshot 2
qemu-img convert -O raw s.qcow2 now.raw
reads "the present beside snapshots" now.raw s.qcow2

printf 'secret words' >key
printf 'other words\n' >wrong
for form in cipher-mode=xts cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256 \
    cipher-mode=cbc,ivgen-alg=plain64,hash-alg=sha1 \
    cipher-mode=cbc,ivgen-alg=plain,cipher-alg=aes-128,hash-alg=sha512 \
    cipher-mode=xts,cipher-alg=aes-128,ivgen-alg=plain; do
    options=encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=50
    for option in ${form//,/ }; do options+=,encrypt.$option; done
    rm -f l.qcow2
    check "luks $form: made" "$lib_dir/qemu-img-luks" convert \
        --object secret,id=s,file=key -O qcow2 -o "$options" source.raw l.qcow2
    reads "luks $form" source.raw l.qcow2 --key-file key
done
sound "luks" l.qcow2 --key-file key
status "luks, wrong passphrase" 6 "$DISKSHIFT" map --key-file wrong l.qcow2
status "luks, no passphrase" 2 "$DISKSHIFT" map l.qcow2

# what we write
for form in compress=zlib compress=zstd compress=zlib,compat=0.10 \
    compress=zlib,cluster_size=4k compress=zstd,cluster_size=2M \
    compress=zlib,extended_l2=yes,cluster_size=16k \
    compress=zstd,extended_l2=yes compress=zlib,refcount_bits=1 \
    compress=zlib,refcount_bits=2,cluster_size=4k \
    compress=zstd,refcount_bits=64; do
    options=()
    for option in ${form//,/ }; do options+=(-o "$option"); done
    rm -f w.qcow2
    status "write $form" 0 "$DISKSHIFT" convert "${options[@]}" \
        source.raw w.qcow2 || continue
    check "write $form: qemu-img check" qemu-img check w.qcow2
    check "write $form: same" qemu-img compare source.raw w.qcow2
    sound "write $form" w.qcow2
done

# one leak, one fault: found by both, at the right place
python3 - b16.qcow2 <<'P'
import sys
b = bytearray(open(sys.argv[1], 'rb').read())
be = lambda o: int.from_bytes(b[o:o + 8], 'big')
block = be(be(48))
l2 = be(be(40)) & 0xfffffffffffe00
b[block + 2 * 20:block + 2 * 20 + 2] = b'\0\3'
open('leak.qcow2', 'wb').write(b)
b[block + 2 * 20:block + 2 * 20 + 2] = b'\0\0'
open('fault.qcow2', 'wb').write(b)
P
qemu-img check leak.qcow2 >/dev/null 2>&1
(($? != 0)) && case_ok "qemu-img sees the leak" ||
    case_fail "qemu-img sees the leak"
"$DISKSHIFT" check leak.qcow2 >out 2>&1
grep -q 'refcount of cluster 20, have 3 expect 1' out &&
    case_ok "leak is named" || case_fail "leak is named" "$(cat out)"
status "fault is corrupt" 4 "$DISKSHIFT" check fault.qcow2

# a broken entry of the refcount table, and a snapshot's broken pointer, are
# told once each
python3 - b16.qcow2 s.qcow2 <<'P'
import sys
b = bytearray(open(sys.argv[1], 'rb').read())
be = lambda o: int.from_bytes(b[o:o + 8], 'big')
table = be(48)
b[table + 16:table + 24] = (5 << 16 | 512).to_bytes(8, 'big')
open('entry.qcow2', 'wb').write(b)
b = bytearray(open(sys.argv[2], 'rb').read())
records = be(64)
b[records:records + 8] = (be(records) + 512).to_bytes(8, 'big')
open('record.qcow2', 'wb').write(b)
P
for image in entry record; do
    status "$image: corrupt" 4 "$DISKSHIFT" check --json $image.qcow2
    check "$image: told once" test \
        "$(jq .check.corruption_count out)" = 1
done
finish
