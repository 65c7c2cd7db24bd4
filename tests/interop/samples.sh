#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real images made by other products; see the README.md beside them. Digests
# of the guest's view come from there.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/convert.bash"

begin samples
need bzip2
if [[ ! -d $DS_SAMPLES ]]; then
    case_skip "samples" "no folder $DS_SAMPLES (DS_SAMPLES names it)"
    exit 77
fi
mount=$(fs_make xfs 2G)
cd "$mount" || exit 1

# sample NAME FORMAT SIZE DIGEST|zeros
sample() {
    local name=$1 format=$2 size=$3 digest=$4 target before
    bzip2 -dc "$DS_SAMPLES/$name.bz2" >"$name" || {
        case_fail "$name: cannot unpack"
        return
    }
    sync "$name"
    before=$(sha256sum <"$name")
    check "$name: format" test "$("$DISKSHIFT" info --json "$name" |
        jq -r .disk.format)" = "$format"
    check "$name: guest size" test "$("$DISKSHIFT" info --json "$name" |
        jq -r .disk.size_bytes)" = "$size"
    for target in raw qcow2 vmdk vhdx; do
        rm -f "t.$target"
        status "$name -> $target" 0 "$DISKSHIFT" convert --json -O "$target" \
            "$name" "t.$target" || continue
        check "$name -> $target: size" test \
            "$(virtual_size "$target" "t.$target")" = "$size"
        contents "$name" "$target" "$size" "$digest"
    done
    check "$name: unchanged" test "$before" = "$(sha256sum <"$name")"
    check "$name: all targets hold the same" \
        "$DISKSHIFT" verify t.raw t.qcow2
    rm -f t.*
}

# Disks of more than 20 GiB are all zeros: their tables must say so, since
# hashing them would take minutes.
contents() { # NAME TARGET SIZE DIGEST
    local have
    if [[ $4 == zeros ]]; then
        check "$1 -> $2: no data" test "$("$DISKSHIFT" map --json "t.$2" |
            jq '[.extents[] | select(.kind == "data")] | length')" = 0
        return
    fi
    # The digest of 16 GiB is taken once, of the raw file.
    [[ $3 -le 2147483648 || $2 == raw ]] || return 0
    if [[ $2 == raw ]]; then
        have=$(sha256sum <t.raw | cut -d' ' -f1)
    else
        qemu-img convert -f "$(qemu_format "$2")" -O raw "t.$2" by-qemu
        have=$(sha256sum <by-qemu | cut -d' ' -f1)
        rm -f by-qemu
    fi
    check "$1 -> $2: digest of the guest's view" test "$have" = "$4"
}

sample iotest-dynamic-1G.vhdx vhdx 1073741824 \
    d3d112d8dab7fd360609f7d5a7b769904b7a2a7d7b6b8c535f65a23293c05478
sample virtualpc-dynamic.vhd vhd 136363130880 zeros
sample hyperv2012r2-dynamic.vhd vhd 136365211648 zeros

# streamOptimized is decoded where that is built, and refused where it is not.
bzip2 -dc "$DS_SAMPLES/iotest-version3.vmdk.bz2" >stream.vmdk
"$DISKSHIFT" convert -O qcow2 stream.vmdk stream.qcow2 >"$run/out" 2>"$run/err"
case $? in
0) check "streamOptimized is decoded" qemu-img compare -q -f vmdk -F qcow2 \
    stream.vmdk stream.qcow2 ;;
3) check "streamOptimized is refused by name" \
    grep -qiE 'compress|stream|decod|encod' "$run/err" ;;
*) case_fail "streamOptimized" "$(cat "$run/err")" ;;
esac
finish
