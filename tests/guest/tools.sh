#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The hypervisors' tools in a real Debian: its own dpkg and apt, packages of
# Debian, in a repository of this machine's. What the source had is gone, what the
# target needs is there after the first boot; what fails is in the result, and
# the guest powers off all the same.
# shellcheck source=tests/lib/lib.bash
. "$(dirname "$0")/../lib/lib.bash"
guest=$tests_dir/guest
# shellcheck source=tests/guest/debian.bash
. "$guest/debian.bash"
DS_GUEST_TOOLS=${DS_GUEST_TOOLS:-$DS_TEST_DIR/../guest/tools}
begin tools_guest
need jq unshare dpkg-deb dpkg-scanpackages mmdebstrap
"$guest/make_debian" "$DS_GUEST_TOOLS" tools || exit $?
DS_GUEST_TOOLS=$(realpath "$DS_GUEST_TOOLS")

# deb NAME FIELDS: a package of ours, of what lies in $run/deb/NAME
deb() {
    mkdir -p "$run/deb/$1/DEBIAN"
    printf '%s\n' "Package: $1" 'Version: 1' 'Architecture: all' \
        'Maintainer: nobody <nobody@localhost>' "Description: $1" ${2:+"$2"} \
        >"$run/deb/$1/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$run/deb/$1" "$run/$1.deb" >/dev/null
}

# deb_script NAME SCRIPT TEXT
deb_script() {
    mkdir -p "$run/deb/$1/DEBIAN"
    printf '#!/bin/sh\n%s\n' "$3" >"$run/deb/$1/DEBIAN/$2"
    chmod 755 "$run/deb/$1/DEBIAN/$2"
}

