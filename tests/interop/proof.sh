#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# proof.sh xfs|btrfs
#
# Attacks the proof of identity: pairs of files whose physical addresses are
# missing, provisional, or equal for other reasons than equal contents. cmp
# says what is true; `diskshift verify` must say the same in both directions.
source "$(dirname "$0")/../lib/lib.bash"

fs=$1
begin "proof-$fs"
need xfs_io btrfs chattr fallocate
mount=$(fs_make "$fs" 2G)
cd "$mount" || exit 1

# truth WHAT LEFT RIGHT [FILTER]: FILTER holds for .verify of the answer.
truth() {
    local what=$1 left=$2 right=$3 filter=${4:-true} expected have a b wrong=
    # The program first: cmp would put the files into the page cache, and
    # reading is what some of the cases must not get.
    for pair in "$left $right" "$right $left"; do
        read -r a b <<<"$pair"
        "$DISKSHIFT" verify --json -f raw -F raw "$a" "$b" \
            >"$run/out" 2>"$run/err"
        have=$?
        expected=0
        cmp -s "$a" "$b" || expected=1
        ((have == expected)) || wrong+="verify $a $b: exit status, have \
$have expect $expected: $(cat "$run/out" "$run/err")"
        jq -e ".verify.identical == ($expected == 0)" "$run/out" >/dev/null ||
            wrong+=" identical is wrong: $(cat "$run/out")"
        jq -e ".verify | $filter" "$run/out" >/dev/null ||
            wrong+=" expect $filter: $(cat "$run/out")"
    done
    if [[ -n $wrong ]]; then
        case_fail "$what" "$wrong" "left:" "$(fiemap --map "$left")" "right:" \
            "$(fiemap --map "$right")"
    else
        case_ok "$what"
    fi
}

# A condition that the attack needs; without it the case proves nothing.
given() {
    local what=$1
    shift
    "$@" || case_fail "given: $what" "command: $*"
}

# equal_addresses LEFT RIGHT: the same extents at the same addresses.
equal_addresses() {
    diff <(fiemap --map "$1" | cut -d' ' -f1-3) \
        <(fiemap --map "$2" | cut -d' ' -f1-3)
}

has_flag() {
    fiemap --map "$1" | awk -v flag="$2" '
        function hex(text, i, n) {
            for (i = 3; i <= length(text); i++)
                n = n * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
            return n
        }
        int(hex($4) / flag) % 2 { found = 1 }
        END { exit !found }'
}

# -- not written yet ----------------------------------------------------------

# Neither cp nor cat: they share where they can.
written() {
    dd if="$1" of="$2" bs=1M status=none
}

just_written() {
    mkdisk dense 2M 1 pattern.a
    mkdisk dense 2M 2 pattern.b
    written pattern.a delalloc.a
    written pattern.b delalloc.b
    truth "two files just written, different" delalloc.a delalloc.b
    written pattern.a delalloc.c
    written pattern.a delalloc.d
    truth "two files just written, equal: read" delalloc.c delalloc.d \
        '.proven_bytes == 0 and .hashed_bytes == 2097152'
    # One byte differs, and all else is still in memory.
    written pattern.a delalloc.e
    printf x | dd of=delalloc.e bs=1 seek=2097151 conv=notrunc status=none
    truth "one byte of a file just written" delalloc.d delalloc.e
}

inline() {
    local size
    for size in 512 1536 2048 3584; do
        mkdisk dense $size 1 inline.a
        mkdisk dense $size 2 inline.b
        [[ $fs != btrfs || $size -gt 2048 ]] ||
            given "inline" has_flag inline.a 512
        truth "$size bytes, different" inline.a inline.b
        cp --reflink=never inline.a inline.c && sync inline.c
        truth "$size bytes, equal and not shared" inline.a inline.c \
            '.proven_bytes == 0'
    done
}

# -- shared -------------------------------------------------------------------

shared() {
    mkdisk dense 4M 3 shared.a
    cp --reflink=always shared.a shared.b
    truth "a clone: proven, nothing read" shared.a shared.b \
        '.proven_bytes == 4194304 and .hashed_bytes == 0'
    dd if=pattern.b of=shared.b bs=4k seek=100 count=1 conv=notrunc status=none
    truth "a block of the clone rewritten, not flushed" shared.a shared.b
    cp --reflink=always shared.a shared.c
    dd if=pattern.b of=shared.a bs=512 seek=8191 count=1 conv=notrunc \
        status=none oflag=direct
    truth "the source's last sector rewritten past the cache" shared.a shared.c
    cp --reflink=always shared.a shared.d
    xfs_io -c "mmap -rw 0 4m" -c "mwrite -S 0x55 1m 512" shared.a
    truth "the source changed through memory, not flushed" shared.a shared.d
    cp --reflink=always shared.a shared.e
    xfs_io -c "fpunch 64k 4k" shared.e
    truth "a hole in the clone" shared.a shared.e
    cp --reflink=always shared.a shared.f
    xfs_io -c "fzero 128k 8k" shared.f
    truth "a zeroed range in the clone" shared.a shared.f
}

