#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every verb works in the sandbox, says so, and opens nothing more once its
# sources are open. What the sandbox denies: unit/test_sandbox.c.
source "$(dirname "$0")/helpers.bash"
setup
need strace qemu-img

mkdir there refs locked
raw_image a.raw 16
qemu-img convert -O qcow2 a.raw a.qcow2
qemu-img create -q -f qcow2 -b "$PWD/refs/base.qcow2" -F qcow2 -u child.qcow2 16M
cp a.qcow2 refs/base.qcow2
ln -s there/b.qcow2 link.qcow2
cp a.qcow2 there/b.qcow2

run "--sandbox takes one of three" 2 info --sandbox=some a.qcow2
said "expect auto, require or off" err
run "info in the sandbox" 0 info --json --sandbox=require a.qcow2
json '.sandbox | .landlock_abi > 0 and .seccomp and (.network | not)'
json '.sandbox.lacking == null'
silent err
run "off" 0 info --json --sandbox=off a.qcow2
json '.sandbox | .landlock_abi == null and (.seccomp | not)'
json '.sandbox.lacking | test("off")'
silent err
run "an error says what is in force too" 5 info --json none.raw
json '.error.class == "system" and .sandbox.seccomp'

inside() { # WHAT ARGUMENT...
    local what=$1 verb=$2
    shift 2
    run "$what" 0 "$verb" --sandbox=require "$@"
}

for verb in info map check snapshot-points; do
    inside "$verb" $verb a.qcow2
    inside "$verb, a link" $verb link.qcow2
    inside "$verb, a parent elsewhere" $verb --allow-refs refs child.qcow2
done
for format in raw vmdk vhd vhdx qcow2 vdi ova; do
    inside "plan $format" plan -O $format a.qcow2 p.$format
    check "which makes nothing" test ! -e p.$format
    inside "measure $format" measure -O $format a.qcow2 there
    inside "convert to $format" convert -q -O $format a.qcow2 there/t.$format
    inside "and back, beside" convert -q -f $format -O raw there/t.$format b.raw
    inside "verify" verify -F raw a.qcow2 b.raw
    rm -f b.raw
done
inside "split, in another directory" convert -q \
    -o subformat=twoGbMaxExtentFlat a.qcow2 there/s.vmdk
inside "compressed" convert -q -o compress=zlib a.raw there/z.qcow2 -f raw
inside "decoded" convert -q there/z.qcow2 z.raw
inside "a chain" convert -q --allow-refs "$PWD/refs" child.qcow2 there/c.raw
inside "compare, two places" compare -F raw a.qcow2 there/c.raw
inside "replaced" convert -q --force a.qcow2 there/c.raw
inside "two targets" convert -q --to vhdx=there/1.vhdx --to raw=2.raw a.qcow2
inside "over the source's own file" convert -q --share-source-file \
    -o data_file=yes -f raw a.raw there/over.qcow2
printf secret >key
check "given: an encrypted image" "$qemu_img_luks" convert \
    --object secret,id=s,file=key -O qcow2 \
    -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
    a.qcow2 l.qcow2
inside "a key file" convert -q --key-file key l.qcow2 there/l.raw
inside "a key from a pipe" map --key-file <(cat key) l.qcow2

# opens_after VERB ARGUMENT...: what is opened once the sources are.
opens_after() {
    rm -f trace
    strace -f -qq -o trace -e \
        trace=open,openat,openat2,landlock_restrict_self "$DISKSHIFT" "$@" \
        >out 2>err || return 1
    awk '/landlock_restrict_self/ { entered++ }
        entered >= 2 && /open(at|at2)?\(/ && !/O_PATH/ && !/ = -1 / { print }
        END { if (entered < 2) print "did not narrow" }' trace
}

for verb in info map check snapshot-points; do
    check "$verb opens nothing after its sources" \
        test -z "$(opens_after $verb --allow-refs refs child.qcow2)"
done
check "verify opens nothing after its sources" \
    test -z "$(opens_after verify a.qcow2 there/b.qcow2)"
check "convert opens its target alone" test -z "$(opens_after convert -q \
    a.qcow2 there/last.vhdx | grep -vE '"there"|/proc/self/fd/|last\.vhdx')"
finish
