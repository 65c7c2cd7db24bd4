#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Streams and packages through VMware's own importers (vmware_import.go): what
# arrives at the host is our file byte for byte, the host has been asked for the
# right disk, and what it makes of the stream is the guest's.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

mkdir -p "$DS_TEST_DIR"
kit=$(realpath "$DS_TEST_DIR/..")/govmomi
out=$("$tests_dir/lib/make_govmomi" "$kit" 2>&1) || {
    (($? == 77)) && echo "skipped: ${out#skipped: }" && exit 77
    die "cannot make the importer: $out"
}
begin vmware_import
mount=$(fs_make xfs 4G)
cd "$mount" || exit 1
mkdir got store

# -- expecting ----------------------------------------------------------------

declare -A disks_of=() # by file: the raw disks that it holds
declare -A about=()    # by file: what jq must find in the importer's report
files=()

# expect FILE WHAT RAW...: FILE has been written; WHAT is a filter.
expect() {
    local file=$1
    files+=("$file")
    about[$file]=$2
    shift 2
    disks_of[$file]="$*"
}

# stream FILE RAW SOURCE [OPTION...]
stream() {
    local file=$1 raw=$2 source=$3
    shift 3
    status "$source -> $file" 0 "$DISKSHIFT" convert -q -O vmdk \
        -o subformat=streamOptimized "$@" "$source" "$file" &&
        expect "$file" '.hardware_version == "vmx-07"' "$raw"
}

# package FILE WHAT RAWS [ARGUMENT...]
package() {
    local file=$1 what=$2 raws=$3
    shift 3
    # shellcheck disable=SC2086 # the words are words
    status "-> $file" 0 "$DISKSHIFT" convert -q "$@" "$file" &&
        expect "$file" "$what" $raws
}

# The members of a package that are disks, in order; a stream is itself.
sent() { # FILE INDEX
    if [[ $1 == *.ova ]]; then
        tar -xOf "$1" "$(tar -tf "$1" | grep 'vmdk$' | sed -n "$(($2 + 1))p")"
    else
        cat "$1"
    fi
}

# is_disk RAW MADE: the guest's bytes; holes are passed over, so that a terabyte
# of them is soon compared.
is_disk() {
    qemu-img compare -q -f raw -F raw "$1" "$2" &&
        test "$(stat -c %s "$1")" = "$(stat -c %s "$2")"
}

import_all() {
    local file line raw i have
    TMPDIR=$PWD/store "$kit/vmware_import" got "${files[@]}" >reports ||
        case_fail "the importer ran" "$(cat reports)"
    for file in "${files[@]}"; do
        line=$(jq -c --arg file "$file" 'select(.file == $file)' reports)
        check "$file: imported" jq -e '.error == null' <<<"$line" || continue
        check "$file: the machine" jq -e "${about[$file]}" <<<"$line"
        i=0
        for raw in ${disks_of[$file]}; do
            have=got/$file/disk-$i
            check "$file: disk $i as it was sent" \
                cmp <(sent "$file" "$i") "$have.vmdk"
            check "$file: disk $i is $raw" is_disk "$raw" "$have.raw"
            check "$file: disk $i: the size that the host was asked for" \
                jq -e --argjson size "$(stat -c %s "$raw")" \
                ".disks[$i].capacity_kb == (\$size / 1024 | floor)" <<<"$line"
            i=$((i + 1))
        done
        check "$file: no other disk" \
            jq -e "(.disks | length) == $i" <<<"$line"
        rm -rf "got/$file"
    done
    files=()
}

# -- what is imported ---------------------------------------------------------

# Whole and cut grains and tables, an odd number of sectors, tables without
# grains, grains that do not shrink, a directory of many sectors.
forms() {
    local kind size raw
    for size in 1024 65024 65536 33554432 33554944 100000256; do
        raw=sparse-$size.raw
        mkdisk sparse "$size" 7 "$raw"
        truncate -s "$size" "$raw"
        stream "sparse-$size.vmdk" "$raw" "$raw"
    done
    for kind in empty dense fragmented; do
        mkdisk "$kind" 34M 3 "$kind.raw"
        stream "$kind.vmdk" "$kind.raw" "$kind.raw"
    done
    mkdisk empty 5G 1 text.raw
    mkdisk tag "all work and no play" text.raw 1000000 3000000
    mkdisk tag "makes a dull disk" text.raw 4300000000 5000000
    stream text.vmdk text.raw text.raw
    mkdisk far 1T 5 far.raw
    stream far.vmdk far.raw far.raw
    import_all
}

