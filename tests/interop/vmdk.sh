#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vmdk.sh xfs|btrfs
#
# VMDK's further forms: deltas over parents of every kind, streams read and
# written, ESX's sparse files (drawn here, judged by QEMU), and `check`.
source "$(dirname "$0")/../lib/lib.bash"

fs=$1
begin "vmdk-$fs"
need perl vmdkinfo bzcat
mount=$(fs_make "$fs" 3G)
cd "$mount" || exit 1

create() { qemu-img create -q -f vmdk "$@"; }

# put IMAGE PATTERN OFFSET LENGTH
put() { qemu-io -f vmdk -c "write -P $2 $3 $4" "$1" >/dev/null; }

# same WHAT VMDK [OPTION...]: as we flatten it and as QEMU reads it.
same() {
    local what=$1 image=$2
    shift 2
    rm -f flat.raw flat.qcow2
    status "$what: to raw" 0 "$DISKSHIFT" convert --json -O raw "$@" "$image" \
        flat.raw || return
    check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw \
        "$image" flat.raw
    status "$what: to qcow2" 0 "$DISKSHIFT" convert --json -O qcow2 "$@" \
        "$image" flat.qcow2 || return
    check "$what: the same" qemu-img compare -q -f qcow2 -F raw flat.qcow2 \
        flat.raw
}

# -- chains -------------------------------------------------------------------

