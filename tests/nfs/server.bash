# SPDX-License-Identifier: Apache-2.0
# Sourced after lib/lib.bash by scripts that run in a network namespace of
# their own (in_namespace): a kernel NFS server in user-mode Linux.
#
#   in_namespace "$@"          first call: begins again without a network
#   disk_make TYPE SIZE        an image to serve; its path in $disk
#   disk_mount / disk_unmount  look into it while no server has it: $disk_at
#   server_start TYPE [EXPORT] serves $disk as 10.0.2.15:/srv
#   server_out_of_grace        waits until it answers questions about locks
#   programs_put PROGRAM...    copies them and their libraries to the mounted
#                              disk, to be run there as /srv/.programs/NAME
#   server_run COMMAND         on the server, output and exit status from there
#   server_end                 the disk is whole and free after it

nfs_dir=$tests_dir/nfs
server_url='nfs://10.0.2.15/srv'
server_query='?nfsport=2049&mountport=20048'
disk=
disk_at=

skip_all() {
    echo "skipped: $1"
    exit 77
}

in_namespace() {
    local out status=0
    ((EUID == 0)) || die "needs root"
    [[ -z ${DS_OWN_NETWORK:-} ]] || return 0
    [[ -c /dev/net/tun ]] || skip_all "no /dev/net/tun for the NFS server"
    mkdir -p "$DS_TEST_DIR"
    DS_NFS_SERVER=$(realpath "$DS_TEST_DIR/..")/nfs-server
    out=$("$nfs_dir/make_server" "$DS_NFS_SERVER" 2>&1) || status=$?
    ((status != 77)) || skip_all "${out#skipped: }"
    ((status == 0)) || die "cannot make the NFS server: $out"
    export DS_NFS_SERVER
    unshare --net --mount true 2>/dev/null ||
        skip_all "no network and mount namespaces here"
    # The server's disk is mounted here as well, by turns: nobody else's new
    # namespace may keep that mount when it ends.
    DS_OWN_NETWORK=1 exec unshare --net --mount --propagation private \
        bash "$0" "$@"
}

server_need() {
    need socat ip mkfs.xfs mkfs.btrfs
    ip link set lo up
    ip tuntap add dev tap0 mode tap && ip addr add 10.0.2.2/24 dev tap0 &&
        ip link set tap0 up || skip_all "no tap device for the NFS server"
}

disk_make() {
    local type=$1 size=$2
    disk=$run/disk.$type
    disk_at=$run/mnt.$type
    mkdir -p "$disk_at"
    truncate -s "$size" "$disk"
    case $type in
    xfs) mkfs.xfs -q -f -m reflink=1 "$disk" ;;
    btrfs) mkfs.btrfs -q "$disk" ;;
    ext4) mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1 "$disk" ;;
    esac >"$run/mkfs.log" 2>&1 || die "mkfs: $(cat "$run/mkfs.log")"
}

disk_mount() {
    mount -o loop "$disk" "$disk_at" || die "cannot mount $disk"
}

disk_unmount() {
    umount "$disk_at" || die "cannot unmount $disk"
}

programs_put() {
    local into=$disk_at/.programs program name library
    mkdir -p "$into/lib"
    for program in "$@"; do
        name=${program##*/}
        cp "$program" "$into/lib/$name"
        ldd "$program" | awk '/=> \//{print $3} /^\t\/lib/{print $1}' |
            while read -r library; do
                cp -nL "$library" "$into/lib/"
            done
        printf '#!/bin/sh\nexec %s/ld-linux-x86-64.so.2 --library-path %s %s "$@"\n' \
            /srv/.programs/lib /srv/.programs/lib "/srv/.programs/lib/$name" \
            >"$into/$name"
        chmod +x "$into/$name"
    done
}

server_start() {
    local type=$1 export=${2:-sync} i
    server_log=$run/console.log
    TMPDIR=/dev/shm "$DS_NFS_SERVER/linux" root= mem=512M \
        initrd="$DS_NFS_SERVER/initrd" ubd0="$disk" \
        vec0:transport=tap,ifname=tap0,depth=128,gro=1 \
        FSTYPE="$type" EXPORT="$export" con=null con0=null,fd:1 con1=null \
        quiet uml_dir="$run" umid=server </dev/null >"$server_log" 2>&1 &
    server_pid=$!
    for ((i = 0; i < 600; i++)); do
        ! grep -qas 'NFS READY' "$server_log" || return 0
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    skip_all "user-mode Linux does not start here: $(tail -n 3 "$server_log" |
        tr -cd '[:print:] ')"
}

# NLM's grace begins with the server; init makes it 3 s.
server_out_of_grace() {
    sleep 3.5
}

server_run() {
    local out
    out=$(printf '(%s) 2>&1\necho "__END__$?"\n' "$1" |
        timeout "${2:-60}" socat -t 60 - \
            TCP:10.0.2.15:2323,retry=30,interval=0.1)
    printf '%s\n' "${out%__END__*}"
    [[ $out == *__END__0* ]]
}

server_end() {
    local i
    printf 'nfs-end\n' | timeout 20 socat -t 5 - TCP:10.0.2.15:2323 \
        >/dev/null 2>&1
    for ((i = 0; i < 100; i++)); do
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    reap "$server_pid" KILL
}

# proxy PORT [FAULT...]: nfs_proxy before that port of the server, at 127.0.0.1:
# its id in $spawned, what it saw in $run/calls.PORT.
proxy() {
    local port=$1 i
    shift
    rm -f "$run/calls.$port"
    spawn nfs_proxy "$port" 10.0.2.15 "$port" "$@" >"$run/calls.$port"
    for ((i = 0; i < 100; i++)); do
        ! grep -qs ready "$run/calls.$port" || return 0
        sleep 0.02
    done
    die "nfs_proxy does not start"
}
