#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ova.sh xfs|btrfs
#
# Packages made with tar, sha256sum and qemu-img: each disk in them is a
# source, read in place.
source "$(dirname "$0")/../lib/lib.bash"

fs=$1
begin "ova-$fs"
need tar sha256sum sha1sum
mount=$(fs_make "$fs" 4G)
cd "$mount" || exit 1

mkdisk sparse 24M 1 one.raw
mkdisk dense $((5 * 1024 * 1024 + 512)) 2 two.raw
mkdisk sparse 12M 3 three.raw
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized one.raw one.vmdk
qemu-img convert -f raw -O vmdk -o subformat=monolithicSparse two.raw two.vmdk
qemu-img convert -f raw -O qcow2 three.raw three.qcow2
qemu-img convert -f raw -O vdi three.raw three.vdi
qemu-img convert -f raw -O vhdx three.raw three.vhdx
qemu-img convert -f raw -O vpc -o force_size=on three.raw three.vhd

# descriptor DISK...
descriptor() {
    local disk number=0
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo '<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">'
    echo '<ovf:References>'
    for disk in "$@"; do
        number=$((number + 1))
        echo "<ovf:File ovf:id=\"file$number\" ovf:href=\"$disk\"" \
            "ovf:size=\"$(stat -c %s "$disk")\"/>"
    done
    echo '</ovf:References><ovf:DiskSection><ovf:Info>Disks</ovf:Info>'
    number=0
    for disk in "$@"; do
        number=$((number + 1))
        echo "<ovf:Disk ovf:diskId=\"disk$number\" ovf:capacity=\"1\"" \
            "ovf:fileRef=\"file$number\"/>"
    done
    echo '</ovf:DiskSection></ovf:Envelope>'
}

# package OVA TAR_FORMAT sha256|sha1|none DISK...
package() {
    local ova=$1 format=$2 algorithm=$3 file
    local -a members=(vm.ovf)
    shift 3
    descriptor "$@" >vm.ovf
    if [[ $algorithm != none ]]; then
        for file in vm.ovf "$@"; do
            echo "${algorithm^^}($file)= $("${algorithm}sum" <"$file" |
                cut -d' ' -f1)"
        done >vm.mf
        members+=(vm.mf)
    fi
    tar --format="$format" -cf "$ova" "${members[@]}" "$@"
    sync "$ova"
}

converts() { # WHAT OVA RAW [OPTION...]
    local what=$1 ova=$2 raw=$3 before
    shift 3
    before=$(sha256sum <"$ova")
    rm -f t.qcow2 t.raw
    check "$what -> qcow2" "$DISKSHIFT" convert -q "$@" "$ova" t.qcow2
    check "$what: the contents" qemu-img compare -q -f qcow2 -F raw t.qcow2 "$raw"
    check "$what -> raw" "$DISKSHIFT" convert -q -O raw "$@" "$ova" t.raw
    check "$what: the bytes" cmp t.raw "$raw"
    # QEMU's VHDX has room that nothing refers to: a leak, no corruption.
    "$DISKSHIFT" check --json "$@" "$ova" >"$run/out" 2>&1
    check "$what: check" test "$(jq .check.corruption_count "$run/out")" = 0
    check "$what: the source is as it was" \
        test "$before" = "$(sha256sum <"$ova")"
}

# flip FILE OFFSET: that byte becomes another.
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 0x55)))" |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
    sync "$1"
}

# member_offset OVA [OPTION...]
member_offset() {
    "$DISKSHIFT" info --json "$@" | jq '[.. | .member_offset_bytes? // empty][0]'
}

formats_of_tar() {
    local format
    for format in ustar gnu pax; do
        package a.ova $format sha256 one.vmdk
        converts "stream in a $format archive" a.ova one.raw
    done
}

formats_inside() {
    local disk
    for disk in three.qcow2 three.vdi three.vhdx three.vhd; do
        package a.ova ustar sha1 "$disk"
        converts "$disk in an archive" a.ova three.raw
    done
}

