#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The power fails, on real filesystems: XFS and ext4 are shut down without
# their log being flushed (XFS_IOC_GOINGDOWN), or, also btrfs, the image below
# the mounted filesystem is snapshot at one moment by a reflink. Then log
# recovery at the next mount. A target that `convert` reported is there and
# whole; one that it was still making is absent or whole; the source is as
# before; the next run clears what is left.
#
#   power.sh [COUNT]    how often each (2)
# In a mount namespace of its own: others that are made meanwhile, by unit tests
# too, would hold copies of its mounts, and a filesystem that was shut down
# would live on there.
[[ -n ${DS_OWN_MOUNTS:-} ]] ||
    DS_OWN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" "$@"
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

count=${1:-2}

begin power
need xfs_io
RANDOM=4242

# The guest's disk of all, and where it is compared with what was found.
mkdisk fragmented 24M 5 guest.raw

made() { # MOUNT: a source in it, on storage
    cp --sparse=always guest.raw "$1/a.raw" &&
        qemu-img convert -f raw -O qcow2 -o cluster_size=4k guest.raw \
            "$1/b.qcow2" && sync -f "$1"
    remember "$1/a.raw"
    remember "$1/b.qcow2"
}

# microseconds
pause() {
    sleep "$(printf '%d.%06d' $(($1 / 1000000)) $(($1 % 1000000)))"
}

random_below() {
    echo $(((RANDOM * 32768 + RANDOM) % ($1 + 1)))
}

