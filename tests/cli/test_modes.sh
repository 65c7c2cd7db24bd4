#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target is for no more eyes than each file of its source.
source "$(dirname "$0")/helpers.bash"
setup
need qemu-img qemu-io
((EUID == 0)) || skip "must be root to give files away"

umask 022
raw_image a.raw 16
qemu-img convert -O qcow2 a.raw base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
qemu-io -c 'write -q 0 64k' over.qcow2

# mode_is WHAT EXPECTED FILE...
mode_is() {
    local what=$1 expected=$2 file
    shift 2
    for file in "$@"; do
        check "$what: $file is $expected" \
            test "$(stat -c '%u:%g %a' "$file")" = "$expected"
    done
}

converted() { # WHAT EXPECTED
    rm -f t*
    run "$1" 0 convert -q over.qcow2 t.vhdx
    mode_is "$1" "$2" t.vhdx
    run "$1, of two files" 0 convert -q -o subformat=monolithicFlat \
        over.qcow2 t.vmdk
    mode_is "$1" "$2" t.vmdk t-flat.vmdk
}

chmod 644 base.qcow2 over.qcow2
converted "both for all" '0:0 644'
chmod 600 over.qcow2
converted "the snapshot for its owner" '0:0 600'
chmod 640 over.qcow2 && chmod 604 base.qcow2
converted "what both grant" '0:0 600'
chmod 644 base.qcow2 over.qcow2 && chgrp 12345 over.qcow2
converted "another group's snapshot" '0:0 644'
chgrp 0 over.qcow2 && chown 12345 base.qcow2 && chmod 600 over.qcow2
converted "another owner's base" '0:0 600'
chown 0 base.qcow2 && chmod 644 over.qcow2
if setfacl -m u:12345:r base.qcow2 2>/dev/null; then # where there is one
    chmod 600 over.qcow2
    run "an acl on the base" 0 convert -q --force over.qcow2 t.vhdx
    check "admits nobody to the snapshot" test -z \
        "$(getfacl -cp t.vhdx | grep -E 'user:12345:r[w-][x-]$' )"
fi
finish
