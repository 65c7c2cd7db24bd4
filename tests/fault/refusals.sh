#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Targets and sources that must be refused, and what must then be as before.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

begin refusals
need chattr mkfifo timeout
mount=$(fs_make xfs 1G)
cd "$mount" || exit 1
mkdisk sparse 8M 1 a.raw
mkdisk sparse 8M 2 other.raw
qemu_make qcow2 a.raw a.qcow2
sync -f .
remember a.raw
remember a.qcow2

unchanged() {
    check "$1: the source is as before" test -z \
        "$(wrong_source a.raw)$(wrong_source a.qcow2)"
}

refused() { # WHAT STATUS ARGUMENT...
    local what=$1 expected=$2
    shift 2
    status "$what: exit $expected" "$expected" timeout 20 "$DISKSHIFT" "$@"
    check "$what: says so" grep -q '^diskshift: ' "$run/err"
}

same_file() {
    local option name
    ln a.raw hard.raw
    ln -s a.raw soft.raw
    ln a.qcow2 hard.img
    for option in '' --force; do
        for name in a.raw ./a.raw "$mount/a.raw" hard.raw soft.raw; do
            refused "target is the source: $name $option" 6 \
                convert $option -f raw -O qcow2 a.raw "$name"
        done
        refused "target is a hard link to the source $option" 6 \
            convert $option -O raw a.qcow2 hard.img
    done
    unchanged "target is the source"
    rm hard.raw soft.raw hard.img
}

existing() {
    local variant target
    for variant in raw qcow2 vhdx-dynamic vmdk-sparse vmdk-flat vhd-dynamic; do
        target=e.$variant.$(format_of "$variant")
        convert_to "$variant" other.raw "$target"
        remember "$target"
        status "$variant exists: exit 6" 6 convert_to "$variant" a.raw "$target"
        check "$variant exists: not touched" test -z "$(wrong_source "$target")"
        status "$variant exists: --force replaces it" 0 \
            convert_to "$variant" a.raw "$target" --force
        check "$variant replaced: holds the source" test -z \
            "$(wrong_contents "$(format_of "$variant")" "$target" a.raw)"
    done
    printf victim >extent-flat.vmdk
    status "a flat VMDK's extent exists: exit 6" 6 \
        convert_to vmdk-flat a.raw extent.vmdk
    check "it was not touched" test "$(cat extent-flat.vmdk)" = victim
    check "nothing else was left" test "$(echo extent*)" = extent-flat.vmdk
    ln -s nowhere.qcow2 dangling.qcow2
    "$DISKSHIFT" convert -q a.raw dangling.qcow2 2>"$run/err"
    check "a dangling link is not followed" test ! -e nowhere.qcow2
    rm -f e.* dangling.qcow2 extent*
}

places() {
    mkdir fixed directory.raw
    chattr +i fixed
    refused "an immutable directory" 5 convert a.raw fixed/b.qcow2
    said "an immutable directory: which" 'fixed/b.qcow2'
    chattr -i fixed
    refused "no such directory" 5 convert a.raw none/b.qcow2
    refused "the target is a directory" '5|6' \
        convert --force -O raw a.qcow2 directory.raw
    check "which is left" test -d directory.raw
    mount -o remount,ro "$mount"
    refused "a read-only file system" 5 convert a.raw b.qcow2
    mount -o remount,rw "$mount"
    unchanged "places"
}

odd_sources() {
    mkfifo pipe.raw
    refused "the source is a pipe" 6 convert -f raw pipe.raw b.qcow2
    refused "the source is a terminal's device" 6 \
        convert -f raw /dev/zero b.qcow2
    refused "the source is a directory" 6 convert -f raw directory.raw b.qcow2
    refused "the source is missing" 5 convert none.raw b.qcow2
    : >empty.raw
    timeout 20 "$DISKSHIFT" convert -q -f raw empty.raw b.qcow2 2>"$run/err"
    check "an empty raw file: no crash, no hang" test $? -lt 124
    rm -f b.qcow2 pipe.raw empty.raw
}

# Whoever may write to the directory may have put anything there.
partials() {
    printf victim >victim
    printf junk >b.qcow2.partial
    status "a dead run's .partial is cleared" 0 convert_to qcow2 a.raw b.qcow2
    check "and gone" test "$(echo b.*)" = b.qcow2
    check "and the target is whole" test -z \
        "$(wrong_contents qcow2 b.qcow2 a.raw)"
    rm -f b.qcow2
    ln -s victim b.qcow2.partial
    convert_to qcow2 a.raw b.qcow2 2>/dev/null
    check ".partial is a link: not followed" test "$(cat victim)" = victim
    rm -f b.*
    ln victim b.qcow2.partial
    convert_to qcow2 a.raw b.qcow2 2>/dev/null
    check ".partial is a hard link: not written through" test \
        "$(cat victim)" = victim
    rm -f b.*
    ln a.raw b.qcow2.partial
    convert_to qcow2 a.raw b.qcow2 2>/dev/null
    unchanged ".partial is the source"
    rm -f b.*
    mkdir b.qcow2.partial
    printf victim >b.qcow2.partial/file
    timeout 20 "$DISKSHIFT" convert -q a.raw b.qcow2 2>"$run/err"
    check ".partial is a directory: fails and keeps it" test $? = 5 -o $? = 6 \
        -a -e b.qcow2.partial/file
    rm -rf b.*
}

# On ext4 a copy takes long enough to be stopped in the middle.
while_running() {
    local slow first
    slow=$(fs_make ext4 2G)
    mkdisk dense 200M 3 "$slow/a.raw"
    cd "$slow" || exit 1
    spawn "$DISKSHIFT" convert -q a.raw b.qcow2
    first=$spawned
    if halfway b.qcow2.partial; then
        status "another run's .partial: exit 6" 6 \
            "$DISKSHIFT" convert -q a.raw b.qcow2
        check "which is left alone" test -s b.qcow2.partial
        kill -CONT "$first"
        wait "$first"
        check "the first run ends well" test $? = 0
        check "its target is whole" test -z \
            "$(wrong_contents qcow2 b.qcow2 a.raw)"
    else
        case_fail "given: a run that can be stopped halfway"
        reap "$first"
    fi
    spawn "$DISKSHIFT" convert -q a.raw c.qcow2
    first=$spawned
    if halfway c.qcow2.partial; then
        printf x | dd of=a.raw bs=1 seek=209000000 conv=notrunc status=none
        kill -CONT "$first"
        wait "$first"
        check "the source changed meanwhile: exit 6" test $? = 6
        check "and no target" absent c.qcow2
    else
        case_fail "given: a run that can be stopped halfway"
        reap "$first"
    fi
    spawn "$DISKSHIFT" convert -q a.raw d.qcow2
    first=$spawned
    if halfway d.qcow2.partial; then
        kill -TERM "$first"
        kill -CONT "$first"
        wait "$first"
        check "SIGTERM: fails" test $? = 1 -o $? = 143
        check "and leaves nothing" absent d.qcow2
    else
        case_fail "given: a run that can be stopped halfway"
        reap "$first"
    fi
    cd "$mount" || exit 1
}

same_file
existing
places
odd_sources
partials
while_running
finish
