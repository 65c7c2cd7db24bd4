#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Budgets: what headers claim costs nothing, what files hold is bounded, and no
# image makes info take more than 2 s or 256 MiB.
source "$(dirname "$0")/helpers.bash"
setup
need qemu-img python3 timeout bzip2
fuzz=$(realpath "$(dirname "$0")/../fuzz")
shopt -s nullglob

raw_image a.raw 16
qemu-img convert -O qcow2 a.raw a.qcow2
qemu-img create -q -f qcow2 large.qcow2 100T

run "a number is wanted" 2 info --max-memory=much a.qcow2
run "and not 0" 2 info --max-memory=0 a.qcow2
run "beyond 64T: refused" 3 info large.qcow2
said 'size of the disk, have 109951162777600 bytes expect at most' err
said 'max-virtual-size' err
run "beyond 64T: admitted" 0 info --max-virtual-size=100T large.qcow2
run "a bound of the user's" 3 map --max-virtual-size=15M a.qcow2
run "to the byte" 0 map --max-virtual-size=16M a.qcow2
qemu-img create -q -f qcow2 -b large.qcow2 -F qcow2 child.qcow2 1G
run "a parent's size counts too" 3 info child.qcow2

run "too little memory for a table" 3 info --max-memory=1M large.qcow2 \
    --max-virtual-size=100T
said 'l1 table.*max-memory' err

run "a target's room, planned" 3 plan -f raw --max-output=64k a.raw t.qcow2
said 'room for the target.*max-output' err
run "a target's room, converted" 3 convert -q -f raw --max-output=64k \
    -o compress=zlib a.raw t.qcow2
check "nothing was made" test -z "$(echo t.*[a-z] | grep -v '\*')"
run "as much as it takes" 0 convert -q -f raw --max-output=16M a.raw t.qcow2

# bounded WHAT ARGUMENT...: 2 s of a core, which other work does not take away,
# and 256 MiB of memory, whatever it says.
bounded() {
    local what=$1 status
    shift
    echo "- $what: 2 s, 256 MiB"
    (
        ulimit -v 262144 -t 2
        timeout 20 "$DISKSHIFT" "$@" >out 2>err
    )
    status=$?
    ((status < 124)) || fail "$what: exit status $status"
    if grep -q -e 'no memory' -e 'out of memory' err; then
        fail "$what: more than 256 MiB"
    fi
}

qemu-img create -q -f vhdx log.vhdx 1G

# What a header claims: the most, over next to nothing.
python3 - <<'P'
import struct
def write(name, *pieces, size=None):
    with open(name, 'wb') as f:
        for offset, data in pieces:
            f.seek(offset); f.write(data)
        if size: f.truncate(size)

def qcow2(l1_entries, bits=21, size=1 << 46, backing=b'', snapshots=0):
    header = struct.pack('>IIQIIQIIQQIIQ', 0x514649fb, 3,
        120 if backing else 0, len(backing), bits, size, 0, l1_entries,
        1 << bits, (1 << bits) + (64 << 20), 1, snapshots, (1 << 40) if snapshots else 0)
    return header + struct.pack('>QQQII', 0, 0, 0, 4, 104) + b'\0' * 16 + backing
write('claims.qcow2', (0, qcow2(1 << 22)), size=3 << 21)
write('holes.qcow2', (0, qcow2(1 << 22, bits=16, size=1 << 46)), size=1 << 42)
write('snapshots.qcow2', (0, qcow2(64, bits=16, size=1 << 30,
    snapshots=65536)), size=1 << 41)
# A chain as deep as they go, each with a table as large as they are.
for i in range(64):
    name = b'layer%d.qcow2' % (i + 1) if i < 63 else b''
    write('layer%d.qcow2' % i, (0, qcow2(1 << 22, bits=16, size=1 << 45,
        backing=name)), size=1 << 42)
# A chain as deep, of small ones.
for i in range(64):
    name = b'deep%d.qcow2' % (i + 1) if i < 63 else b''
    write('deep%d.qcow2' % i, (0, qcow2(64, bits=16, size=1 << 34,
        backing=name)), size=1 << 30)
grains = b'KDMV' + struct.pack('<IIQQQQIQQQ', 1, 3, 1 << 46, 1 << 20, 1, 20, 1 << 16,
    0, 21, 128) + b'\0' + b'\n \r\n' + struct.pack('<H', 0)
