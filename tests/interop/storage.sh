#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `storage` says of file systems that are made for it; that measuring
# agrees with what conversions then do, and leaves nothing.
source "$(dirname "$0")/../lib/lib.bash"

begin storage

field() { jq -r ".storage.$1" "$run/out"; }
is() { # FIELD VALUE
    check "$place: $1 is $2" test "$(field "$1")" = "$2"
}

for place in xfs btrfs ext4; do
    mount=$(fs_make $place 400M)
    mkdir "$mount/dir"
    : >"$mount/dir/file.vmdk"
    before=$(cd "$mount" && find . | sort)
    status "$place: by its kind" 0 "$DISKSHIFT" storage --json "$mount/dir"
    is measured false
    case $place in
    xfs) is range_clone null ;;
    btrfs) is range_clone true ;;
    ext4) is range_clone false ;;
    esac
    is physical_extents true
    status "$place: measured, by a file in it" 0 \
        "$DISKSHIFT" storage --json --probe "$mount/dir/file.vmdk"
    is measured true
    shares=true blocks=4096
    [[ $place != ext4 ]] || shares=false blocks=null
    is range_clone $shares
    is file_clone $shares
    is granularity_bytes $blocks
    is server_copy true
    is physical_extents true
    is locks true
    check "$place: free space" test "$(field free_bytes)" -gt 100000000
    check "$place: nothing is left" test \
        "$(cd "$mount" && find . | sort)" = "$before"
    umount "$mount"
done

# XFS without reflinks looks the same until it is tried.
place="xfs without reflinks"
mount=$run/plain
mkdir "$mount" && truncate -s 400M "$run/plain.image" &&
    mkfs.xfs -q -m reflink=0 "$run/plain.image" &&
    mount -o loop "$run/plain.image" "$mount" || die "cannot make $place"
status "$place" 0 "$DISKSHIFT" storage --json --probe "$mount"
is range_clone false
is file_clone false
is server_copy true

place="read-only"
mount -o remount,ro "$mount"
status "$place: by its kind" 0 "$DISKSHIFT" storage --json "$mount"
status "$place: cannot be measured" 5 "$DISKSHIFT" storage --probe "$mount"
said "it says why" 'Read-only'
mount -o remount,rw "$mount"

# A file system over others, whose addresses mean several of them.
place=overlay
mkdir "$mount"/{lower,upper,work} "$run/over"
mount -t overlay overlay "$run/over" \
    -o "lowerdir=$mount/lower,upperdir=$mount/upper,workdir=$mount/work" ||
    die "cannot mount an overlay"
status "$place: measured" 0 "$DISKSHIFT" storage --json --probe "$run/over"
is filesystem overlay
is physical_extents false
check "$place: nothing is left" test -z "$(ls -A "$run/over")"
umount "$run/over"

status "no such place" 5 "$DISKSHIFT" storage "$mount/none"
status "no place" 2 "$DISKSHIFT" storage
status "an image's option" 2 "$DISKSHIFT" storage -f raw "$mount"
status "in text" 0 "$DISKSHIFT" storage --probe "$mount"
check "it is a list" grep -q 'shares ranges: *no' "$run/out"
finish
