#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A server of NFSv4.2 that has neither CLONE nor COPY, NFS-Ganesha: its disks
# are read and written over the network, and the report says so.
source "$(dirname "$0")/../lib/lib.bash"

skip_all() {
    echo "skipped: $1"
    exit 77
}

# In a network and a mount namespace of its own: rpcbind, without which Ganesha
# has no NFSv3, wants /run and a user for itself.
if [[ -z ${DS_OWN_NETWORK:-} ]]; then
    ((EUID == 0)) || die "needs root"
    mkdir -p "$DS_TEST_DIR"
    DS_GANESHA=$(realpath "$DS_TEST_DIR/..")/nfs-ganesha
    status=0
    out=$("$tests_dir/nfs/make_ganesha" "$DS_GANESHA" 2>&1) || status=$?
    ((status != 77)) || skip_all "${out#skipped: }"
    ((status == 0)) || die "cannot make Ganesha: $out"
    export DS_GANESHA
    unshare -n -m true 2>/dev/null || skip_all "no namespaces here"
    DS_OWN_NETWORK=1 exec unshare -n -m bash "$0" "$@"
fi

begin nfs-ganesha
need ip
ip link set lo up
root=$DS_GANESHA/root
export_at=$(fs_make xfs 1G)
chmod 777 "$export_at"

libraries=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu
libraries+=:$root/usr/lib/ganesha
mount -t tmpfs run /run && mkdir -p /run/rpcbind /run/ganesha
cp -a /etc "$run/etc" && cp "$root/etc/netconfig" "$run/etc/" &&
    echo '_rpc:x:65533:65534::/run/rpcbind:/usr/sbin/nologin' \
        >>"$run/etc/passwd" && mount --bind "$run/etc" /etc || die "no /etc"
cat >"$run/ganesha.conf" <<END
NFS_CORE_PARAM {
    NFS_Port = 2049; MNT_Port = 20048; Protocols = 3, 4;
    Enable_NLM = false; Enable_RQUOTA = false;
    Plugins_Dir = "$root/usr/lib/x86_64-linux-gnu/ganesha";
}
NFSV4 {
    Graceless = true; Minor_Versions = 1, 2; RecoveryBackend = fs;
    RecoveryRoot = "$run/recovery"; UseGetpwnam = true;
    Only_Numeric_Owners = true; Allow_Numeric_Owners = true;
}
NFS_KRB5 { Active_krb5 = false; }
EXPORT {
    Export_Id = 1; Path = "$export_at"; Pseudo = "$export_at";
    Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    Protocols = 3, 4; Transports = TCP; PrivilegedPort = false;
    FSAL { Name = VFS; }
}
END
mkdir -p "$run/recovery"
LD_LIBRARY_PATH=$libraries spawn "$root/sbin/rpcbind" -f -w \
    >"$run/rpcbind.log" 2>&1
rpcbind=$spawned
for ((i = 0; i < 100; i++)); do
    [[ ! -S /run/rpcbind.sock ]] || break
    sleep 0.05
done
LD_LIBRARY_PATH=$libraries spawn "$root/usr/bin/ganesha.nfsd" -F \
    -f "$run/ganesha.conf" -L "$run/ganesha.log" -p "$run/ganesha.pid" \
    >"$run/ganesha.out" 2>&1
ganesha=$spawned

(
    cd "$export_at" || exit 1
    mkdisk sparse 8M 51 disk.raw
    qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
    mv disk.raw "$run/disk.raw"
) || die "cannot make sources"

url=nfs://127.0.0.1$export_at
for ((i = 0; i < 100; i++)); do
    "$DISKSHIFT" info "$url/disk.qcow2?timeout=2&patience=2" >/dev/null 2>&1 &&
        break
    sleep 0.1
done
((i < 100)) || skip_all "Ganesha does not start here: $(tail -n 2 \
    "$run/ganesha.log" "$run/ganesha.out" 2>&1 | tr -cd '[:print:] ')"

status "convert" 0 "$DISKSHIFT" convert --json --stats \
    "$url/disk.qcow2" "$url/disk.vhdx"
check "it says that data was read and written" grep -qE \
    '[1-9][0-9]* read and [1-9][0-9]* written' \
    <(jq -r '.targets[0].notes | join(" ")' "$run/out")
check "it says why" test \
    "$(jq '.targets[0].copied_bytes_by_reason.no_reflink' "$run/out")" -gt 0
check "CLONE and COPY were asked for, once each" test "$(jq -c '[.traffic |
    .procedures[] | select(.procedure == "CLONE" or .procedure == "COPY")
    .round_trips]' "$run/out")" = '[1,1]'
check "QEMU reads the disk" qemu-img compare -q -f vhdx -F raw \
    "$export_at/disk.vhdx" "$run/disk.raw"
status "--require-clone refuses it" 6 "$DISKSHIFT" convert --require-clone \
    "$url/disk.qcow2" "$url/never.vhdx"
check "and leaves nothing" test -z "$(find "$export_at" -name '*.partial' \
    -o -name '.diskshift*' -o -name 'never*')"
reap "$ganesha" KILL
reap "$rpcbind"
finish