moved() {
    mkdisk dense 1M 4 moved.a
    truncate -s 1M moved.b moved.c
    xfs_io -c "reflink moved.a 4k 0 1020k" -c "reflink moved.a 0 1020k 4k" \
        moved.b >/dev/null
    truth "the same blocks at other offsets" moved.a moved.b
    xfs_io -c "reflink moved.a 0 0 512k" -c "reflink moved.a 0 512k 512k" \
        moved.c >/dev/null
    truth "one half twice" moved.a moved.c
    xfs_io -c "reflink moved.a 512k 512k 512k" moved.c >/dev/null
    truth "put together from pieces" moved.a moved.c '.hashed_bytes == 0'
    cp --reflink=always moved.a moved.d
    truncate -s $((1048576 - 512)) moved.d
    truth "a clone that is a sector shorter" moved.a moved.d
    truncate -s 1048576 moved.d
    truth "and grown again: its last sector is zeros" moved.a moved.d
}

unwritten() {
    mkdisk dense 1M 5 unwritten.data
    fallocate -l 1M unwritten.a
    truncate -s 1M unwritten.hole
    sync -f .
    given "unwritten" has_flag unwritten.a 2048
    truth "unwritten and a hole" unwritten.a unwritten.hole
    truth "unwritten and data" unwritten.a unwritten.data
    dd if=/dev/zero of=unwritten.zero bs=1M count=1 status=none
    truth "unwritten and zeros" unwritten.a unwritten.zero
    cp --reflink=always unwritten.a unwritten.b
    truth "a clone of unwritten" unwritten.a unwritten.b
    dd if=pattern.a of=unwritten.a bs=4k count=4 seek=8 conv=notrunc status=none
    truth "partly written, not flushed, and its clone" unwritten.a unwritten.b
    sync unwritten.a
    truth "the same, flushed" unwritten.a unwritten.b
    fallocate -l 1M unwritten.c
    dd if=pattern.a of=unwritten.c bs=4k count=4 seek=8 conv=notrunc status=none
    truth "two of them, each written alike" unwritten.a unwritten.c
    # The address stays, the flag goes.
    fallocate -l 64k unwritten.d
    sync unwritten.d
    cp --reflink=always unwritten.d unwritten.e
    dd if=pattern.a of=unwritten.d bs=64k count=1 conv=notrunc status=none
    truth "written in place after it was cloned" unwritten.d unwritten.e
    fallocate -n -l 2M unwritten.d
    fallocate -n -o 0 -l 2M unwritten.e
    truncate -s 1M unwritten.d unwritten.e
    truth "room beyond the end" unwritten.d unwritten.e
}

# -- addresses of another file system -----------------------------------------

two_file_systems() {
    local first second option=
    first=$(fs_make "$fs" 512M)
    touch "$first/x"
    # Else btrfs writes the change elsewhere.
    [[ $fs != btrfs ]] || chattr +C "$first/x"
    mkdisk dense 1M 6 "$first/y"
    dd if="$first/y" of="$first/x" bs=1M conv=notrunc,fsync status=none
    sync -f "$first"
    [[ $fs != xfs ]] || option=nouuid
    second=$(fs_mount_copy "$first" "$fs" $option)
    dd if=pattern.b of="$second/x" bs=4k seek=16 count=2 conv=notrunc,fsync \
        status=none
    given "equal addresses" equal_addresses "$first/x" "$second/x"
    truth "the same addresses on two file systems of one UUID" \
        "$first/x" "$second/x"
    truth "the same, equal: read" "$first/y" "$second/y" '.proven_bytes == 0'
}

# -- btrfs --------------------------------------------------------------------

btrfs_only() {
    local packed
    packed=$(fs_make btrfs 512M compress-force=zstd)
    cd "$packed" || exit 1
    seq 1 400000 | head -c 1M >text
    sync text
    given "compressed" has_flag text 8
    truncate -s 64k left right again
    xfs_io -c "reflink $packed/text 0 0 64k" left >/dev/null
    xfs_io -c "reflink $packed/text 64k 0 64k" right >/dev/null
    xfs_io -c "reflink $packed/text 64k 0 64k" again >/dev/null
    given "equal addresses" equal_addresses left right
    truth "two halves of a compressed extent" left right
    truth "the same half of a compressed extent" right again \
        '.proven_bytes == 0'
    cp --reflink=always text clone
    truth "a compressed clone: read" text clone '.proven_bytes == 0'
    head -c 1000 text >tiny.a && tail -c 1000 text >tiny.b
    truncate -s 1024 tiny.a tiny.b
    truth "compressed inline files" tiny.a tiny.b

    cd "$mount" || exit 1
    btrfs -q subvolume create one && btrfs -q subvolume create two
    mkdisk dense 1M 7 one/a
    cp --reflink=always one/a two/a
    truth "a clone in another subvolume: proven" one/a two/a \
        '.proven_bytes == 1048576'
    dd if=pattern.b of=two/a bs=512 seek=7 count=1 conv=notrunc status=none
    truth "which was then changed" one/a two/a
    touch nocow.a && chattr +C nocow.a
    dd if=one/a of=nocow.a bs=1M conv=notrunc,fsync status=none
    btrfs -q subvolume snapshot . snapshot
    truth "a NOCOW file in a snapshot: proven" nocow.a snapshot/nocow.a \
        '.proven_bytes == 1048576'
    dd if=pattern.b of=nocow.a bs=4k seek=7 count=1 conv=notrunc status=none
    truth "which was then changed" nocow.a snapshot/nocow.a
}

just_written
inline
shared
moved
unwritten
two_file_systems
[[ $fs != btrfs ]] || btrfs_only
finish