sources() {
    local variant extension
    mkdisk sparse 24M 11 s.raw
    for variant in "${variants[@]}"; do
        extension=$(format_of "$variant")
        qemu_make "$variant" s.raw "in-$variant.$extension"
        stream "of-$variant.vmdk" s.raw "in-$variant.$extension"
    done
    qemu-img convert -c -f raw -O qcow2 s.raw packed.qcow2
    stream of-packed.vmdk s.raw packed.qcow2
    qemu-img convert -f raw -O vdi s.raw in.vdi
    stream of-vdi.vmdk s.raw in.vdi
    qemu-img create -q -f qcow2 -b s.raw -F raw over.qcow2
    cp s.raw changed.raw
    mkdisk tag "the upper layer" changed.raw 4000000 300000
    qemu-io -f qcow2 -c "write -s changed.raw 0 24M" over.qcow2 >/dev/null
    stream of-chain.vmdk changed.raw over.qcow2
    stream of-a-stream.vmdk s.raw of-raw.vmdk
    "$DISKSHIFT" convert -q s.raw in.ova
    stream of-package.vmdk s.raw in.ova
    import_all
}

options() {
    local adapter version
    for adapter in ide buslogic lsilogic legacyESX; do
        stream "on-$adapter.vmdk" s.raw s.raw -o adapter_type="$adapter"
    done
    for version in 4 10 21; do
        stream "hardware-$version.vmdk" s.raw s.raw -o hardware_version=$version
    done
    import_all
}

