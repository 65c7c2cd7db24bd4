#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A Windows guest that is reached by SSH is spoken to in PowerShell alone: its
# files, its commands. No PowerShell runs here: windows-ssh stands in, a real
# parser reads what it was told, and /bin/sh is the other guest.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
if [[ -z ${DS_OWN_LIBVIRT:-} ]]; then
    mkdir -p "$DS_TEST_DIR"
    made=0
    DS_POWERSHELL=$(realpath "$DS_TEST_DIR/..")/powershell/powershell
    out=$("$tests_dir/guest/make_powershell" "${DS_POWERSHELL%/*}" 2>&1) || made=$?
    ((made == 0 || made == 77)) || die "make_powershell: $out"
    ((made == 0)) || DS_POWERSHELL="${out#skipped: }"
    export DS_POWERSHELL
fi
in_fake_namespace "$@"
begin windows-guest
mount=$(fs_make xfs 512M) || exit 1
fake_start

mkdir -p "$run/bin"
ln -s "$orchestrator_dir/windows-ssh" "$run/bin/ssh"
export WINDOWS_DIR=$run/windows WINDOWS_GUEST=$run/guest
system_path=$PATH
# The script's work in that guest.
guest_is() {
    {
        echo '#!/bin/bash'
        echo "export LIBVIRT_DEFAULT_URI='$LIBVIRT_DEFAULT_URI'"
        cat
    } >"$WINDOWS_GUEST"
    chmod +x "$WINDOWS_GUEST"
    rm -rf "$WINDOWS_DIR"
    mkdir -p "$WINDOWS_DIR"
}
by_ssh() {
    PATH=$run/bin:$PATH move web --guest-ssh 'admin@win' --prepare online \
        --accept-warning guest-answers "$@"
}
guest_is <<END
printf 'changed in the guest' |
    dd of='$mount/vm/web.img' bs=1 seek=65536 conv=notrunc status=none
virsh -q destroy web
END

script=
vm_make web
told mute-web
status "a Windows guest moves" 0 by_ssh
check "it has moved" is_moved web
file=$WINDOWS_DIR/c/Windows/Temp/diskshift-1.ps1
"$DISKSHIFT" guest-script --guest windows --help >/dev/null 2>&1
check "the script has come whole" grep -q 'Set-StrictMode\|function ' "$file"
check "it was run once" test "$(wc -l <"$WINDOWS_DIR/ran")" = 1
check "nothing of sh was said" bash -c \
    "! grep -vx -e 'echo diskshift' -e 'uname -s' '$WINDOWS_DIR/commands' |
        grep -v '^powershell.exe '"
check "the system was asked for once in each visit" test \
    "$(grep -c uname "$WINDOWS_DIR/commands")" -le 1
if [[ -x $DS_POWERSHELL ]]; then
    check "a parser reads all of it" "$DS_POWERSHELL" check "$file" \
        "$WINDOWS_DIR"/*.ps1
    check "the path is one literal" test \
        "$("$DS_POWERSHELL" literal path "$WINDOWS_DIR/0.ps1")" = \
        'C:\Windows\Temp\diskshift-1.ps1'
else
    case_skip "a parser reads all of it" "$DS_POWERSHELL"
fi
vm_drop web

# A script of one's own, byte for byte, with what encodings trip over.
printf 'Write-Output "gr\xc3\xbc\xc3\x9fe"\r\n%s\n' "$(head -c 3000 /dev/urandom | base64)" \
    >"$run/own.ps1"
script=$run/own.ps1
rm -rf "$WINDOWS_DIR" && mkdir "$WINDOWS_DIR" && touch "$WINDOWS_DIR/odd"
vm_make web
told mute-web
status "one with a uname moves" 0 by_ssh
check "and has the script byte for byte" cmp "$run/own.ps1" "$file"
vm_drop web

touch "$WINDOWS_DIR/refuses"
vm_make web
told mute-web
status "the file cannot be written" 6 by_ssh
said "it says where and why" \
    'write C:.Windows.Temp.diskshift-1.ps1: Access to the path is denied'
check "the source is as before" is_untouched web
vm_drop web

guest_is <<'END'
echo "no luck" >&2
exit 3
END
vm_make web
told mute-web
status "the script fails" 6 by_ssh
said "its exit status and words come back" 'exit status 3: no luck'
check "the source is as before" is_untouched web
vm_drop web

# The other shell: a file that others have put there first is not written into.
# Its /tmp is the run's.
theirs=$run/tmp
mkdir "$theirs"
cat >"$run/bin/ssh-sh" <<END
#!/bin/bash
command=\${*: -1}
exec sh -c "\${command//\\/tmp\\/diskshift/$theirs/diskshift}"
END
chmod +x "$run/bin/ssh-sh"
ln -sf "$run/bin/ssh-sh" "$run/bin/ssh"
cat >"$run/own.sh" <<END
printf 'changed in the guest' |
    dd of='$mount/vm/web.img' bs=1 seek=65536 conv=notrunc status=none
LIBVIRT_DEFAULT_URI='$LIBVIRT_DEFAULT_URI' virsh -q destroy web
END
script=$run/own.sh
echo precious >"$theirs/file"
ln -s file "$theirs/diskshift-1.sh"
vm_make web
told mute-web
status "a guest with sh moves" 0 by_ssh
check "it has moved" is_moved web
check "the file is the script" cmp "$run/own.sh" "$theirs/diskshift-1.sh"
check "and nobody else's" test "$(stat -c %a "$theirs/diskshift-1.sh")" = 700
check "what a link led to is as it was" grep -qx precious "$theirs/file"
PATH=$system_path
finish
