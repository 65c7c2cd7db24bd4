#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images that somebody uses. QEMU locks bytes from 100 on (permissions it has)
# and 200 on (those it forbids to others); VMware makes NAME.lck, ESXi on NFS
# .lck-<inode>.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

begin locks
need qemu-nbd mkfifo
mount=$(fs_make xfs 1G)
cd "$mount" || exit 1
mkdisk sparse 8M 1 guest.raw
sync guest.raw

# hold FORMAT IMAGE [OPTION...]: qemu-io has it open until `release`.
hold() {
    local format=$1 image=$2
    shift 2
    rm -f "$run/keep" "$run/said"
    mkfifo "$run/keep"
    qemu-io -f "$format" "$@" "$image" <"$run/keep" >"$run/said" 2>&1 &
    spawned=$!
    exec {keep}>"$run/keep"
    # The answer shows that the image is open and locked.
    echo length >&$keep
    for _ in {1..100}; do
        grep -q MiB "$run/said" && return 0
        sleep 0.05
    done
    case_fail "given: qemu-io holds $image" "$(cat "$run/said")"
}

release() {
    echo quit >&$keep
    exec {keep}>&-
    wait "$spawned" 2>/dev/null
}

in_use() {
    local variant format image
    for variant in raw qcow2 vmdk-sparse vmdk-flat vhd-dynamic vhdx-dynamic; do
        format=$(format_of "$variant") image=u.$variant.$(format_of "$variant")
        qemu_make "$variant" guest.raw "$image"
        sync "$image"
        hold "$(qemu_format "$format")" "$image"
        status "$variant in use by QEMU: exit 6" 6 \
            "$DISKSHIFT" convert -q -f "$format" -O qcow2 "$image" t.qcow2
        said "$variant in use: says so" 'in use|lock|writ'
        check "$variant in use: nothing written" test ! -e t.qcow2 -a \
            ! -e t.qcow2.partial
        release
        status "$variant no longer in use" 0 \
            "$DISKSHIFT" convert -q -f "$format" -O qcow2 "$image" t.qcow2
        rm -f t.qcow2
        hold "$(qemu_format "$format")" "$image" -r
        status "$variant being read by QEMU: converted" 0 \
            "$DISKSHIFT" convert -q -f "$format" -O qcow2 "$image" t.qcow2
        release
        rm -f t.qcow2
    done
}

by_nbd() {
    qemu-nbd -t -k "$run/nbd" -f qcow2 u.qcow2.qcow2 &
    spawned=$!
    for _ in {1..100}; do
        [[ -S $run/nbd ]] && break
        sleep 0.05
    done
    status "served by qemu-nbd: exit 6" 6 \
        "$DISKSHIFT" convert -q u.qcow2.qcow2 t.raw
    reap "$spawned"
    status "and after it has ended" 0 \
        "$DISKSHIFT" convert -q u.qcow2.qcow2 t.raw
    rm -f t.raw
}

backing() {
    qemu_make qcow2 guest.raw base.qcow2
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
    hold qcow2 over.qcow2
    status "the backing file of a running VM is converted" 0 \
        "$DISKSHIFT" convert -q base.qcow2 t.raw
    check "and right" test -z "$(wrong_contents raw t.raw guest.raw)"
    # 3 while chains are not supported.
    status "its overlay is refused" '3|6' \
        "$DISKSHIFT" convert -q over.qcow2 o.raw
    release
    rm -f t.raw
}

# While we work nobody may begin to write.
ours() {
    local slow first
    slow=$(fs_make ext4 1G)
    cd "$slow" || exit 1
    mkdisk dense 200M 3 a.raw
    sync a.raw
    spawn "$DISKSHIFT" convert -q a.raw b.qcow2
    first=$spawned
    if halfway b.qcow2.partial; then
        check "QEMU cannot open to write what we convert" \
            bash -c '! qemu-io -f raw -c "write 0 512" a.raw'
        check "QEMU can open to read it" \
            qemu-io -r -f raw -c "read 0 512" a.raw
        kill -CONT "$first"
        wait "$first"
        check "the conversion ends well" test $? = 0
    else
        case_fail "given: a run that can be stopped halfway"
        reap "$first"
    fi
    cd "$mount" || exit 1
}

vmware() {
    qemu_make vmdk-sparse guest.raw w.vmdk
    sync w.vmdk
    mkdir w.vmdk.lck
    printf 'lock' >w.vmdk.lck/M12345.lck
    status "VMware's lock: exit 6" 6 "$DISKSHIFT" convert -q w.vmdk t.raw
    said "VMware's lock: says so" 'lck|lock|use'
    said "and which" 'M12345.lck'
    rm -r w.vmdk.lck
    printf 'workstation-7 4711' >w.vmdk.lck
    status "a lock that is a file: exit 6" 6 \
        "$DISKSHIFT" convert -q w.vmdk t.raw
    said "whose it is" 'VMware on "workstation-7"'
    rm w.vmdk.lck
    status "without it" 0 "$DISKSHIFT" convert -q w.vmdk t.raw
    rm t.raw
}

# .lck-, the inode's number lowest byte first, then what ESXi writes into it.
esxi_lock() {
    local inode
    inode=$(printf '%016x' "$(stat -c %i "$1")")
    lock=.lck-$(fold -w2 <<<"$inode" | tac | tr -d '\n')
    printf '\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0esx7.lab\0\0' >"$lock"
}

esxi() {
    local lock
    mkdir vm && cd vm || exit 1
    qemu_make vmdk-flat ../guest.raw e.vmdk
    cp ../guest.raw other.raw
    sync .
    esxi_lock e-flat.vmdk
    status "ESXi's lock of the flat extent: exit 6" 6 \
        "$DISKSHIFT" convert -q e.vmdk t.raw
    said "it says what, by whom, and which lock" \
        "e-flat.vmdk: .*VMware on \"esx7.lab\" .*$lock"
    status "another file in there is converted" 0 \
        "$DISKSHIFT" convert -q -f raw other.raw t.qcow2
    rm "$lock" t.qcow2
    printf 'x' >.lck-ffffffffffff0000
    status "a lock of nobody in there: exit 6" 6 \
        "$DISKSHIFT" convert -q -f raw other.raw t.qcow2
    rm .lck-*
    status "without locks" 0 "$DISKSHIFT" convert -q e.vmdk t.raw
    cd "$mount" || exit 1
}

in_use
by_nbd
backing
ours
vmware
esxi
finish