packages() {
    local adapter type words
    mkdisk dense 3M 8 d.raw
    mkdisk empty 7M 1 e.raw
    qemu-img convert -f raw -O vpc -o force_size=on d.raw d.vhd
    package one.ova '.name == "one" and .hardware_version == "vmx-10" and
        .guest == "otherGuest64" and .cpus == 1 and .memory_mb == 1024' \
        s.raw in-qcow2.qcow2
    package odd.ova '.controllers == 1' sparse-100000256.raw \
        sparse-100000256.raw
    package five.ova '.cpus == 4 and .memory_mb == 6144 and
        .guest == "otherLinux64Guest"' 'd.raw s.raw e.raw s.raw d.raw' \
        -o cpus=4,memory=6G,os=linux,firmware=efi \
        d.vhd in-vhdx-dynamic.vhdx e.raw packed.qcow2 d.raw
    package windows.ova '.guest == "windows7Server64Guest"' e.raw \
        -o os=windows e.raw
    package named.ova '.name == "A <b> & \"ü\""' d.raw \
        -o 'name=A <b> & "ü"' d.raw
    while read -r adapter type; do
        package "on-$adapter.ova" "[.disks[].controller] ==
            [\"$type\", \"$type\"]" 'd.raw e.raw' -o adapter="$adapter" \
            d.raw e.raw
    done <<'END'
lsilogic lsilogic
pvscsi pvscsi
buslogic buslogic
ide ide
END
    words=$(printf 'e.raw %.0s' {1..17})
    # shellcheck disable=SC2086 # the words are words
    package many.ova '.controllers == 2' "$words" $words
    import_all
}

# VMware's own export, by the same importer and host.
sample() {
    local packed=$DS_SAMPLES/iotest-version3.vmdk.bz2
    if [[ ! -r $packed ]]; then
        case_skip "VMware's own stream" "no $packed"
        return
    fi
    bzip2 -dc "$packed" >vmwares.vmdk
    TMPDIR=$PWD/store "$kit/vmware_import" got vmwares.vmdk >reports
    check "VMware's own stream: imported" jq -e '.error == null' reports
    check "VMware's own stream: what QEMU reads" qemu-img compare -q -f vmdk \
        -F raw vmwares.vmdk got/vmwares.vmdk/disk-0.raw
    rm -rf got/vmwares.vmdk
}

# -- what is refused ----------------------------------------------------------

# refused WHAT PATTERN FILE...: none is imported, each for such a reason.
refused() {
    local what=$1 pattern=$2
    shift 2
    TMPDIR=$PWD/store "$kit/vmware_import" got "$@" >reports
    check "$what: refused" jq -es --arg pattern "$pattern" --argjson count $# \
        'length == $count and
         ([.[] | select(.error // "" | test($pattern) | not)] | length) == 0' \
        reports
    rm -rf got/*
}

# poked FILE OFFSET: prints the name of a copy whose byte there is another.
poked() {
    local copy=poked/$2.${1##*.} byte
    byte=$(xxd -s "$2" -l 1 -p "$1")
    cp "$1" "$copy"
    printf '%02x' $((0x$byte ^ 0xff)) | xxd -r -p |
        dd of="$copy" bs=1 seek="$2" conv=notrunc status=none
    echo "$copy"
}

wrong() {
    local subformat sectors at size
    local -a copies=()
    for subformat in monolithicSparse monolithicFlat vmfs twoGbMaxExtentSparse; do
        "$DISKSHIFT" convert -q -o subformat=$subformat d.raw $subformat.vmdk
        refused "$subformat" '^vmdk: invalid format \(must be streamOpt' \
            $subformat.vmdk
    done
    "$DISKSHIFT" convert -q -o adapter=ahci d.raw ahci.ova
    # The simulator's OvfManager of 0.24.2 knows neither SATA nor the name that
    # OVF has for LSI's SAS controller; ESXi has both (since 5.5 and 4.0).
    refused "AHCI" '^unsupported resource type: 20$' ahci.ova
    "$DISKSHIFT" convert -q -o adapter=lsilogicsas d.raw sas.ova
    refused "LSI SAS" "^unknown SCSI controller type 'lsilogicsas'\$" sas.ova

    # Two tables, the first grain of noise.
    mkdisk empty 40M 1 small.raw
    mkdisk tag "all work and no play" small.raw 30000 200000
    mkdisk tag "makes a dull disk" small.raw 38000000 100000
    dd if=d.raw of=small.raw bs=8k count=1 conv=notrunc status=none
    "$DISKSHIFT" convert -q -O vmdk -o subformat=streamOptimized small.raw \
        small.vmdk
    size=$(stat -c %s small.vmdk)
    sectors=$((size / 512))
    mkdir poked
    for ((at = 0; at < 4; at++)); do
        copies+=("$(poked small.vmdk "$at")")
    done
    refused "another magic" '^vmdk: invalid format \(must be streamOpt' \
        "${copies[@]}"
    copies=()
    for ((at = 4; at < 79; at++)); do
        copies+=("$(poked small.vmdk "$at")")
    done
    refused "each byte of the header" . "${copies[@]}"
    copies=()
    for ((at = 1; at < sectors; at++)); do
        copies+=("$(poked small.vmdk $((512 * at)))"
            "$(poked small.vmdk $((512 * at + 511)))")
    done
    refused "the first and last byte of each of $sectors sectors" '^sector ' \
        "${copies[@]}"
    rm -rf poked/*
    copies=()
    for ((at = 1; at < sectors; at++)); do
        head -c $((512 * at)) small.vmdk >poked/cut-$at.vmdk
        copies+=("poked/cut-$at.vmdk")
    done
    refused "cut behind each sector" '^sector .*EOF' "${copies[@]}"
    (cat small.vmdk && head -c 512 /dev/zero) >longer.vmdk
    refused "a sector more" 'something behind the end' longer.vmdk
    "$DISKSHIFT" convert -q small.raw small.ova
    at=$(tar -tvRf small.ova | sed -n 's/^block \([0-9]*\): .*vmdk$/\1/p')
    refused "a byte of a package's disk" '^manifest: small-disk1.vmdk' \
        "$(poked small.ova $((512 * (at + 129) + 40)))"
}

forms
sources
options
packages
sample
wrong
finish