several_disks() {
    package a.ova ustar sha256 one.vmdk two.vmdk three.qcow2
    converts "the first by number" a.ova one.raw --member 1
    converts "the second by id" a.ova two.raw --member disk2
    converts "the third by file" a.ova three.raw --member three.qcow2
    status "none named" 2 "$DISKSHIFT" info a.ova &&
        said "lists them" 'disk1, disk2, disk3'
    status "one that is not there" 2 "$DISKSHIFT" info --member 4 a.ova
    status "a member of what is no package" 2 \
        "$DISKSHIFT" info --member 1 two.vmdk
    check "info names the disk" grep -q '"member": "two.vmdk"' \
        <("$DISKSHIFT" info --json --member 2 a.ova)
}

# A sparse VMDK and a VDI whose data lies on pages of the archive are shared.
shared_in_place() {
    local pad
    "$DISKSHIFT" convert -q -O vdi three.raw aligned.vdi
    # The header of the disk ends on a page: fill the descriptor's member.
    pad=$((4096 - 2 * 512))
    descriptor aligned.vdi >vm.ovf
    truncate -s $((pad)) padding
    { cat vm.ovf && tr '\0' ' ' <padding; } | head -c $pad >vm2.ovf
    mv vm2.ovf vm.ovf
    tar --format=ustar -cf a.ova vm.ovf aligned.vdi
    sync a.ova
    rm -f t.qcow2
    status "an aligned member: nothing is copied" 0 \
        "$DISKSHIFT" convert -q --require-clone a.ova t.qcow2
    check "its contents" qemu-img compare -q -f qcow2 -F raw t.qcow2 three.raw
    check "its blocks are shared" test \
        "$(fiemap a.ova -- t.qcow2 | cut -d' ' -f2)" -gt 1000000
}