# What is wrong in MOUNT after the power came back. TOLD: convert said it was
# done.
wrong_after() { # MOUNT VARIANT TARGET TOLD
    local format
    local -a partials
    format=$(format_of "$2")
    wrong_source "$1/a.raw"
    wrong_source "$1/b.qcow2"
    if [[ -e $3 ]]; then
        wrong_contents "$format" "$3" guest.raw
    elif [[ $4 == told ]]; then
        echo "the target that was reported is not there"
    fi
    partials=("$1"/*.partial)
    ((${#partials[@]} <= 2)) || echo "left: ${partials[*]}"
}

# After it the directory has neither target nor leftovers.
next_run() { # MOUNT VARIANT SOURCE TARGET
    remove_image "$4"
    rm -f "${4%.*}"-flat.vmdk # an extent that nothing refers to
    convert_to "$2" "$3" "$4" || echo "the next run: exit status $?"
    [[ -z $(echo "$1"/*.partial) ]] || echo "the next run has left a .partial"
    remove_image "$4"
}

in_vain() { # WHAT WRONG
    [[ -z $2 ]] || case_fail "$1" "$2"
}

# -- the filesystem is shut down -------------------------------------------------

# release MOUNT IMAGE: unmounted, and its loop device gone. Who had files open
# there may need a moment to notice, on a busy machine a long one.
release() {
    local tries
    for ((tries = 0; tries < 1200; tries++)); do
        umount "$1" 2>/dev/null
        # Not mountpoint: the root of what was shut down cannot be looked at.
        findmnt -n "$1" >/dev/null || [[ -n $(losetup -j "$2") ]] || return 0
        sleep 0.05
    done
    die "$1 stays in use"
}

remount() { # MOUNT TYPE
    local device
    device=$(findmnt -n -o SOURCE "$1")
    xfs_io -x -c shutdown "$1" || die "$2 cannot be shut down"
    release "$1" "$(fs_image "$1")" # and the loop device went with it
    mount -t "$2" -o loop "$(fs_image "$1")" "$1" ||
        die "$2 does not come back on $device"
}

shut_down() { # TYPE VARIANT SOURCE [OPTION...]
    local type=$1 variant=$2 mount source target format i begun spent wrong
    local done=0 middle=0 whole=0
    format=$(format_of "$2")
    mount=$(fs_make "$1" 400M)
    made "$mount"
    source=$mount/$3 target=$mount/t.$format
    shift 3
    begun=${EPOCHREALTIME/./}
    convert_to "$variant" "$source" "$target" "$@" 2>"$run/err" || {
        case_fail "$type: $variant" "$(cat "$run/err")"
        return
    }
    spent=$((${EPOCHREALTIME/./} - begun))
    remove_image "$target"
    for ((i = 0; i < count; i++)); do
        convert_to "$variant" "$source" "$target" "$@" &&
            remount "$mount" "$type"
        done=$((done + 1))
        wrong=$(wrong_after "$mount" "$variant" "$target" told)
        in_vain "$type: $variant, shut down when it was done" "$wrong"
        remove_image "$target"

        convert_to "$variant" "$source" "$target" "$@" 2>/dev/null &
        spawned=$!
        pause "$(random_below "$spent")"
        remount "$mount" "$type"
        wait "$spawned" || middle=$((middle + 1))
        [[ ! -e $target ]] || whole=$((whole + 1))
        wrong=$(
            wrong_after "$mount" "$variant" "$target" ''
            next_run "$mount" "$variant" "$source" "$target" "$@"
        )
        in_vain "$type: $variant, shut down in the middle" "$wrong"
    done
    check "$type: $variant $*: shut down $done times when it was done, $i \
times before ($middle failed, $whole whole): nothing lost" test "$failures" = 0
    release "$mount" "$(fs_image "$mount")"
}

# -- the disk below is snapshot ----------------------------------------------------

disk_make() { # TYPE IMAGE MOUNT
    local -a mkfs=("mkfs.$1" -q)
    truncate -s 400M "$2"
    mkdir -p "$3"
    "${mkfs[@]}" "$2" >"$run/out" 2>&1 &&
        mount -t "$1" -o loop "$2" "$3" || die "cannot make $1"
}

snapshots() { # TYPE VARIANT SOURCE [OPTION...]
    local type=$1 variant=$2 outer mount source target format i spent begun
    local wrong told whole=0
    format=$(format_of "$2")
    outer=$(fs_make xfs 2G)
    mount=$outer/mnt
    disk_make "$type" "$outer/disk" "$mount"
    made "$mount"
    source=$mount/$3 target=$mount/t.$format
    shift 3
    begun=${EPOCHREALTIME/./}
    convert_to "$variant" "$source" "$target" "$@" || return
    spent=$((${EPOCHREALTIME/./} - begun))
    remove_image "$target"
    sync -f "$mount"
    for ((i = 0; i < count; i++)); do
        convert_to "$variant" "$source" "$target" "$@" 2>"$run/err" &
        spawned=$!
        pause "$(random_below "$spent")"
        cp --reflink=always "$outer/disk" "$outer/middle.$i"
        wait "$spawned" || case_fail "$type: $variant" "$(cat "$run/err")"
        cp --reflink=always "$outer/disk" "$outer/told.$i"
        remove_image "$target"
        sync -f "$mount"
    done
    release "$mount" "$outer/disk"
    for disk in "$outer"/middle.* "$outer"/told.*; do
        told=$(basename "${disk%.*}")
        mount -t "$type" -o loop "$disk" "$mount" || {
            case_fail "$type: $variant: $told does not mount"
            continue
        }
        [[ ! -e $target ]] || whole=$((whole + 1))
        wrong=$(
            wrong_after "$mount" "$variant" "$target" "$told"
            next_run "$mount" "$variant" "$source" "$target" "$@"
        )
        in_vain "$type: $variant, $told" "$wrong"
        release "$mount" "$disk"
        rm "$disk"
    done
    check "$type: $variant $*: $i snapshots of the disk when it was done, $i \
before, $whole with a target: nothing lost" test "$failures" = 0
    release "$outer" "$(fs_image "$outer")"
}

shut_down xfs vhdx-dynamic b.qcow2
shut_down xfs vmdk-flat a.raw
shut_down ext4 qcow2 a.raw
snapshots btrfs vmdk-sparse b.qcow2
snapshots btrfs vmdk-flat a.raw
snapshots xfs qcow2 a.raw
snapshots ext4 vhd-dynamic b.qcow2
finish
