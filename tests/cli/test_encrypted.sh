#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --key-file: an encrypted source.
source "$(dirname "$0")/helpers.bash"
need jq qemu-img
setup
raw_image a.raw 4
printf 'open sesame' >key
printf 'open barley' >wrong
check "given: an encrypted image" "$qemu_img_luks" convert -f raw -O qcow2 \
    --object secret,id=k,file=key \
    -o encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10 \
    a.raw a.qcow2

run "map" 0 map --json --key-file key a.qcow2
silent err
json '[.extents[] | select(.kind == "encoded")] | length > 0 and
    all(.encoding == "aes-xts" and .stored_bytes == .length_bytes)'
run "plan" 0 plan --ops --json --key-file key a.qcow2 x.vhdx
json '.targets[0] | .decoded_bytes > 0 and .decoded_bytes_by_reason ==
    {compressed: 0, encrypted: .decoded_bytes}'
json '[.targets[0].operations[] | select(.kind == "decode")] | length > 0 and
    all(.reason == "encrypted" and .encoding == "aes-xts")'
run "convert" 0 convert --json --key-file key a.qcow2 b.vhdx
json '.targets[0] | .verify.identical and
    .decoded_bytes_by_reason.encrypted > 0'
check "another reader agrees" qemu-img compare -q -F vhdx a.raw b.vhdx
run "compare" 0 compare --key-file key a.qcow2 a.raw
run "as the second disk" 0 compare --other-key-file key a.raw a.qcow2
run "its points say the key's file" 0 snapshot-points --json \
    --key-file key a.qcow2
json '.points[0].source == "-f qcow2 --key-file key a.qcow2"'

# A configuration that allows FIPS alone, where no such provider is loaded.
cat >fips.cnf <<'END'
openssl_conf = all
[all]
alg_section = algorithms
[algorithms]
default_properties = fips=yes
END
export OPENSSL_CONF=$PWD/fips.cnf
run "OpenSSL's configuration holds, in the sandbox" 5 map --key-file key a.qcow2
said 'OpenSSL' err
run "and nothing asks it where there is no key" 0 info a.qcow2
unset OPENSSL_CONF

for case in "6 --key-file wrong" "5 --key-file none" "2"; do
    # shellcheck disable=SC2086 # the words are words
    run "without the key: $case" ${case%% *} convert ${case#[0-9]} a.qcow2 \
        x.vhdx
    prefixed
    check "nothing was made" test ! -e x.vhdx -a ! -e x.vhdx.partial
    check "the passphrase is not told" test "$(grep -c 'open ' err)" = 0
done
finish