damaged() {
    local at
    package a.ova ustar sha256 one.vmdk
    cp --reflink=never a.ova bad.ova
    # The last byte of the descriptor: blanks may not change either.
    at=$((512 + $(stat -c %s vm.ovf) - 1))
    printf ' ' | dd of=bad.ova bs=1 seek=$at conv=notrunc status=none
    status "another descriptor than the manifest's" 4 "$DISKSHIFT" info bad.ova &&
        said "says whose digest" "SHA256 of 'vm.ovf'"
    cp --reflink=never a.ova bad.ova
    at=$(($("$DISKSHIFT" info --json a.ova | jq '[.. |
        .member_offset_bytes? // empty][0]') + 100))
    printf 'X' | dd of=bad.ova bs=1 seek=$at conv=notrunc status=none
    status "another disk than the manifest's: check" 4 \
        "$DISKSHIFT" check bad.ova
    check "says whose digest" grep -q "SHA256 of 'one.vmdk'" "$run/out"
    truncate -s $(($(stat -c %s a.ova) - 20000)) a.ova
    status "truncated" 4 "$DISKSHIFT" info a.ova && said "says so" truncated
}

# What a conversion reads is verified before anything is made of it.
verified_before_conversion() {
    local algorithm at offset
    for algorithm in sha1 sha256 sha512; do
        package a.ova ustar $algorithm one.vmdk
        offset=$(member_offset a.ova)
        for at in 70000 $(($(stat -c %s one.vmdk) - 1)); do
            cp --reflink=never a.ova bad.ova
            flip bad.ova $((offset + at))
            rm -f t.qcow2
            status "$algorithm, byte $at of the disk is another: no conversion" \
                4 "$DISKSHIFT" convert -q bad.ova t.qcow2 &&
                said "says which digest" \
                    "${algorithm^^} of 'one.vmdk', have [0-9a-f]+ expect $(
                        "${algorithm}sum" <one.vmdk | cut -d' ' -f1)"
            check "no target is left" test -z "$(echo t.qcow2*)"
        done
    done
    # Padding between members is nobody's.
    package a.ova ustar sha256 two.vmdk one.vmdk
    rm -f t.qcow2
    status "one of two disks, verified" 0 \
        "$DISKSHIFT" convert --member 2 a.ova t.qcow2
    check "says that it was" grep -q 'verified against' "$run/out"
    flip a.ova $(($(member_offset a.ova --member 1) + 70000))
    rm -f t.qcow2
    status "the other disk is not looked at" 0 \
        "$DISKSHIFT" convert -q --member 2 a.ova t.qcow2
    package a.ova ustar none one.vmdk
    rm -f t.qcow2
    status "a package without a manifest" 0 "$DISKSHIFT" convert a.ova t.qcow2
    check "says so" grep -q 'has no manifest' "$run/out"
    check "info says so" grep -q '"manifest": "none"' \
        <("$DISKSHIFT" info --json a.ova)
}

# A descriptor with its disks beside it.
bare() {
    local at
    rm -rf pack && mkdir pack
    cp one.vmdk three.qcow2 pack/
    (cd pack && descriptor one.vmdk three.qcow2 >vm.ovf &&
        for at in vm.ovf one.vmdk three.qcow2; do
            echo "SHA256($at)= $(sha256sum <"$at" | cut -d' ' -f1)"
        done >vm.mf)
    sync -f pack
    converts "a bare descriptor, first disk" pack/vm.ovf one.raw --member disk1
    converts "a bare descriptor, second disk" pack/vm.ovf three.raw \
        --member three.qcow2
    check "the file that is shared is the disk's" test \
        "$("$DISKSHIFT" info --json --member 2 pack/vm.ovf |
            jq -r '[.. | strings | select(endswith("three.qcow2"))] | length')" \
        -ge 2
    rm -f t.qcow2
    flip pack/three.qcow2 300000
    status "its disk is damaged" 4 \
        "$DISKSHIFT" convert -q --member 2 pack/vm.ovf t.qcow2 &&
        said "says whose digest" "SHA256 of 'three.qcow2'"
    check "no target is left" test -z "$(echo t.qcow2*)"
    status "its disk is damaged: check" 4 "$DISKSHIFT" check --member 2 pack/vm.ovf
    sed -i 's/capacity="1"/capacity="2"/' pack/vm.ovf
    status "its descriptor is another" 4 \
        "$DISKSHIFT" convert -q --member 1 pack/vm.ovf t.qcow2 &&
        said "says whose digest" "SHA256 of 'vm.ovf'"
    rm pack/vm.mf
    status "without a manifest" 0 \
        "$DISKSHIFT" convert --member 1 pack/vm.ovf t.qcow2
    check "says so" grep -q 'has no manifest' "$run/out"
    status "references are forbidden" 6 \
        "$DISKSHIFT" info --no-refs --member 1 pack/vm.ovf
    mkdir pack/sub && mv pack/three.qcow2 pack/sub/
    status "its disk is elsewhere" 5 "$DISKSHIFT" info --member 2 pack/vm.ovf
    sed -i 's/href="one.vmdk"/href="..\/one.vmdk"/' pack/vm.ovf
    status "its disk is above" 6 "$DISKSHIFT" info --member 1 pack/vm.ovf
    status "which may be allowed" 0 \
        "$DISKSHIFT" info --member 1 --allow-refs . pack/vm.ovf
    sed -i 's/three.qcow2/vm.mf/' pack/vm.ovf
    ln -s "$PWD/two.vmdk" pack/vm.mf
    status "a manifest that a link leads away to" 6 \
        "$DISKSHIFT" info --member 1 --allow-refs . pack/vm.ovf
}

foreign() {
    echo hello >readme
    tar --format=ustar -cf t.tar readme one.raw
    check "a tar that is no package is raw" grep -q '"format": "raw"' \
        <("$DISKSHIFT" info --json t.tar)
    status "unless it is called one" 4 "$DISKSHIFT" info -f ova t.tar
    cp one.raw disk.img
    package a.ova ustar sha256 disk.img
    status "a raw disk inside" 3 "$DISKSHIFT" info a.ova
    # A descriptor inside must not reach files outside.
    qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat two.raw \
        flat.vmdk
    package a.ova ustar sha256 flat.vmdk
    status "a descriptor that refers elsewhere" 6 "$DISKSHIFT" info a.ova
}

formats_of_tar
formats_inside
several_disks
shared_in_place
damaged
verified_before_conversion
bare
foreign
finish
