# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts in tests/interop and tests/fault, and by lib/on-fs.
#
#   begin NAME            scratch directory, watchdog, sweep; first call
#   fs_make TYPE SIZE     makes and mounts a file system, prints where
#   spawn COMMAND...      background process of this script; its id in $spawned
#   case_ok/case_fail     one line per case
#   finish                last call: sums up, sets the exit status
#
# Whatever a script makes lies beneath $run and is gone after it, also after
# kill -9: see lib/watchdog. Environment: DISKSHIFT, DS_HELPERS and DS_TEST_DIR
# come from CMake; DS_SAMPLES is optional.

set -u
export LC_ALL=C
shopt -s nullglob

lib_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tests_dir=$(dirname "$lib_dir")
DISKSHIFT=${DISKSHIFT:-$tests_dir/../build/tools/diskshift}
DS_HELPERS=${DS_HELPERS:-$tests_dir/../build/tests/helpers}
DS_TEST_DIR=${DS_TEST_DIR:-$tests_dir/../build/scratch}
DS_SAMPLES=${DS_SAMPLES:-$tests_dir/../../shared/samples}

run=
spawned=
cases=0 failures=0 skips=0

die() {
    echo "error: $*" >&2
    exit 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is missing, see tests/run"
    done
}

# -- beginning and end --------------------------------------------------------

begin() {
    ((EUID == 0)) || die "mounts file systems: must run as root"
    [[ -x $DISKSHIFT ]] || die "no program at $DISKSHIFT"
    need jq qemu-img qemu-io losetup
    mkdir -p "$DS_TEST_DIR" || exit 1
    DISKSHIFT=$(realpath "$DISKSHIFT") DS_HELPERS=$(realpath "$DS_HELPERS")
    DS_TEST_DIR=$(realpath "$DS_TEST_DIR")
    "$lib_dir/watchdog" sweep "$DS_TEST_DIR"
    run=$(mktemp -d "$DS_TEST_DIR/run.$1.XXXXXX") || exit 1
    # The mark by which the watchdog knows our processes, also those whose
    # ids nobody noted.
    export DS_RUN=$run
    "$lib_dir/watchdog" guard "$run" $$ || die "the watchdog did not start"
    trap 'exit 130' INT TERM HUP
    trap end EXIT
    cd "$run" || exit 1
    PATH=$DS_HELPERS:$PATH
    # What other scripts write to the same disk must not time QEMU out.
    echo "# $1 in $run"
}

end() {
    local status=$?

    trap - EXIT
    cd / || true
    if [[ -n ${DS_KEEP:-} && $failures -gt 0 ]]; then
        echo "# kept until this shell ends: $run"
        read -r -p "# Return cleans up " _ </dev/tty
    fi
    "$lib_dir/watchdog" clean "$run"
    exit "$status"
}

finish() {
    echo "# $cases cases, $failures failed, $skips skipped"
    ((failures == 0)) || exit 1
    ((cases > 0)) || die "no case ran"
    exit 0
}

# -- cases --------------------------------------------------------------------

case_ok() {
    cases=$((cases + 1))
    echo "ok $cases - $1"
}

# case_fail WHAT [DETAIL...]: prints the details indented.
case_fail() {
    cases=$((cases + 1)) failures=$((failures + 1))
    echo "FAILED $cases - $1"
    shift
    (($# == 0)) || printf '%s\n' "$@" | sed 's/^/    /'
}

case_skip() {
    skips=$((skips + 1))
    echo "skipped - $1: $2"
}

# check WHAT COMMAND...: a case that is the command's success.
check() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then
        case_ok "$what"
    else
        case_fail "$what" "command: $*" "$output"
    fi
}

# status WHAT EXPECTED COMMAND...: a case that is the command's exit status,
# which may be one of several ("5|6"). Its output stays in $run/out and $run/err.
status() {
    local what=$1 expected=$2 have
    shift 2
    "$@" >"$run/out" 2>"$run/err"
    have=$?
    if [[ $have =~ ^($expected)$ ]]; then
        case_ok "$what"
        return 0
    fi
    case_fail "$what" "command: $*" "exit status, have $have expect $expected" \
        "$(head -c 2000 "$run/out" "$run/err")"
    return 1
}

# said WHAT PATTERN: the last `status` printed it on standard error.
said() {
    if grep -qE -- "$2" "$run/err"; then
        case_ok "$1"
    else
        case_fail "$1" "standard error lacks '$2':" "$(head -c 2000 "$run/err")"
    fi
}

# -- file systems and processes ----------------------------------------------

# fs_make TYPE SIZE [MOUNT_OPTIONS [MKFS_OPTION...]]
fs_make() {
    local type=$1 size=$2 options=${3:-} place
    local -a mkfs
    shift $(($# < 3 ? 2 : 3))
    case $type in
    xfs) mkfs=(mkfs.xfs -q -m reflink=1) ;;
    btrfs) mkfs=(mkfs.btrfs -q) ;;
    ext4) mkfs=(mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1) ;;
    *) die "fs_make: no such type $type" ;;
    esac
    need "${mkfs[0]}"
    place=$(mktemp -d "$run/fs.XXXXXX") && mkdir "$place/mnt" &&
        truncate -s "$size" "$place/image" &&
        "${mkfs[@]}" "$@" "$place/image" >"$place/log" 2>&1 &&
        mount -t "$type" -o "loop${options:+,$options}" "$place/image" \
            "$place/mnt" >>"$place/log" 2>&1 || {
        cat "$place/log" >&2
        echo "error: cannot make $type in $place" >&2
        # fs_make runs in a subshell: end the script itself.
        kill -TERM $$
        exit 1
    }
    chmod 755 "$place/mnt"
    echo "$place/mnt"
}

# The image beneath a mountpoint that fs_make printed.
fs_image() {
    echo "${1%/mnt}/image"
}

# fs_mount_copy MOUNTPOINT TYPE [MOUNT_OPTIONS]: a second file system that is
# a block for block copy of the first, which must be idle; prints where.
fs_mount_copy() {
    local place
    place=$(mktemp -d "$run/fs.XXXXXX") && mkdir "$place/mnt" &&
        sync -f "$1" && cp --sparse=always "$(fs_image "$1")" "$place/image" &&
        mount -t "$2" -o "loop${3:+,$3}" "$place/image" "$place/mnt" || {
        echo "error: cannot mount a copy of $1" >&2
        kill -TERM $$
        exit 1
    }
    echo "$place/mnt"
}

spawn() {
    "$@" &
    spawned=$!
}

# Ends what spawn began and takes its status away from the shell's reports.
reap() {
    kill -"${2:-TERM}" "$1" 2>/dev/null
    wait "$1" 2>/dev/null
    return 0
}

digest() {
    sha256sum "$@" | cut -d' ' -f1 | sha256sum | cut -d' ' -f1
}

# -- images -------------------------------------------------------------------

# QEMU's name of a format.
qemu_format() {
    case $1 in
    vhd) echo vpc ;;
    *) echo "$1" ;;
    esac
}

# Every file of an image: a VMDK's extents lie beside their descriptor.
image_files() {
    local stem=${1%.vmdk} extent
    echo "$1"
    [[ $1 == *.vmdk ]] || return 0
    for extent in "$stem"-flat.vmdk "$stem"-[fs][0-9][0-9][0-9]*.vmdk; do
        [[ -e $extent ]] && echo "$extent"
    done
    return 0
}

virtual_size() {
    qemu-img info --output=json -f "$(qemu_format "$1")" "$2" |
        jq '."virtual-size"'
}
