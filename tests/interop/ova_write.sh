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

# attribute NAME: all values in the descriptor in out/, in order.
attribute() {
    grep -ohE "$1=\"[^\"]*\"" out/*.ovf | cut -d'"' -f2 | tr '\n' ' '
}

# element NAME: all values, in order.
element() {
    grep -ohE "<$1>[^<]*" out/*.ovf | cut -d'>' -f2 | tr '\n' ' '
}

# is_disk WHAT OVA NUMBER FILE RAW: a member, taken out and read in place.
is_disk() {
    local what="$1, disk $3" ova=$2 number=$3 file=$4 raw=$5
    check "$what: a stream" grep -q 'create type: streamOptimized' \
        <(qemu-img info "out/$file")
    check "$what: by QEMU" qemu-img compare -q -F raw "out/$file" "$raw"
    check "$what: sound by QEMU" qemu-img check -q "out/$file"
    rm -f back.raw
    check "$what: read back" \
        "$DISKSHIFT" convert -q --member "$number" -O raw "$ova" back.raw
    check "$what: the bytes" cmp back.raw "$raw"
}

# is_package WHAT OVA NAME RAW...: what any importer looks at first, and each
# disk. NAME is that of the members.
is_package() {
    local what=$1 ova=$2 name=$3 size tail raw i
    local members="$3.ovf $3.mf " hrefs= sizes= capacities=
    shift 3
    size=$(stat -c %s "$ova")
    tail=$(tail -c 1024 "$ova" | tr -d '\0' | wc -c)
    for ((i = 1; i <= $#; i++)); do
        hrefs+="$name-disk$i.vmdk "
        capacities+="$(stat -c %s "${!i}") "
    done
    check "$what: descriptor, manifest, disks" test \
        "$(tar -tf "$ova" | tr '\n' ' ')" = "$members$hrefs"
    check "$what: whole blocks, the last two of zeros" \
        test $((size % 512)) = 0 -a "$tail" = 0
    rm -rf out && mkdir out
    check "$what: unpacked by tar" tar -xf "$ova" -C out
    (cd out && sed -E 's/^SHA256\((.*)\)= ([0-9a-f]{64})$/\2  \1/' "$name.mf" \
        >sums)
    check "$what: every file in the manifest" \
        test "$(wc -l <out/sums)" = $(($# + 1))
    check "$what: the digests" sh -c 'cd out && sha256sum --strict -c sums'
    if command -v xmllint >/dev/null; then
        check "$what: well-formed" xmllint --noout "out/$name.ovf"
    else
        case_skip "$what: well-formed" "no xmllint"
    fi
    check "$what: hrefs" test "$(attribute ovf:href)" = "$hrefs"
    for raw in $hrefs; do
        sizes+="$(stat -c %s "out/$raw") "
    done
    check "$what: sizes of the files" test "$(attribute ovf:size)" = "$sizes"
    check "$what: capacities" test "$(attribute ovf:capacity)" = "$capacities"
    check "$what: each disk its file" test \
        "$(attribute ovf:fileRef)" = "$(attribute ' ovf:id' | tr ' ' '\n' |
            grep '^file' | tr '\n' ' ')"
    check "$what: each disk on the machine" test \
        "$(attribute ovf:diskId)" = "$(element rasd:HostResource |
            sed 's,ovf:/disk/,,g')"
    check "$what: no two disks in one place" test -z \
        "$(paste -d' ' <(element rasd:AddressOnParent | tr ' ' '\n') \
            <(element rasd:Parent | tr ' ' '\n') | grep . | sort | uniq -d)"
    check "$what: no two items of one id" test -z \
        "$(element rasd:InstanceID | tr ' ' '\n' | grep . | sort | uniq -d)"
    for ((i = 1; i <= $#; i += $# > 6 ? $# - 1 : 1)); do # of many two
        is_disk "$what" "$ova" "$i" "$name-disk$i.vmdk" "${!i}"
    done
    check "$what: check" "$DISKSHIFT" check --member 1 "$ova"
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
        test "$(attribute ovf:populatedSize)" = "0 "
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
    check "BIOS" test "$(attribute vmw:value)" = "bios "
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
    check "EFI" test "$(attribute vmw:value)" = "efi "
    check "Linux" grep -q 'ovf:id="101" vmw:osType="otherLinux64Guest"' out/*.ovf
    rm -f vm.ova
    status "IDE, a system by number" 0 \
        "$DISKSHIFT" convert -q -o adapter=ide -o os=96 one.raw vm.ova
    is_package "IDE" vm.ova vm one.raw
    check "on IDE" test "$(element rasd:ResourceType)" = "3 4 5 17 "
    check "the disk says so" grep -aq 'adapterType = "ide"' out/vm-disk1.vmdk
    check "Debian" grep -q 'OperatingSystemSection ovf:id="96">' out/vm.ovf
}

# Disks of several formats, in the order of the words.
several() {
    local words
    mkdisk dense 2M 3 full.raw
    mkdisk sparse 9M 4 small.raw
    truncate -s 4M none.raw
    qemu-img convert -f raw -O vmdk full.raw full.vmdk
    qemu-img convert -c -f raw -O qcow2 small.raw small.qcow2
    qemu-img convert -f raw -O vpc -o force_size=on odd.raw odd.vhd
    rm -f vm.ova
    status "two disks" 0 "$DISKSHIFT" convert --json one.qcow2 full.vmdk vm.ova
    check "two disks: the report names them" jq -e '
        .source == null and [.sources[].path] == ["one.qcow2", "full.vmdk"] and
        (.targets[0] | .strategy == "encode" and .verify.identical and
        .disks == [{member: "vm-disk1.vmdk", source: "one.qcow2",
                    size_bytes: 25165824},
                   {member: "vm-disk2.vmdk", source: "full.vmdk",
                    size_bytes: 2097152}])' "$run/out"
    is_package "two disks" vm.ova vm one.raw full.raw
    rm -f vm.ova
    # A full disk ends where the next one begins; one has no data at all.
    status "five disks" 0 "$DISKSHIFT" convert -q -o name=five,cpus=2 \
        full.vmdk odd.vhd none.raw one.vhdx small.qcow2 vm.ova
    is_package "five disks" vm.ova five \
        full.raw odd.raw none.raw one.raw small.raw
    check "five disks: CPUs once" \
        test "$(element rasd:VirtualQuantity)" = "2 1024 "
    status "by --to, twice" 0 "$DISKSHIFT" convert -q --force \
        --to ova=a.ova -o adapter=ide --to ova=b.ova none.raw full.raw none.raw
    is_package "by --to" a.ova a none.raw full.raw none.raw
    check "by --to: on IDE" test "$(element rasd:ResourceType)" = \
        "3 4 5 5 17 17 17 "
    is_package "by --to, the other" b.ova b none.raw full.raw none.raw
    check "by --to, the other: on LSI Logic" \
        test "$(element rasd:ResourceType)" = "3 4 6 17 17 17 "
    status "disks without data alone" 0 \
        "$DISKSHIFT" convert -q --force none.raw empty.raw b.ova
    is_package "disks without data alone" b.ova b none.raw empty.raw
    status "a package whole" 0 "$DISKSHIFT" convert --json vm.ova whole.ova
    check "a package whole: its manifest was looked at" jq -e '
        .targets[0].notes | map(select(contains("verified against"))) |
        length == 1' "$run/out"
    is_package "a package whole" whole.ova whole \
        full.raw odd.raw none.raw one.raw small.raw
    rm -f whole.ova
    status "a bare descriptor whole" 0 \
        "$DISKSHIFT" convert --json out/whole.ovf whole.ova
    check "a bare descriptor whole: its manifest was looked at" jq -e '
        .targets[0].notes | map(select(contains("verified against"))) |
        length == 1' "$run/out"
    is_package "a bare descriptor whole" whole.ova whole \
        full.raw odd.raw none.raw one.raw small.raw
    status "a package and a disk" 0 \
        "$DISKSHIFT" convert -q --force b.ova full.raw whole.ova
    is_package "a package and a disk" whole.ova whole \
        none.raw empty.raw full.raw
    status "one of a package's" 0 "$DISKSHIFT" convert -q --force --member 4 \
        vm.ova whole.ova
    is_package "one of a package's" whole.ova whole one.raw
    cp none.raw more.raw && truncate -s 6M more.raw
    status "each larger" 0 "$DISKSHIFT" convert -q --force --resize +2M \
        none.raw none.raw whole.ova
    is_package "each larger" whole.ova whole more.raw more.raw
    words=$(printf 'none.raw %.0s' {1..17})
    # shellcheck disable=SC2086 # the words are words
    status "more than a controller takes" 0 \
        "$DISKSHIFT" convert -q --force $words whole.ova
    # shellcheck disable=SC2086 # the words are words
    is_package "more than a controller takes" whole.ova whole $words
    check "more than a controller takes: two of them" \
        test "$(element rasd:ResourceSubType)" = "lsilogic lsilogic "
}

# Who may not read one of the disks may not read the package.
narrow() {
    local modes
    cp none.raw secret.raw
    for modes in 644:600:600 600:644:600 640:604:600 640:640:640; do
        IFS=: read -r one two wanted <<<"$modes"
        chmod "$one" one.raw && chmod "$two" secret.raw
        status "modes $one and $two" 0 \
            "$DISKSHIFT" convert -q --force one.raw secret.raw b.ova
        check "modes $one and $two: $wanted" \
            test "$(stat -c %a b.ova)" = "$wanted"
    done
    chmod 600 secret.raw && chmod 644 one.raw && chown 4711 one.raw
    status "a secret of another owner" 0 \
        "$DISKSHIFT" convert -q --force one.raw secret.raw b.ova
    check "a secret of another owner: nobody's but ours" \
        test "$(stat -c %u:%a b.ova)" = "$EUID:600"
    chmod 644 secret.raw
    status "what all may read" 0 \
        "$DISKSHIFT" convert -q --force one.raw secret.raw b.ova
    check "what all may read: the owner of the larger" \
        test "$(stat -c %u:%a b.ova)" = "4711:644"
    chown "$EUID" one.raw
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
    status "five disks on IDE" 3 "$DISKSHIFT" convert -q -o adapter=ide \
        none.raw none.raw none.raw none.raw none.raw vm.ova &&
        said "says how many" "have 5 expect 1 to 4 on ide"
    # shellcheck disable=SC2046 # the words are words
    status "61 disks" 3 "$DISKSHIFT" convert -q \
        $(printf 'none.raw %.0s' {1..61}) vm.ova &&
        said "says how many" "have 61 expect 1 to 60"
    # shellcheck disable=SC2046 # the words are words
    status "65 disks" 3 "$DISKSHIFT" convert -q \
        $(printf 'none.raw %.0s' {1..65}) vm.ova &&
        said "says how many" "more than 64"
    status "the target is one of the sources" 6 \
        "$DISKSHIFT" convert -q --force none.raw one.raw one.raw -O ova
    status "a strategy" 3 \
        "$DISKSHIFT" convert -q --strategy range one.raw vm.ova &&
        said "says why" "units are compressed"
    check "no target is left" test -z "$(echo vm.ova*)"
    status "clones are required" 6 \
        "$DISKSHIFT" convert -q --require-clone one.raw vm.ova
    touch vm.ova
    status "the target exists" 6 "$DISKSHIFT" convert -q one.raw vm.ova
    status "unless forced" 0 "$DISKSHIFT" convert -q --force one.raw vm.ova
    is_package "forced" vm.ova vm one.raw
}

# told_to PIPE ARGUMENT...: the program, with descriptor 9 on the pipe.
told_to() {
    local pipe=$1
    shift
    exec "$DISKSHIFT" "$@" 9>"$pipe"
}

# Whatever ends it early: nothing is left, and no disk without the others.
cut_short() {
    local name
    mkdisk dense 64M 9 large.raw
    cp vm.ova kept.ova
    for name in execute verify; do
        rm -f "$run/progress" && mkfifo "$run/progress"
        spawn told_to "$run/progress" convert -q --force --progress=9 one.raw \
            large.raw one.raw vm.ova
        sed -n "/\"$name\"/{p;q}" "$run/progress" >"$run/phase"
        reap "$spawned" KILL
        check "killed in $name: it came so far" test -s "$run/phase"
        check "killed in $name: the old target is as it was" \
            cmp vm.ova kept.ova
    done
    status "after it" 0 "$DISKSHIFT" convert -q --force one.raw none.raw vm.ova
    check "after it: nothing else is left" test -z "$(echo ./*.partial)"
    is_package "after it" vm.ova vm one.raw none.raw
}

no_space() {
    local small
    small=$(fs_make ext4 48M)
    status "no space" 5 \
        "$DISKSHIFT" convert -q one.raw large.raw one.raw "$small/vm.ova"
    check "no space: nothing is left" \
        test "$(find "$small" -type f | wc -l)" = 0
}

planned() {
    rm -f vm.ova
    status "plan" 0 "$DISKSHIFT" plan --json one.raw vm.ova
    check "plan: one source, one disk" jq -e '.sources == null and
        .source.path == "one.raw" and .targets[0].strategy == "encode" and
        [.targets[0].disks[].member] == ["vm-disk1.vmdk"]' "$run/out"
    status "plan of two" 0 "$DISKSHIFT" plan one.qcow2 none.raw vm.ova
    check "plan of two: names them" test "$(grep -c \
        -e 'file: *vm-disk[12].vmdk' -e 'of: *one.qcow2' -e 'of: *none.raw' \
        "$run/out")" = 4
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
several
narrow
refused
cut_short
no_space
planned
damaged
finish
