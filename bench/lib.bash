# SPDX-License-Identifier: Apache-2.0
# Sourced by bench/run and bench/scale: scratch filesystems and the disks on
# them.
#
# Nothing outlives a run, not even one that is killed with SIGKILL. The mounts
# are made in a mount namespace of the run's own, their images are unlinked as
# soon as they are mounted, and the loop devices detach themselves on the last
# unmount: when the last process of the run is gone, the kernel has undone all
# of it. What remains is an empty directory, which the next run takes over.

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "bench: $*"
    exit 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "needs $tool (see bench/README.md)"
    done
}

# Into $build; what the build says is shown when it fails.
build_programs() {
    { cmake -S "$here/.." -B "$build" -G Ninja -DDISKSHIFT_TESTS=ON &&
        cmake --build "$build" --target diskshift bench_stopwatch \
            bench_fragmented bench_mapped bench_clones; } >"$build.log" 2>&1 ||
        { cat "$build.log" >&2 && rm -f "$build.log" && die "does not build"; }
    rm -f "$build.log"
}

# Samples, one per line: in the file that the user named, which keeps those of
# earlier runs, or in one that ends with the run.
open_samples() {
    samples_kept=$samples
    samples=${samples:-$build/bench-samples.jsonl}
    [[ -n $samples_kept ]] || : >"$samples"
    touch "$samples"
}

close_samples() {
    rm -f "$samples.new"
    [[ -n $samples_kept ]] || rm -f "$samples"
}

# drop_samples FIELD VALUE: those of $filesystem that have it; they are about to
# be measured anew.
drop_samples() {
    jq -c --arg filesystem "$filesystem" --arg field "$1" --arg value "$2" \
        'select(.filesystem != $filesystem or .[$field] != $value)' \
        "$samples" >"$samples.new"
    cat "$samples.new" >"$samples"
}

# put_between_marks NAME FILE: $text takes the place of what stands there.
put_between_marks() {
    text=$text name=$1 awk '
        $0 == "<!-- " ENVIRON["name"] " -->" {
            print; print ENVIRON["text"]; skip = 1
        }
        /^<!-- end -->$/ { skip = 0 }
        !skip' "$2" >"$2.new"
    cat "$2.new" >"$2"
    rm "$2.new"
}

# mount_scratch KIND GIB: an empty filesystem at $mount.
mount_scratch() {
    local kind=$1 gib=$2 image=$mount.img device direct=on
    rm -f "$image"
    truncate -s "$gib"G "$image"
    case $kind in
    xfs) mkfs.xfs -q -m reflink=1 "$image" ;;
    btrfs) mkfs.btrfs -q "$image" ;;
    ext4) mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$image" ;;
    *) die "no filesystem $kind: xfs, btrfs or ext4" ;;
    esac
    # Direct, so that the guest data is cached once and not twice.
    device=$(losetup --direct-io=on --find --show "$image" 2>/dev/null) ||
        { direct=off && device=$(losetup --find --show "$image"); }
    mkdir -p "$mount"
    mount -t "$kind" "$device" "$mount" || { losetup -d "$device" && exit 1; }
    losetup -d "$device" # takes effect when it is unmounted
    rm -f "$image"
    say "$kind: ${gib} GiB on a loop device, direct I/O $direct"
}

unmount_scratch() {
    # Who was ended in the midst may hold it for a moment yet.
    mountpoint -q "$mount" && { umount "$mount" 2>/dev/null ||
        umount --lazy "$mount"; }
    rm -f "$mount.img"
    return 0
}

# Until what was removed is gone. sync(1) does not wait for it: XFS frees the
# extents of a removed file in the background, and whoever is measured meanwhile
# takes up to twice as long. Before a filesystem becomes read-only it must have
# ended; that is refused for a moment while a file is about to be closed.
wait_removed() {
    local tries=0
    until mount -o remount,ro "$mount" 2>/dev/null; do
        ((++tries < 3000)) || die "$mount is in use"
        sleep 0.02
    done
    mount -o remount,rw "$mount"
    sleep 0.1
}

# Whether files here can share blocks.
can_reflink() {
    local here=$1
    : >"$here/probe" && cp --reflink=always "$here/probe" "$here/probe2" \
        2>/dev/null
    local result=$?
    rm -f "$here/probe" "$here/probe2"
    return $result
}

# What a disk holds that compresses to about a half: programs and their
# documents, as they lie here.
soft_data() {
    while tar -C / -cf - usr/bin usr/lib usr/share 2>/dev/null ||
        [[ $? == 1 ]]; do
        :
    done
}

# make_disk FILE: the disk that pairs start from, in this form. Everything but
# the fragmented one is as qemu-img writes it, in order.
make_disk() {
    local file=$1 format=${1##*.} options
    [[ -e $mount/$file ]] && return
    say "  making $file"
    case $file in
    disk.raw)
        dd if=/dev/urandom of="$mount/$file" bs=1M iflag=fullblock \
            count=$((size / 1048576)) status=none
        ;;
    soft.raw)
        soft_data | head -c "$soft_size" >"$mount/$file" || true
        (($(stat -c %s "$mount/$file") == soft_size)) ||
            die "no $file: no data or no room"
        ;;
    soft.*)
        options=compression_type=zlib
        [[ $format != vmdk ]] || options=subformat=streamOptimized
        qemu-img convert -c -m 16 -f raw -O "$format" -o "$options" \
            "$mount/soft.raw" "$mount/$file"
        ;;
    fragmented.qcow2)
        "$programs/bench_fragmented" "$mount/disk.raw" "$mount/$file" 1
        ;;
    odd.vpc)
        qemu-img convert -f raw -O vpc -m 1 -o subformat=dynamic,force_size=on \
            "$mount/disk.raw" "$mount/$file"
        ;;
    dynamic.vpc)
        # By us: qemu-img's blocks lie at odd sectors.
        "$diskshift" convert -q -O vhd "$mount/disk.raw" "$mount/$file"
        ;;
    *)
        # Without a hint: with QEMU's own, XFS cuts the file into pieces of
        # 4 MiB, and every clone of it, also cp's, pays for each.
        options=extent_size_hint=0
        [[ $format != vpc ]] || options+=,subformat=fixed,force_size=on
        qemu-img convert -f raw -O "$format" -m 1 -o "$options" \
            "$mount/disk.raw" "$mount/$file"
        # btrfs keeps QEMU's writes as pieces of 4 MiB; written in one go the
        # file has those of any other.
        if [[ $(stat -f -c %T "$mount") == btrfs ]]; then
            sync "$mount/$file"
            dd if="$mount/$file" of="$mount/$file.again" bs=64M status=none
            mv "$mount/$file.again" "$mount/$file"
        fi
        ;;
    esac
    sync -f "$mount"
}