chain() { # SUBFORMAT
    rm -f ./*.vmdk
    create -o "subformat=$1" base.vmdk 8M
    put base.vmdk 1 0 4M
    put base.vmdk 2 7M 192k
    create -b base.vmdk -F vmdk mid.vmdk
    put mid.vmdk 3 1M 1M
    create -b mid.vmdk -F vmdk -o zeroed_grain=on top.vmdk
    put top.vmdk 4 1536k 64k
    qemu-io -f vmdk -c "write -z 0 128k" top.vmdk >/dev/null
    same "three deep over $1" top.vmdk
    check "three deep over $1: nothing is copied" \
        test "$(jq '.targets[0].copied_bytes' "$run/out")" = 0
}

wrong_parent() {
    chain monolithicSparse
    cp base.vmdk kept
    put base.vmdk 9 6M 64k
    status "a base written since" 4 "$DISKSHIFT" info top.vmdk
    said "names both CIDs" 'CID, have [0-9a-f]{8} expect [0-9a-f]{8}'
    mv kept base.vmdk
    status "the base as it was" 0 "$DISKSHIFT" info top.vmdk
    mkdir away && mv base.vmdk away/
    status "a base elsewhere" 5 "$DISKSHIFT" info top.vmdk
    mv away/base.vmdk . && rmdir away
    cp mid.vmdk base.vmdk
    status "a loop" 4 "$DISKSHIFT" info top.vmdk
}

moved() {
    rm -f ./*.vmdk
    mkdir here there
    create here/base.vmdk 1M
    put here/base.vmdk 5 0 64k
    create -b "$PWD/here/base.vmdk" -F vmdk here/top.vmdk
    mv here/base.vmdk here/top.vmdk there/
    status "a chain that was moved, by its base's name" 0 \
        "$DISKSHIFT" convert -q -O raw there/top.vmdk moved.raw
    check "has the base's data" cmp -n 65536 moved.raw \
        <(head -c 65536 /dev/zero | tr '\0' '\5')
    rm -rf here there
}

# -- streams ------------------------------------------------------------------

streams() {
    local size
    for size in 512 65024 33555456 100000256; do
        rm -f ./*.vmdk s.raw
        mkdisk sparse "$size" 7 s.raw
        truncate -s $(((size + 511) / 512 * 512)) s.raw
        qemu-img convert -f raw -O vmdk -o subformat=streamOptimized s.raw \
            q.vmdk
        same "QEMU's stream of $size" q.vmdk
        status "a stream of $size" 0 "$DISKSHIFT" convert --json -O vmdk \
            -o subformat=streamOptimized s.raw ours.vmdk || continue
        check "a stream of $size: as QEMU has it" \
            qemu-img compare -q -f vmdk -F raw ours.vmdk s.raw
        check "a stream of $size: qemu-img check" \
            qemu-img check -q -f vmdk ours.vmdk
        check "a stream of $size: vmdkinfo" grep -q "Stream optimized" \
            <(vmdkinfo ours.vmdk)
        check "a stream of $size: check" "$DISKSHIFT" check ours.vmdk
        mv ours.vmdk renamed.vmdk
        same "a renamed stream of $size" renamed.vmdk
    done
    mkdisk dense 4M 3 dense.raw
    status "a stream of noise" 0 "$DISKSHIFT" convert -q -O vmdk \
        -o subformat=streamOptimized dense.raw noise.vmdk
    check "a stream of noise: as QEMU has it" \
        qemu-img compare -q -f vmdk -F raw noise.vmdk dense.raw
    truncate -s -512 noise.vmdk
    status "a stream without its end" 4 "$DISKSHIFT" info noise.vmdk
    said "says so" 'truncated'
}

# A grain's data is damaged: the conversion fails and leaves nothing.
damaged_stream() {
    rm -f ./*.vmdk
    mkdisk dense 1M 5 d.raw
    "$DISKSHIFT" convert -q -O vmdk -o subformat=streamOptimized d.raw d.vmdk
    dd if=/dev/zero of=d.vmdk bs=1 seek=65600 count=64 conv=notrunc status=none
    status "a damaged grain" 4 "$DISKSHIFT" convert -O raw d.vmdk d2.raw
    check "no target" test ! -e d2.raw
}

sample() {
    local packed=$DS_SAMPLES/iotest-version3.vmdk.bz2
    local digest=0859bb3397bc1d30fa979c80a289ce98bfd6c1141a64594d6f3cc8cd68218faf
    if [[ ! -r $packed ]]; then
        case_skip "VMware's stream" "no $packed"
        return
    fi
    bzcat "$packed" >sample.vmdk
    status "VMware's stream" 0 "$DISKSHIFT" convert -q -O raw sample.vmdk \
        sample.raw
    check "its digest" test "$(sha256sum <sample.raw | cut -c1-64)" = $digest
    rm -f sample.raw
}

# -- ESX's sparse files -------------------------------------------------------

# Little-endian words at places of a file: draw FILE SIZE < "OFFSET WIDTH VALUE"
draw() {
    truncate -s "$2" "$1"
    # shellcheck disable=SC2016
    perl -e 'open(my $f, "+<:raw", $ARGV[0]) or die;
        while (<STDIN>) {
            my ($at, $width, $value) = map { /^0x/i ? hex : $_ } split;
            seek($f, $at, 0);
            print $f pack($width == 8 ? "Q<" : "L<", $value);
        }
        close($f) or die' "$1"
}

# fill FILE OFFSET LENGTH: bytes that say where they are
fill() {
    seq -f %011.0f "$2" 12 $(($2 + $3)) | head -c "$3" |
        dd of="$1" bs=512 seek=$(($2 / 512)) conv=notrunc status=none
}

descriptor() { # FILE TYPE KIND SECTORS EXTENT
    printf '%s\n' '# Disk DescriptorFile' version=1 CID=00000002 \
        "parentCID=$(grep -aoE 'CID=[0-9a-f]+' base.vmdk | head -n1 | cut -c5-)" \
        "createType=\"$2\"" 'parentFileNameHint="base.vmdk"' \
        "RW $4 $3 \"$5\"" 'ddb.adapterType = "lsilogic"' >"$1"
}

cowd() {
    rm -f ./*.vmdk
    create -o subformat=monolithicFlat base.vmdk $((8200 * 512))
    put base.vmdk 6 0 $((8200 * 512))
    descriptor delta.vmdk vmfsSparse VMFSSPARSE 8200 d-delta.vmdk
    draw d-delta.vmdk $((75 * 512)) <<-'.'
	0 4 0x44574f43
	4 4 1
	8 4 3
	12 4 8200
	16 4 1
	20 4 4
	24 4 3
	28 4 75
	2048 4 5
	2056 4 37
	2560 4 69
	2564 4 70
	2572 4 71
	18940 4 72
	18944 4 73
	18972 4 74
	.
    fill d-delta.vmdk $((69 * 512)) $((6 * 512))
    same "a COWD delta" delta.vmdk
}

sesparse() {
    local present=0x10000000 word at=0
    rm -f ./*.vmdk
    create -o subformat=monolithicFlat base.vmdk $((65536 * 512 + 8192))
    put base.vmdk 6 0 $((65536 * 512 + 8192))
    descriptor delta.vmdk seSparse SESPARSE 65552 d-sesparse.vmdk
    {
        for word in 0xcafebabe 0x200000001 65552 8 64 0 0 0 0 0 1 1 2 2 \
            2048 2048 4096 8 4104 192 4296 8 4304 8 4312 40000; do
            echo "$at 8 $word"
            at=$((at + 8))
        done
        echo "512 8 0xcafecafe"
        echo "$((4096 * 512)) 8 ${present}00000001"
        echo "$((4096 * 512 + 16)) 8 ${present}00000000"
        at=$(((4104 + 64) * 512)) # table 1: the first 16 MiB
        echo "$at 8 0x3002000000000000"
        echo "$((at + 8)) 8 0x3003000000000000"
        echo "$((at + 16)) 8 0x2000000000000000"
        echo "$((at + 24)) 8 0x1000000000000000"
        echo "$((at + 40)) 8 0x3001000000000001" # grain 4097
        echo "$((at + 32760)) 8 0x3000000000000000"
        at=$((4104 * 512)) # table 0: the last grains
        echo "$at 8 0x3004000000000000"
        echo "$((at + 8)) 8 0x3005000000000000"
    } | draw d-sesparse.vmdk $((4312 * 512 + 4098 * 4096))
    fill d-sesparse.vmdk $((4312 * 512)) $((6 * 4096))
    fill d-sesparse.vmdk $((4312 * 512 + 4097 * 4096)) 4096
    same "a seSparse delta" delta.vmdk
    printf '\1' | dd of=d-sesparse.vmdk bs=1 seek=536 conv=notrunc status=none
    status "a seSparse delta with a journal to replay" 3 \
        "$DISKSHIFT" convert -O raw delta.vmdk replay.raw
    said "says so" 'journal'
}

# -- check --------------------------------------------------------------------

copies() {
    rm -f ./*.vmdk
    create c.vmdk 64M
    put c.vmdk 1 0 8M
    status "check of a good disk" 0 "$DISKSHIFT" check c.vmdk
    # The redundant directory's first table, by the header's rgdOffset.
    local directory table
    directory=$(od -An -t u8 -j 48 -N 8 c.vmdk)
    table=$(od -An -t u4 -j $((directory * 512)) -N 4 c.vmdk)
    printf '\377' | dd of=c.vmdk bs=1 seek=$((table * 512 + 40)) conv=notrunc \
        status=none
    status "check of a disk whose copy differs" 4 "$DISKSHIFT" check c.vmdk
    check "names the entry" grep -q 'redundant grain tables' "$run/out" \
        "$run/err"
}

for subformat in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
    twoGbMaxExtentFlat; do
    chain $subformat
done
wrong_parent
moved
streams
damaged_stream
sample
cowd
sesparse
copies
finish
