#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What needs device mapper or quotas of XFS, in a kernel that has them
# (make_guest): logical volumes as sources, devices that fail under a source
# and under a target (dm-error, dm-flakey), a user's and a project's quota. The
# guest does it (lvm_guest); what it made is judged here.
source "$(dirname "$0")/../lib/lib.bash"

begin lvm
here=$tests_dir/interop
guest=$(realpath "$DS_TEST_DIR/..")/guest
made=$("$here/make_guest" "$guest" 2>&1) || {
    echo "skipped: ${made#skipped: }"
    exit 77
}

mkdisk dense 24M 41 known.raw
mkdisk dense 24M 42 other.raw
truncate -s 400M target.img
mkfs.xfs -q -f -m reflink=1 target.img || die "mkfs.xfs"
truncate -s 160M pv1.img
truncate -s 160M pv2.img
truncate -s 400M fault.img

boot() {
    TMPDIR=/dev/shm timeout -k 5 200 "$guest/root/usr/bin/linux.uml" \
        root=/dev/root rootfstype=hostfs rootflags=/ ro mem=384M \
        ubd0="$run/target.img" ubd1="$run/pv1.img" ubd2="$run/pv2.img" \
        ubd3="$run/fault.img" con=null con0=null,fd:1 con1=null quiet \
        uml_dir="$run" umid=guest init="$here/lvm_guest" \
        DISKSHIFT="$DISKSHIFT" GUEST="$guest/root" KNOWN="$run/known.raw" \
        OTHER="$run/other.raw" </dev/null >"$run/console" 2>&1
}
boot
tr -d '\r' <"$run/console" >"$run/lines"
grep -q '^@begun' "$run/lines" || {
    echo "skipped: user-mode Linux does not start here: $(tail -n 3 \
        "$run/lines" | tr -cd '[:print:] ')"
    exit 77
}

details=()
failed=''
flush_failure() {
    [[ -z $failed ]] || case_fail "$failed" "${details[@]}"
    failed=''
    details=()
}
while IFS= read -r line; do
    case $line in
    @ok\ *) flush_failure && case_ok "guest: ${line#@ok }" ;;
    @fail\ *) flush_failure && failed="guest: ${line#@fail }" ;;
    @*) flush_failure ;;
    *) details+=("$line") ;;
    esac
    [[ -n $failed ]] || details=()
done <"$run/lines"
flush_failure
check "the guest came to its end" grep -q '^@done' "$run/lines"

mkdir t
mount -o loop,ro,norecovery target.img t || die "cannot mount what it made"
for volume in striped snap thinsnap; do
    for format in qcow2 vhdx; do
        check "QEMU: $volume.$format" qemu-img compare -q -f $format -F raw \
            "t/$volume.$format" known.raw
    done
done
check "QEMU: thin.qcow2" qemu-img compare -q -f qcow2 -F raw t/thin.qcow2 \
    other.raw
check "QEMU: linear.vmdk" qemu-img compare -q -f vmdk -F raw t/linear.vmdk \
    other.raw
check "no more than that" test -z "$(echo t/*.partial t/bad*)"
umount t
finish
