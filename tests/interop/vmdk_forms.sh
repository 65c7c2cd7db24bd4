#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vmdk_forms.sh xfs|btrfs
#
# VMDKs of many files, written and read: split disks up to 2 TiB, and disks
# that are nothing but lines into a file of another format.
source "$(dirname "$0")/../lib/lib.bash"

fs=$1
begin "vmdk_forms-$fs"
need vmdkinfo fallocate sha256sum
mount=$(fs_make "$fs" 6G)
plain=$(fs_make ext4 1G)
cd "$mount" || exit 1

split=$((2047 * 1024 * 1024))

# noise FILE OFFSET LENGTH
noise() {
    dd if=/dev/urandom of="$1" bs=512 seek=$(($2 / 512)) count=$(($3 / 512)) \
        conv=notrunc status=none
}

# borders FILE SIZE: data at each extent's ends and at the disk's.
borders() {
    local at
    truncate -s "$2" "$1"
    noise "$1" 0 $(($2 < 4096 ? $2 : 4096))
    for ((at = split; at < $2; at += split)); do
        noise "$1" $((at - 65536)) $(($2 - at < 131072 ? 65536 : 196608))
    done
    noise "$1" $(($2 - 512)) 512
    sync "$1"
}

# told KEY VALUE: the last conversion's report
told() {
    local have
    have=$(jq ".targets[0].$1" "$run/out")
    check "$what: $1 is $2" test "$have" = "$2"
}

# -- split disks --------------------------------------------------------------