write('claims.vmdk', (0, grains), size=1 << 40)
lines = b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n' \
    b'createType="twoGbMaxExtentFlat"\n'
write('lines.vmdk', (0, lines + b'RW 1 ZERO\n' * 52000))

# The largest log that is replayed, though nothing in it is an entry.
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
with open('log.vhdx', 'r+b') as f:
    for place in 65536, 131072:
        f.seek(place)
        header = bytearray(f.read(4096))
        header[48:64] = b'\1' * 16
        header[68:80] = struct.pack('<IQ', 32 << 20, 1 << 30)
        header[4:8] = bytes(4)
        header[4:8] = struct.pack('<I', crc32c(header))
        f.seek(place); f.write(header)
    f.truncate(2 << 30)
P
for image in claims.qcow2 holes.qcow2 snapshots.qcow2 layer0.qcow2 \
    claims.vmdk lines.vmdk; do
    bounded "$image" info --chain "$image"
    bounded "$image, however large" info --max-virtual-size=9999999T "$image"
done
run "a chain of tables that are each as large as may be" 3 info layer0.qcow2
said 'max-memory' err

# What fuzzers found: each input is the files of a disk.
mkdir unpacked
inputs=("$fuzz"/corpus/*/* "$fuzz"/regressions/*)
check "given: the fuzzers' inputs" test "${#inputs[@]}" -gt 100
count=0
while read -r image; do
    input=${inputs[count]} count=$((count + 1))
    format=${input%/*} format=${format##*/}
    [[ $format != regressions ]] || format=$(basename "$input" | cut -d- -f1)
    case $format in
    luks) format=qcow2 ;;
    convert | chain | text | codec) format= ;;
    esac
    bounded "${input#"$fuzz/"}" info ${format:+-f "$format"} "unpacked/$image"
    rm -r "unpacked/${image%/*}"
done < <(cd unpacked && "$DS_HELPERS/../fuzz/fuzz_unpack" "${inputs[@]}")
check "all of them" test "$count" = "${#inputs[@]}"
for image in "${DS_SAMPLES:-$fuzz/../../shared/samples}"/*.bz2; do
    [[ -f $image ]] || continue
    bzip2 -dc "$image" >sample && bounded "${image##*/}" info sample
done

# peak MOST ARGUMENT...: the most memory that it had at any time, in MiB.
peak() {
    local most=$1 have
    shift
    have=$(python3 -S - "$DISKSHIFT" "$@" <<'P'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
P
    )
    check "at most $most MiB, has $have: ${*: -1} ${*:1:2}" \
        test "$have" -le "$most"
}

# The program and its libraries take some; a check has counts of its own, and a
# conversion buffers. None of these depends on the image.
for limit in 8 40; do
    for image in holes.qcow2 layer0.qcow2 deep0.qcow2 lines.vmdk log.vhdx; do
        peak $((16 + limit)) map --max-memory=${limit}M $image
        peak $((64 + limit)) check --max-memory=${limit}M $image
        peak $((64 + limit)) plan --max-memory=${limit}M $image t.vhdx
    done
    rm -f t.vhdx
    "$DISKSHIFT" convert -q --max-memory=${limit}M deep0.qcow2 t.vhdx
    peak $((64 + limit)) convert -q --force --max-memory=${limit}M deep0.qcow2 \
        t.vhdx
done

# As many rounds as a count can say, in each slot.
printf secret >key
check "given: an encrypted image as QEMU makes it" "$qemu_img_luks" create \
    --object secret,id=s,file=key -f qcow2 \
    -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=2000 \
    luks.qcow2 1M
run "its passphrase opens it" 0 map --key-file key luks.qcow2
cp luks.qcow2 rounds.qcow2
python3 - <<'P'
data = open('rounds.qcow2', 'rb').read()
header = data.index(b'LUKS\xba\xbe')
first = header + 208
assert data[first:first + 4] == b'\0\xac\x71\xf3'
with open('rounds.qcow2', 'r+b') as f:
    f.seek(first + 4); f.write(b'\x7f\xff\xff\xff')
P
run "rounds without an end: refused" 3 map --key-file key rounds.qcow2
said 'key slot 0: rounds: have .*max-key-rounds' err
bounded "and not gone through" map --key-file key rounds.qcow2
run "info asks for no key" 0 info rounds.qcow2
run "a bound of the user's" 3 map --max-key-rounds=1k --key-file key luks.qcow2
finish