# machine_make NAME [PACKAGES...]: a guest that has these packages, in $place.
# All that have the same packages begin as copies.
machine_make() {
    local name=$1 made
    shift
    made=$run/with-${*:-nothing}
    made=${made// /+}
    if [[ ! -d $made ]]; then
        place_make "${made##*/}" "$DS_GUEST_TOOLS/root"
        mkdir -p "$made/upper/repo" "$made/upper/etc/apt"
        ln "$DS_GUEST_TOOLS"/repo/* "$made/upper/repo/" 2>/dev/null ||
            cp "$DS_GUEST_TOOLS"/repo/* "$made/upper/repo/"
        echo 'deb [trusted=yes] file:/repo ./' \
            >"$made/upper/etc/apt/sources.list"
        boot "apt-get update && apt-get -y --no-install-recommends \
            install ${*:-apt} && echo installed"
        check "a Debian with ${*:-nothing more}" grep -qx installed "$made/out"
    fi
    place=$run/$name
    cp -a "$made" "$place"
}

# script SOURCE TARGET [OPTIONS...]: the first script goes into the guest
script() {
    "$DISKSHIFT" guest-script --guest linux --source "$1" --target "$2" \
        --task tools-remove,tools-install,power-off -o grace=0 \
        -o same_machine=run -o virtual_nics=yes -o package_wait="${wait:-2}" "${@:3}" \
        >"$place/upper/first.sh" || die "no script"
}

# has PACKAGE: as dpkg -l says it
has() {
    boot "dpkg -l $1 | grep -q '^ii'"
}

# What dpkg knows, but for how often it looked.
packages() {
    boot "dpkg-query -W -f '\${binary:Package} \${Version} \${Status}\n'"
    sort "$place/out"
}

# -- as it should be ----------------------------------------------------------

machine_make whole open-vm-tools
script vmware kvm
packages >"$place/packages"
boot 'sh /first.sh --dry-run && sh /first.sh --print-second >/second.sh &&
    sh /second.sh --phase leave --dry-run'
check "dry: what would be removed is told" \
    grep -q 'would: remove open-vm-tools' "$place/out"
check "dry: nothing is" diff "$place/packages" <(packages)
check "nor is there anything of ours" test ! -e "$place/upper/var/lib/diskshift"
boot "$leave"
check "the first script is done" result first '.status == "done"'
check "open-vm-tools is gone, as dpkg -l says" not has open-vm-tools
check "and the record says so" said did 'remove open-vm-tools'
check "the source is powered off" powered_off
check "what it needed stays" has libglib2.0-0

boot 'sh /first.sh --undo'
check "undone before the move: it is there again, at its version" \
    diff "$place/packages" <(packages)
check "nothing is armed" not_armed
boot "sh /var/lib/diskshift/second arrive; ls /var/lib/diskshift/second.d"
check "nor is there what could run" grep -q 'No such file' "$place/out"

boot "$leave; sh /first.sh"
check "a second time: removed" not has open-vm-tools
check "and told twice without harm" result first '.status == "done"'
rm -f "$place/upper/var/lib/called"
boot 'sh /var/lib/diskshift/second arrive
    for script in /var/lib/diskshift/second.d/*; do
        [ "${script%.sh}" = "$script" ] ||
            sh "$script" --phase settle --dry-run
    done'
check "dry in the target: told, not done" \
    grep -q 'would: install qemu-guest-agent' "$place/out"
check "and not there" not has qemu-guest-agent
boot 'sh /var/lib/diskshift/second settle'
check "QEMU's agent is there after the first boot" has qemu-guest-agent
check "and starts at boot" said did 'find qemu-guest-agent enabled'
check "the record has what was left and what arrived" result second \
    '.status == "done" and .phase == "settle" and
    ([.steps[].element] | contains(["tools-remove-vmware",
        "tools-install-kvm", "power-off-settle"]))'
check "the target is powered off" powered_off
check "nothing is armed then" not_armed
boot 'sh /var/lib/diskshift/done/all.sh --undo'
check "undone in the target: what was installed is gone" \
    not has qemu-guest-agent
check "and what was removed is there" has open-vm-tools

machine_make given hyperv-daemons
cp "$DS_GUEST_TOOLS"/repo/open-vm-tools_* "$place/upper/root's tools.deb"
script hyperv vmware -o "tools_package=/root's tools.deb"
boot "$leave"
check "hyperv-daemons is gone" not has hyperv-daemons
# The repository has what it needs, but not the package itself.
boot "sed -i '/^Package: open-vm-tools\$/,/^\$/d' /repo/Packages; $arrive"
check "open-vm-tools, from a file, is there" has open-vm-tools
check "done" result second '.status == "done"'
boot '/usr/bin/systemctl is-enabled open-vm-tools vgauth'
check "enabled, as systemctl says" test \
    "$(sort -u "$place/out")" = enabled

# -- what fails is told, and the guest comes up -------------------------------

machine_make unreachable qemu-guest-agent
script kvm hyperv
boot "$leave"
check "qemu-guest-agent is gone" not has qemu-guest-agent
packages >"$place/packages"
rm -f "$place/upper/var/lib/called"
boot "echo 'deb [trusted=yes] http://127.0.0.1:9/debian ./' \
    >/etc/apt/sources.list; ip link set lo up 2>/dev/null; $arrive"
check "no repository: a warning" result second \
    '.status == "warned" and .phase == "settle"'
check "with the reason" said warned 'Failed to fetch http://127.0.0.1:9'
check "and its lists are told of" said warned 'lists of packages were not read'
check "nothing else was changed" diff "$place/packages" <(packages)
check "it powers off" powered_off
check "and is not armed" not_armed
boot 'sh /first.sh --undo; echo status $?'
check "what cannot be undone is told" grep -q \
    'qemu-guest-agent .* was removed and cannot be had again' "$place/out"
check "and by the status" grep -q 'status 1' "$place/out"
boot "echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
    apt-get update; sh /first.sh --undo; echo status \$?"
check "undone once more, when the repository answers: it is there" \
    has qemu-guest-agent
boot 'sh /first.sh --undo; echo status $?'
check "and nothing is left to undo" grep -q 'status 0' "$place/out"

# A package whose script fails, one that is cut off, one that is not there.
deb_script qemu-guest-agent postinst 'echo it will not; exit 3'
deb qemu-guest-agent
mv qemu-guest-agent.deb fails.deb
head -c 700 fails.deb >cut.deb
for kind in fails cut; do
    machine_make "$kind"
    cp "$kind.deb" "$place/upper/given.deb"
    script vmware kvm -o tools_package=/given.deb
    boot "$leave"
    check "none of VMware's: not a word of harm" result second \
        '.status == "done"'
    boot "rm /repo/Packages; : >/repo/Packages; $arrive"
    check "a package that $kind: a warning" result second \
        '.status == "warned" and .phase == "settle"'
    check "that names it" said warned '/given.deb was not installed: '
    [[ $kind != fails ]] || check "and tells how it ended" said warned \
        'script subprocess returned error exit status 3'
    check "nothing is left of it" test -z \
        "$(packages | grep guest-agent | grep -v config-files)"
    boot 'dpkg --audit'
    check "dpkg is content" test ! -s "$place/out"
    check "it powers off" powered_off
done
machine_make instead
cp fails.deb "$place/upper/given.deb"
script vmware kvm -o tools_package=/given.deb
boot "$leave; $arrive"
check "the repository's instead" has qemu-guest-agent
check "is told" said warned "the repository's is tried"
machine_make absent
script vmware kvm -o tools_package=/given.deb
boot 'sh /first.sh; echo status $?'
check "one that is not there: refused in the source" grep -q 'status 1' \
    "$place/out"
check "with its name" result first '[.steps[].messages[].text] |
    any(contains("/given.deb"))'
check "and nothing armed" not_armed

# Another dpkg at work: a package whose script takes its time.
deb_script slow preinst 'sleep "$(cat /slow-seconds)"'
deb slow
locked='dpkg -i /slow.deb >/dev/null 2>&1 &
while ! dpkg -l slow 2>/dev/null | grep -q ^iH; do sleep 0.05; done'
for seconds in 4 30; do
    machine_make "locked-$seconds" open-vm-tools
    cp slow.deb "$place/upper/"
    echo "$seconds" >"$place/upper/slow-seconds"
    wait=$((seconds == 4 ? 60 : 2))
    script vmware kvm
    boot "$locked; $leave"
    if ((seconds == 4)); then
        check "dpkg is locked for a while: it waits" not has open-vm-tools
        check "and is done" result second '.status == "done"'
    else
        check "dpkg is locked: the tools stay" has open-vm-tools
        check "a warning says why" said warned \
            'open-vm-tools was not removed: E: Unable to acquire the dpkg'
        check "the source is powered off" powered_off
        # Its dpkg was killed with the machine.
        boot "dpkg --force-remove-reinstreq --purge slow
            rm /var/lib/called; $locked; $arrive"
        check "also in the target" said warned \
            'qemu-guest-agent: E: Unable to acquire the dpkg'
        check "what was left undone is still told there" said warned \
            'open-vm-tools was not removed'
        check "the target is powered off" powered_off
    fi
done

wait=

# -- what else there is -------------------------------------------------------

# A package that others need.
deb needs 'Depends: open-vm-tools'
machine_make needed open-vm-tools
cp needs.deb "$place/upper/"
script vmware kvm
boot "dpkg -i /needs.deb; $leave"
check "others depend on it: it stays" has open-vm-tools
check "and they" has needs
check "told" said warned 'depend on it: needs'

# VMware's own tools. A stand-in: it keeps to what VMware documents of its script.
machine_make tarball
mkdir -p "$place/upper/opt/vm tools" "$place/upper/etc/vmware-tools"
echo 'answer BINDIR /opt/vm tools' >"$place/upper/etc/vmware-tools/locations"
printf '%s\n' '#!/usr/bin/perl' 'exit 1 if @ARGV;' \
    'unlink($0, "/etc/vmware-tools/locations") == 2 or die;' \
    'rmdir "/etc/vmware-tools" or die;' \
    >"$place/upper/opt/vm tools/vmware-uninstall-tools.pl"
chmod 755 "$place/upper/opt/vm tools/vmware-uninstall-tools.pl"
cp -a "$place" "$run/tarball-fails"
script vmware kvm
boot "$leave"
check "VMware's own uninstaller (a stand-in) was run" test ! -e \
    "$place/upper/opt/vm tools/vmware-uninstall-tools.pl"
check "told" said did "remove VMware's own tools"
boot 'sh /first.sh --undo; echo status $?'
check "undo says that they stay away" grep -q 'are not brought back' \
    "$place/out"
place=$run/tarball-fails
rm "$place/upper/etc/vmware-tools/locations"
mkdir -p "$place/upper/usr/bin"
mv "$place/upper/opt/vm tools/vmware-uninstall-tools.pl" \
    "$place/upper/usr/bin/"
script vmware kvm
boot "$leave"
check "one that fails: a warning" said warned "own tools were not removed"
check "the source is powered off" powered_off

finish