split_case() { # SUBFORMAT SIZE EXTENTS [OPTION...]
    local what="$1 of $2${4:+ $5}" subformat=$1 size=$2 extents=$3
    local letter=s kind=sparse ragged=$(($2 % 4096))
    [[ $1 == *Flat ]] && letter=f kind=flat
    shift 3
    rm -f ./*
    borders a.raw "$size"
    status "$what" 0 "$DISKSHIFT" convert --json -O vmdk \
        -o "subformat=$subformat" "$@" a.raw t.vmdk || return
    # A flat extent ends with its data, in a block that can be shared.
    told copied_bytes "$([[ $letter == f ]] && echo 0 || echo $ragged)"
    told verify.identical true
    check "$what: $extents extents" test \
        "$(printf '%s ' t-"$letter"[0-9][0-9][0-9].vmdk | wc -w)" = "$extents"
    check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw t.vmdk \
        a.raw
    check "$what: qemu-img check" qemu-img check -q -f vmdk t.vmdk
    check "$what: vmdkinfo" grep -q "2GB extent $kind" <(vmdkinfo t.vmdk)
    check "$what: its extents" grep -q "extents:[[:space:]]*$extents\$" \
        <(vmdkinfo t.vmdk)
    check "$what: check" "$DISKSHIFT" check t.vmdk
    # Each extent by itself is as long as its line says.
    if [[ $letter == s ]]; then
        check "$what: the last capacity" test "$(od -An -t u8 -j 12 -N 8 \
            "t-s$(printf %03d "$extents").vmdk" | tr -d ' ')" = \
            $(((size - (extents - 1) * split) / 512))
        check "$what: no descriptor in it" test \
            "$(od -An -t x1 -j 28 -N 16 t-s001.vmdk | tr -d ' 0\n')" = ''
    fi
    status "$what: to vhdx" 0 "$DISKSHIFT" convert --json -O vhdx t.vmdk b.vhdx
    told copied_bytes $ragged
    check "$what: and it is the same" "$DISKSHIFT" compare b.vhdx a.raw
}

# The same out of pieces whose phases change from block to block.
drifting() {
    local what="a drifting VHD" file
    rm -f ./*
    mkdisk fragmented 64M 5 a.raw
    qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on a.raw \
        a.vhd
    for file in 8k 64k 1M; do
        status "$what to grains of $file" 0 "$DISKSHIFT" convert --json \
            --force -O vmdk -o subformat=twoGbMaxExtentSparse \
            -o "grain_size=$file" a.vhd t.vmdk || continue
        check "$what to grains of $file: as QEMU has it" qemu-img compare -q \
            -f vmdk -F raw t.vmdk a.raw
    done
    check "--force takes fresh names" test -e t-1-s001.vmdk -a -e t-s001.vmdk
    status "an extent that exists" 6 "$DISKSHIFT" convert -O vmdk \
        -o subformat=twoGbMaxExtentSparse a.vhd t-2.vmdk
    rm -f t-2.vmdk t-2-s001.vmdk
    touch t-2-s001.vmdk
    status "an extent that exists" 6 "$DISKSHIFT" convert -O vmdk \
        -o subformat=twoGbMaxExtentSparse a.vhd t-2.vmdk
    check "is not touched" test ! -s t-2-s001.vmdk -a ! -e t-2.vmdk
    status "grains that do not divide an extent" 2 "$DISKSHIFT" convert \
        -O vmdk -o subformat=twoGbMaxExtentSparse -o grain_size=2M a.vhd u.vmdk
    truncate -s $((1040 * split)) huge.raw
    for file in Flat Sparse; do
        status "more extents than there are files" 3 "$DISKSHIFT" convert \
            -O vmdk -o "subformat=twoGbMaxExtent$file" huge.raw u.vmdk
        said "says what to take" 'monolithicFlat'
    done
    check "nothing was begun" test ! -e u.vmdk -a -z "$(echo u*)"
}

# The last extent is cut off: that is said, not read as zeros.
truncated() {
    rm -f ./*
    borders a.raw $((split + 1024 * 1024))
    "$DISKSHIFT" convert -q -O vmdk -o subformat=twoGbMaxExtentFlat a.raw t.vmdk
    truncate -s -512 t-f002.vmdk
    status "a flat extent cut off" 4 "$DISKSHIFT" convert -O raw t.vmdk b.raw
    rm t-f002.vmdk
    status "an extent that is gone" 5 "$DISKSHIFT" info t.vmdk
}

# As many files as an image may have, and one more.
many_files() {
    local i
    rm -f ./*
    printf '%s\n' '# Disk DescriptorFile' version=1 CID=00000002 \
        parentCID=ffffffff 'createType="twoGbMaxExtentFlat"' >t.vmdk
    for ((i = 1; i <= 1039; i++)); do
        printf '%0512d' "$i" >"t-f$i.vmdk"
        echo "RW 1 FLAT \"t-f$i.vmdk\" 0" >>t.vmdk
    done
    status "1039 extents" 0 "$DISKSHIFT" convert -q -O raw t.vmdk b.raw
    # shellcheck disable=SC2046
    check "in their order" cmp b.raw <(cat $(printf 't-f%d.vmdk ' {1..1039}))
    echo 'RW 1 FLAT "t.more" 0' >>t.vmdk
    printf '%0512d' 1040 >t.more
    status "1040 extents" 3 "$DISKSHIFT" info t.vmdk
    said "says so" 'more than 1039 files'
}

# -- large --------------------------------------------------------------------

large() {
    local what="200 GiB" extent directory table
    rm -f ./*
    mkdisk far 200G 3 a.raw
    status "$what" 0 "$DISKSHIFT" convert --json -O vmdk \
        -o subformat=twoGbMaxExtentSparse a.raw t.vmdk
    told copied_bytes 0
    check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw t.vmdk \
        a.raw
    status "$what: back" 0 "$DISKSHIFT" convert --json --require-clone -O vhdx \
        t.vmdk b.vhdx
    check "$what: and it is the same" "$DISKSHIFT" compare b.vhdx a.raw
    # 1024 extents: with the descriptor more files than are usually allowed.
    what="2 TiB less an extent"
    rm -f ./*
    truncate -s $((1024 * 1024 * 1024 * 1024 * 2 - split)) a.raw
    for extent in 1 2 511 512 1000 1022 1023; do
        noise a.raw $((extent * split - 65536)) 131072
    done
    sync a.raw
    ulimit -Sn 256
    status "$what" 0 "$DISKSHIFT" convert --json -O vmdk \
        -o subformat=twoGbMaxExtentSparse a.raw t.vmdk
    told copied_bytes 0
    check "$what: 1024 extents" test "$(grep -c '^RW' t.vmdk)" = 1024
    status "$what: back" 0 "$DISKSHIFT" convert --json --require-clone \
        -O qcow2 t.vmdk b.qcow2
    check "$what: and it is the same" "$DISKSHIFT" compare b.qcow2 a.raw
    check "$what: vmdkinfo" grep -q 'extents:[[:space:]]*1024$' \
        <(vmdkinfo t.vmdk)
    # A grain in one of many files that lies on that file's own tables.
    directory=$(od -An -t u8 -j 56 -N 8 t-s700.vmdk)
    table=$(od -An -t u4 -j $((directory * 512)) -N 4 t-s700.vmdk)
    printf '\x08' | dd of=t-s700.vmdk bs=1 seek=$((table * 512)) conv=notrunc \
        status=none
    status "$what: a grain on a table" 4 "$DISKSHIFT" convert -O raw t.vmdk \
        b.raw
    said "is found" 't-s700.*overlap .*grain'
    (
        ulimit -n 300
        exec "$DISKSHIFT" convert -O vmdk -o subformat=twoGbMaxExtentFlat \
            a.raw u.vmdk
    ) >"$run/out" 2>"$run/err"
    check "too few descriptors are an error" test $? = 5
    said "is said" 'Too many open files'
    check "nothing is left" test -z "$(echo u*)"
}

# -- overlays -----------------------------------------------------------------

overlay() {
    "$DISKSHIFT" convert --json -O vmdk -o subformat=overlay "$@"
}

# Whether QEMU opens it to write: yes or no.
writable() {
    if qemu-io -f vmdk -c 'read 0 512' "$1" >/dev/null 2>&1; then
        echo yes
    else
        echo no
    fi
}

# overlay_case WHAT SOURCE RAW WRITABLE: both ways of it
overlay_case() {
    local what=$1 source=$2 raw=$3 before after
    before=$(sha256sum <"$source")
    rm -f o.vmdk o-*.vmdk
    status "$what" 0 overlay "$source" o.vmdk || return
    told copied_bytes 0
    told 'strategy' '"graft"'
    told verify.identical true
    check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw o.vmdk \
        "$raw"
    check "$what: vmdkinfo" vmdkinfo o.vmdk
    check "$what: QEMU may write: $4" test "$(writable o.vmdk)" = "$4"
    check "$what: says it when not" test "$(jq '[.targets[0].notes[]?
        | select(test("read-only"))] | length' "$run/out")" = \
        "$([[ $4 == no ]] && echo 1 || echo 0)"
    what+=", of the source's file"
    rm -f o.vmdk o-*.vmdk
    status "$what" 0 overlay --share-source-file "$source" o.vmdk || return
    told copied_bytes 0
    told 'strategy' '"reference"'
    check "$what: no file but the descriptor's and zeros" test \
        ! -e o-data.vmdk -a "$(du -ck o*.vmdk | tail -n1 | cut -f1)" -le 8
    check "$what: its lines name it" grep -q "FLAT \"$source\"" o.vmdk
    check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw o.vmdk \
        "$raw"
    check "$what: verify" "$DISKSHIFT" verify "$source" o.vmdk
    status "$what: to vhdx" 0 "$DISKSHIFT" convert --json -O vhdx o.vmdk b.vhdx
    check "$what: and it is the same" qemu-img compare -q -f vhdx -F raw \
        b.vhdx "$raw"
    rm -f b.vhdx
    after=$(sha256sum <"$source")
    check "$what: the source is untouched" test "$before" = "$after"
}

overlay_sources() { # RAW
    cp --reflink=auto "$1" a.raw
    qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on a.raw a.vhd
    qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on a.raw \
        dynamic.vhd
    qemu-img convert -f raw -O vhdx -o subformat=dynamic,block_size=1M a.raw \
        a.vhdx
    qemu-img convert -f raw -O qcow2 a.raw a.qcow2
    sync -f .
}

overlays() {
    rm -f ./*
    truncate -s $((40 * 1024 * 1024 + 512)) disk
    noise disk 0 $((5 * 1024 * 1024))
    noise disk $((9 * 1024 * 1024)) $((1024 * 1024))
    noise disk $((40 * 1024 * 1024)) 512
    overlay_sources disk
    overlay_case "overlay of raw" a.raw disk yes
    overlay_case "overlay of a fixed VHD" a.vhd disk yes
    overlay_case "overlay of a VHDX" a.vhdx disk no
    overlay_case "overlay of a qcow2" a.qcow2 disk no
    overlay_case "overlay of a dynamic VHD" dynamic.vhd disk no
    # Whatever else there is of the guest's disk is the source's.
    status "overlay of an overlay" 0 overlay a.vhdx first.vmdk
    status "overlay of an overlay" 0 overlay first.vmdk second.vmdk
    check "is as QEMU has it" qemu-img compare -q -f vmdk -F raw second.vmdk \
        disk
}

# What a guest writes goes to the copy, or to the source's own file.
written() {
    local before what="a write"
    before=$(sha256sum <a.vhd)
    rm -f o.vmdk o-*.vmdk
    status "overlay to be written" 0 overlay a.vhd o.vmdk
    qemu-io -f vmdk -c "write -P 7 1M 64k" o.vmdk >/dev/null
    check "$what to the copy spares the source" test "$(sha256sum <a.vhd)" = \
        "$before"
    rm -f o.vmdk o-*.vmdk
    status "overlay to be written" 0 overlay --share-source-file a.vhd o.vmdk
    qemu-io -f vmdk -c "write -P 7 1M 64k" o.vmdk >/dev/null
    check "$what to the source's file is in the source" qemu-io -r -f vpc \
        -c "read -P 7 1M 64k" a.vhd
    check "and both are the same" "$DISKSHIFT" compare a.vhd o.vmdk
}

elsewhere() {
    local what="overlay in another directory"
    mkdir -p there
    status "$what" 0 overlay --share-source-file a.qcow2 there/o.vmdk
    check "$what: names it in full" grep -q "FLAT \"$PWD/a.qcow2\"" \
        there/o.vmdk
    check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw \
        there/o.vmdk disk
    status "$what: is read with leave only" 6 "$DISKSHIFT" info there/o.vmdk
    status "$what: and so" 0 "$DISKSHIFT" compare --allow-refs / there/o.vmdk \
        disk
    rm -rf there
}

overlay_refused() {
    local what=refused
    rm -f ./*
    mkdisk fragmented 64M 5 f.raw
    qemu-img convert -f raw -O qcow2 f.raw f.qcow2
    status "hundreds of pieces" 0 overlay f.qcow2 many.vmdk
    check "are hundreds of lines" test "$(grep -c '^RW' many.vmdk)" -gt 400
    check "as QEMU has them" qemu-img compare -q -f vmdk -F raw many.vmdk f.raw
    mkdisk fragmented 128M 5 f.raw
    qemu-img convert -f raw -O qcow2 f.raw f.qcow2
    for what in "" --share-source-file; do
        status "more pieces than lines $what" 3 overlay $what f.qcow2 o.vmdk
        said "says what to take" 'monolithicSparse'
    done
    qemu-img convert -c -f raw -O qcow2 f.raw c.qcow2
    status "compressed clusters of the source's file" 3 overlay \
        --share-source-file c.qcow2 o.vmdk
    said "says so" 'do not lie in it'
    check "nothing was begun" test -z "$(echo o*)"
    status "holes of raw are no lines" 0 overlay f.raw o.vmdk
    check "one line serves" test "$(grep -c '^RW' o.vmdk)" = 1
    # What decodes goes behind the source's data.
    mkdisk dense 1M 5 c.raw
    qemu-img convert -c -f raw -O qcow2 c.raw c.qcow2
    status "compressed clusters" 0 overlay c.qcow2 d.vmdk
    check "are as QEMU has them" qemu-img compare -q -f vmdk -F raw d.vmdk c.raw
    status "a target that cannot" 2 "$DISKSHIFT" convert --share-source-file \
        -O vmdk c.raw m.vmdk
}

# Nothing that the lines do not name is in the data file.
overlay_leaks() {
    rm -f ./*
    qemu-img create -q -f qcow2 s.qcow2 16M
    qemu-io -f qcow2 -c "write -P 83 0 2M" s.qcow2 >/dev/null
    qemu-img snapshot -c old s.qcow2
    qemu-io -f qcow2 -c "write -P 65 0 2M" s.qcow2 >/dev/null
    sync s.qcow2
    check "the snapshot's data is in the source" grep -qa SSSSSSSS s.qcow2
    status "overlay of a disk with snapshots" 0 overlay s.qcow2 o.vmdk
    check "has the present's data" grep -qa AAAAAAAA o-data.vmdk
    check "and not the snapshot's" bash -c '! grep -qa SSSSSSSS o-data.vmdk'
    check "nor the source's tables" bash -c '! grep -qa QFI o-data.vmdk'
}

unshared() {
    local what="overlay on ext4"
    rm -f "$plain"/*
    truncate -s 40M "$plain/disk"
    noise "$plain/disk" 0 $((5 * 1024 * 1024))
    noise "$plain/disk" $((9 * 1024 * 1024)) $((1024 * 1024))
    cd "$plain" || exit 1
    overlay_sources disk
    for source in a.raw a.vhd a.vhdx a.qcow2; do
        what="overlay of $source on ext4"
        rm -f o.vmdk o-*.vmdk
        status "$what" 0 overlay --share-source-file --require-clone \
            "$source" o.vmdk
        told copied_bytes 0
        check "$what: as QEMU has it" qemu-img compare -q -f vmdk -F raw \
            o.vmdk disk
        rm -f o.vmdk o-*.vmdk
        status "$what: a copy" 0 overlay "$source" o.vmdk
        check "$what: a copy, as QEMU has it" qemu-img compare -q -f vmdk \
            -F raw o.vmdk disk
        status "$what: a copy that is not to be" 6 overlay --require-clone \
            "$source" p.vmdk
    done
    cd "$mount" || exit 1
}

for subformat in Flat Sparse; do
    split_case twoGbMaxExtent$subformat $((2 * split + 314573312)) 3
    split_case twoGbMaxExtent$subformat $((2 * split)) 2
    split_case twoGbMaxExtent$subformat $((split + 512)) 2
    split_case twoGbMaxExtent$subformat 512 1
done
split_case twoGbMaxExtentSparse $((split + 314573312)) 2 -o grain_size=8k
split_case twoGbMaxExtentSparse $((split + 314573312)) 2 -o grain_size=1M
drifting
truncated
many_files
overlays
written
elsewhere
overlay_refused
overlay_leaks
unshared
large
finish
