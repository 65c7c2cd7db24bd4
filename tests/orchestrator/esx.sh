#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ESXi's driver against its API as govmomi simulates it; what goes by SSH
# against esx-ssh. esx_driver.c has the cases.
source "$(dirname "$0")/../lib/lib.bash"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$DS_TEST_DIR"
kit=$(realpath "$DS_TEST_DIR/..")/govmomi
out=$("$tests_dir/lib/make_govmomi" "$kit" 2>&1) || {
    (($? == 77)) && echo "skipped: ${out#skipped: }" && exit 77
    die "cannot make the simulator: $out"
}
begin esx

mkdir -p store esx/bin "esx/volumes/store 1/it's" ours
cat >esx/bin/vim-cmd <<'END'
#!/bin/sh
[ "$1" = solo/registervm ] && [ -s "$2" ] && echo "$2" >>"$ESX_DIR/registered"
END
chmod +x esx/bin/vim-cmd
cat >auth.conf <<'END'
[credentials-sim]
username=user
password=pass
[auth-esx-127.0.0.1]
credentials=sim
END
chmod 600 auth.conf

mkfifo input output
TMPDIR=$run/store "$kit/vcsim" <input >output 2>vcsim.log &
exec 8>input
read -r port <output || die "the simulator does not start: $(cat vcsim.log)"
for vmx in store/govcsim-*/ha-host_VM0/ha-host_VM0.vmx; do
    cat >"$vmx" <<'END'
.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "13"
displayName = "ha-host_VM0"
guestOS = "debian10-64"
numvcpus = "2"
memsize = "64"
firmware = "efi"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:0.present = "TRUE"
scsi0:0.deviceType = "scsi-hardDisk"
scsi0:0.fileName = "disk1.vmdk"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.networkName = "VM Network"
ethernet0.addressType = "static"
ethernet0.address = "00:50:56:3f:00:01"
END
done

export ESX_DIR=$run/esx ESX_SSH=$here/esx-ssh ESX_AUTH=$run/auth.conf
export ESX_URI="esx://127.0.0.1:$port/?no_verify=1" ESX_OURS=$run/ours
export ESX_STORE=$run/store
status=0
"${DS_ESX_DRIVER:-$tests_dir/../build/tests/orchestrator/esx_driver}" \
    >cases 2>&1 || status=$?
exec 8>&-
wait
cat cases
check "the driver's cases" test "$status" = 0
finish
