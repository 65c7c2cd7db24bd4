#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every place in which an image can name a file, and names that lead out: no
# file but the one that was given is opened. The sandbox is off, except where
# it is said, so that the rules for references stand by themselves.
source "$(dirname "$0")/../lib/lib.bash"
begin references
need strace mkfifo timeout jq

size=$((4 * 1024 * 1024))
mkdir vm outside allowed
cd vm || exit 1

# What each name leads to is what the image wants: a raw or whole image of the
# right size. Who opened it would find nothing to complain of.
truncate -s $size plain
mkdiff vhd $size 40 base.vhd model block=1048576 || die mkdiff
mkdiff vhdx $size 40 base.vhdx model2 block=1048576 || die mkdiff
qemu-img create -q -f vmdk base.vmdk $size
qemu-img convert -O vmdk -o subformat=streamOptimized plain base.stream
qemu-img convert -O raw base.vmdk plain
cid=$(grep -a ^CID= base.vmdk | cut -d= -f2)

# name_file CARRIER NAME: writes ./image.EXT, prints it.
descriptor() { # EXTENT_LINE [PARENT_HINT]
    printf '# Disk DescriptorFile\nversion=1\nCID=12345678\n'
    if [[ -n ${2:-} ]]; then
        printf 'parentCID=%s\n' "$cid"
    else
        printf 'parentCID=ffffffff\n'
    fi
    printf 'createType="monolithicFlat"\n'
    [[ -z ${2:-} ]] || printf 'parentFileNameHint="%s"\n' "$2"
    printf '%s\n' "$1"
    printf 'ddb.adapterType = "ide"\nddb.virtualHWVersion = "4"\n'
}

# Replaces a name of the same length in a binary file.
rename_in() { # FILE OLD NEW
    LC_ALL=C sed -i "s|$2|$3|" "$1"
}

carry() { # CARRIER NAME
    local carrier=$1 name=$2 hold
    rm -f image.*
    case $carrier in
    vmdk-extent)
        descriptor "RW $((size / 512)) FLAT \"$name\" 0" >image.vmdk
        ;;
    vmdk-parent)
        descriptor "RW $((size / 512)) FLAT \"plain\" 0" "$name" >image.vmdk
        ;;
    qcow2-backing)
        qemu-img create -q -f qcow2 image.qcow2 $size
        qemu-img rebase -q -u -F raw -b "$name" image.qcow2
        ;;
    qcow2-data)
        hold=$(printf 'h%.0s' $(seq ${#name}))
        qemu-img create -q -f qcow2 -o "data_file=$hold,data_file_raw=on" \
            image.qcow2 $size
        rename_in image.qcow2 "$hold" "$name"
        rm -f "$hold"
        ;;
    vhd-locator | vhdx-locator)
        mkdiff "${carrier%-*}" $size 41 "image.${carrier%-*}" model3 \
            block=1048576 "parent=40:$name" || die mkdiff
        ;;
    ovf-href)
        sed "s|NAME|$name|" >image.ovf <<'OVF'
<?xml version="1.0" encoding="UTF-8"?>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<ovf:References><ovf:File ovf:id="f" ovf:href="NAME"/></ovf:References>
<ovf:DiskSection><ovf:Info>Disks</ovf:Info>
<ovf:Disk ovf:diskId="d" ovf:capacity="4194304" ovf:fileRef="f"/>
</ovf:DiskSection></ovf:Envelope>
OVF
        ;;
    esac
    echo image.*
}

# What a carrier is content with.
base_of() {
    case $1 in
    vmdk-parent) echo base.vmdk ;;
    vhd-locator) echo base.vhd ;;
    vhdx-locator) echo base.vhdx ;;
    ovf-href) echo base.stream ;;
    *) echo plain ;;
    esac
}

# Opened for more than looking: O_PATH opens nothing.
opened() {
    grep -E 'open(at|at2)?\(' "$run/strace" | grep -v O_PATH |
        grep -v ' = -1 ' | grep -E "$1"
}

# refused CARRIER WHAT NAME [OPTION...]
refused() {
    unopened '3|6' "$@"
}

