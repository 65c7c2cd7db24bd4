#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ova_write.sh xfs|btrfs
#
# Packages that we write, taken apart with tar, sha256sum and an XML parser;
# their disk is judged by qemu-img.
source "$(dirname "$0")/../lib/lib.bash"

fs=$1
begin "ova-write-$fs"
need tar sha256sum cmp
mount=$(fs_make "$fs" 4G)
cd "$mount" || exit 1

mkdisk sparse 24M 1 one.raw
mkdisk dense $((5 * 1024 * 1024 + 512)) 2 odd.raw
truncate -s 40M empty.raw
qemu-img convert -f raw -O qcow2 one.raw one.qcow2
qemu-img convert -f raw -O vhdx one.raw one.vhdx

# attribute NAME: of the descriptor in out/.
attribute() {
    grep -ohE "$1=\"[^\"]*\"" out/*.ovf | head -1 | cut -d'"' -f2
}

# element NAME: all values, in order.
element() {
    grep -ohE "<$1>[^<]*" out/*.ovf | cut -d'>' -f2 | tr '\n' ' '
}

# What any importer looks at first. NAME is that of the members.
is_package() { # WHAT OVA NAME RAW
    local what=$1 ova=$2 name=$3 raw=$4 size tail
    size=$(stat -c %s "$ova")
    tail=$(tail -c 1024 "$ova" | tr -d '\0' | wc -c)
    check "$what: descriptor, manifest, disk" test \
        "$(tar -tf "$ova" | tr '\n' ' ')" = \
        "$name.ovf $name.mf $name-disk1.vmdk "
    check "$what: whole blocks, the last two of zeros" \
        test $((size % 512)) = 0 -a "$tail" = 0
    rm -rf out && mkdir out
    check "$what: unpacked by tar" tar -xf "$ova" -C out
    (cd out && sed -E 's/^SHA256\((.*)\)= ([0-9a-f]{64})$/\2  \1/' "$name.mf" \
        >sums)
    check "$what: two files in the manifest" test "$(wc -l <out/sums)" = 2
    check "$what: the digests" sh -c 'cd out && sha256sum --strict -c sums'
    if command -v xmllint >/dev/null; then
        check "$what: well-formed" xmllint --noout "out/$name.ovf"
    else
        case_skip "$what: well-formed" "no xmllint"
    fi
    check "$what: href" test "$(attribute ovf:href)" = "$name-disk1.vmdk"
    check "$what: size of the file" test "$(attribute ovf:size)" = \
        "$(stat -c %s "out/$name-disk1.vmdk")"
    check "$what: capacity" test "$(attribute ovf:capacity)" = \
        "$(stat -c %s "$raw")"
    check "$what: a stream" grep -q 'create type: streamOptimized' \
        <(qemu-img info "out/$name-disk1.vmdk")
    check "$what: the disk by QEMU" qemu-img compare -q -F raw \
        "out/$name-disk1.vmdk" "$raw"
    rm -f back.raw
    check "$what: read back" "$DISKSHIFT" convert -q -O raw "$ova" back.raw
    check "$what: the bytes" cmp back.raw "$raw"
    check "$what: check" "$DISKSHIFT" check "$ova"
}

sources() {
    local source
    for source in one.raw one.qcow2 one.vhdx; do
        rm -f vm.ova
        status "$source -> ova" 0 "$DISKSHIFT" convert -q -O ova "$source" vm.ova
        is_package "$source" vm.ova vm one.raw
    done
    rm -f big.OVA
    status "by the ending of its name" 0 "$DISKSHIFT" convert -q odd.raw big.OVA
    is_package "an odd size" big.OVA big odd.raw
    status "a package of a package" 0 "$DISKSHIFT" convert -q big.OVA again.ova
    is_package "a package of a package" again.ova again odd.raw
    status "an empty disk" 0 "$DISKSHIFT" convert -q empty.raw empty.ova
    is_package "an empty disk" empty.ova empty empty.raw
    check "an empty disk: nothing populated" \
        test "$(attribute ovf:populatedSize)" = 0
    status "beside other targets" 0 "$DISKSHIFT" convert -q \
        --to ova=two.ova --to qcow2=two.qcow2 one.raw
    is_package "beside other targets" two.ova two one.raw
    cp one.raw large.raw && truncate -s 48M large.raw
    status "a larger disk" 0 \
        "$DISKSHIFT" convert -q --resize 48M one.raw large.ova
    is_package "a larger disk" large.ova large large.raw
}

machine() {
    rm -f vm.ova
    status "standard options" 0 "$DISKSHIFT" convert -q one.raw vm.ova
    is_package "standard options" vm.ova vm one.raw
    check "one CPU, 1 GiB" test "$(element rasd:VirtualQuantity)" = "1 1024 "
    check "on an LSI Logic" test "$(element rasd:ResourceSubType)" = "lsilogic "
    check "CPU, memory, controller, disk" \
        test "$(element rasd:ResourceType)" = "3 4 6 17 "
    check "BIOS" test "$(attribute vmw:value)" = bios
    check "64-bit, of another kind" \
        test "$(grep -c 'ovf:id="102" vmw:osType="otherGuest64"' out/vm.ovf)" = 1
    rm -f vm.ova
    status "all options" 0 "$DISKSHIFT" convert -q -o 'name=A <b> & "ü"' \
        -o cpus=4 -o memory=6G -o os=linux -o firmware=efi -o adapter=ahci \
        one.raw vm.ova
    is_package "all options" vm.ova 'A__b________' one.raw
    check "the name" test "$(element Name)" = 'A &lt;b&gt; &amp; &quot;ü&quot; '
    check "4 CPUs, 6 GiB" test "$(element rasd:VirtualQuantity)" = "4 6144 "
    check "on AHCI" test "$(element rasd:ResourceType)" = "3 4 20 17 "
    check "EFI" test "$(attribute vmw:value)" = efi
    check "Linux" grep -q 'ovf:id="101" vmw:osType="otherLinux64Guest"' out/*.ovf
    rm -f vm.ova
    status "IDE, a system by number" 0 \
        "$DISKSHIFT" convert -q -o adapter=ide -o os=96 one.raw vm.ova
    is_package "IDE" vm.ova vm one.raw
    check "on IDE" test "$(element rasd:ResourceType)" = "3 4 5 17 "
    check "the disk says so" grep -aq 'adapterType = "ide"' out/vm-disk1.vmdk
    check "Debian" grep -q 'OperatingSystemSection ovf:id="96">' out/vm.ovf
}

refused() {
    local option
    rm -f vm.ova
    for option in cpus=0 cpus=1025 cpus=x memory=3M memory=5M memory=65T \
        os=beos os=65536 firmware=uefi adapter=nvme name= size=1 \
        name="$(printf 'a\nb')" name="$(printf '\xff')" \
        name="$(printf 'x%.0s' {1..81})"; do
        status "refused: ${option@Q}" 2 \
            "$DISKSHIFT" convert -q -o "$option" one.raw vm.ova
    done
    status "refused: a name of the file that XML cannot hold" 2 \
        "$DISKSHIFT" convert -q one.raw "$(printf 'a\xffb.ova')"
    status "which name= replaces" 0 \
        "$DISKSHIFT" convert -q -o name=c one.raw "$(printf 'a\xffb.ova')"
    check "no target is left" test -z "$(echo vm.ova*)"
    status "clones are required" 6 \
        "$DISKSHIFT" convert -q --require-clone one.raw vm.ova
    touch vm.ova
    status "the target exists" 6 "$DISKSHIFT" convert -q one.raw vm.ova
    status "unless forced" 0 "$DISKSHIFT" convert -q --force one.raw vm.ova
    is_package "forced" vm.ova vm one.raw
}

planned() {
    rm -f vm.ova
    status "plan" 0 "$DISKSHIFT" plan --json one.raw vm.ova
    check "plan touches nothing" test -z "$(echo vm.ova*)"
    status "plan, with operations" 0 "$DISKSHIFT" plan --ops one.raw vm.ova
    status "measure" 0 "$DISKSHIFT" measure --json -O ova one.raw
    "$DISKSHIFT" convert -q one.raw vm.ova
    check "measure: enough" test \
        "$(jq '[.. | .file_size_bytes? // empty, .size_bytes? // empty] | max' \
            "$run/out")" -ge "$(stat -c %s vm.ova)"
}

damaged() {
    local at
    rm -f vm.ova
    "$DISKSHIFT" convert -q one.raw vm.ova
    at=$(($("$DISKSHIFT" info --json vm.ova |
        jq '[.. | .member_offset_bytes? // empty][0]')))
    check "the disk begins on a page" test $((at % 4096)) = 0
    printf '\x5a' | dd of=vm.ova bs=1 seek=$((at + 70001)) conv=notrunc \
        status=none
    sync vm.ova
    rm -f t.raw
    status "our own manifest finds a byte that is another" 4 \
        "$DISKSHIFT" convert -q vm.ova t.raw &&
        said "says whose digest" "SHA256 of 'vm-disk1.vmdk'"
}

sources
machine
refused
planned
damaged
finish