# 3: a form of name that is not supported, as json: in qcow2. 5: a name of
# Windows, in which what stands before the colon is a drive, leads nowhere.
unopened() { # STATUS CARRIER WHAT NAME [OPTION...]
    local expected=$1 carrier=$2 what=$3 name=$4 image have wrong=
    shift 4
    image=$(carry "$carrier" "$name")
    timeout 20 strace -f -qq -e trace=open,openat,openat2 -o "$run/strace" \
        "$DISKSHIFT" map --sandbox=off "$@" "$image" \
        >"$run/out" 2>"$run/err"
    have=$?
    [[ $have =~ ^($expected)$ ]] || wrong="exit status, have $have expect 6"
    [[ -z $(opened 'passwd|secret|pipe|zero|socket|leads') ]] ||
        wrong+=" opened: $(opened 'passwd|secret|pipe|zero|socket|leads')"
    if [[ -z $wrong ]]; then
        case_ok "$carrier: $what"
    else
        case_fail "$carrier: $what: $name" "$wrong" "$(cat "$run/err")"
    fi
}

followed() { # CARRIER WHAT NAME [OPTION...]
    local carrier=$1 what=$2 image
    image=$(carry "$carrier" "$3")
    shift 3
    status "$carrier: $what" 0 "$DISKSHIFT" map --sandbox=require "$@" "$image"
}

names() { # CARRIER
    local carrier=$1 base
    base=$(base_of "$carrier")
    cp "$base" ../outside/secret
    cp "$base" ../allowed/secret
    ln -sfn ../outside/secret leads_out
    ln -sfn "$run/outside/secret" leads_out_absolute
    ln -sfn ../outside leads
    ln -sfn "$base" within
    ln -sfn /proc/self/fd/0 leads_magic
    ln -sfn /dev/zero leads_zero
    [[ -p pipe ]] || mkfifo pipe

    followed "$carrier" "beside: opened, given that it can be" "$base"
    followed "$carrier" "a link to what is beside" within
    refused "$carrier" "--no-refs, beside" "$base" --no-refs
    said "$carrier: --no-refs says so" 'references are forbidden'
    refused "$carrier" "an absolute name" /etc/passwd
    refused "$carrier" "an absolute name of the right content" \
        "$run/outside/secret"
    refused "$carrier" "up and out" ../outside/secret
    refused "$carrier" "out by way of a directory here" \
        "vm/../../outside/secret"
    refused "$carrier" "a link that leads out" leads_out
    refused "$carrier" "a link that leads out, absolute" leads_out_absolute
    refused "$carrier" "beneath a link to a directory" leads/secret
    refused "$carrier" "a magic link" leads_magic
    refused "$carrier" "a link to a device" leads_zero
    refused "$carrier" "a device" /dev/zero
    refused "$carrier" "a pipe" pipe
    refused "$carrier" "a directory" .
    unopened "3|5|6" "$carrier" "json:" 'json:{driver:raw}'
    unopened "3|5|6" "$carrier" "nbd://" nbd://127.0.0.1:10809/x
    unopened "3|5|6" "$carrier" "file://" file:///etc/passwd
    unopened "3|5|6" "$carrier" "http://" http://127.0.0.1/secret

    followed "$carrier" "--allow-refs: absolute beneath it" \
        "$run/allowed/secret" --allow-refs "$run/allowed"
    rm ../allowed/secret # a parent may be found there by its last name
    refused "$carrier" "--allow-refs: absolute elsewhere" \
        "$run/outside/secret" --allow-refs "$run/allowed"
    refused "$carrier" "--allow-refs: out of it by .." \
        "$run/allowed/../outside/secret" --allow-refs "$run/allowed"
    ln -sfn ../outside/secret ../allowed/leads_out
    refused "$carrier" "--allow-refs: a link out of it" \
        "$run/allowed/leads_out" --allow-refs "$run/allowed"
    [[ -p ../allowed/pipe ]] || mkfifo ../allowed/pipe
    refused "$carrier" "--allow-refs: a pipe in it" \
        "$run/allowed/pipe" --allow-refs "$run/allowed"
    rm -f ../outside/secret
}

for carrier in vmdk-extent vmdk-parent qcow2-backing qcow2-data vhd-locator \
    vhdx-locator ovf-href; do
    names "$carrier"
done
finish
