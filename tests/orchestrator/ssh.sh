#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Commands in a guest by SSH, against a real server: OpenSSH's, on loopback in a
# network of the run's own, with accounts of the run's own. First the table of
# guest.h call by call (guest_driver.c), then whole moves with the fake, whose
# agent is mute.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
if [[ -z ${DS_OWN_LIBVIRT:-} ]]; then
    mkdir -p "$DS_TEST_DIR"
    DS_SSHD=$(realpath "$DS_TEST_DIR/..")/sshd
    out=$("$orchestrator_dir/make_sshd" "$DS_SSHD" 2>&1) || {
        (($? == 77)) && skip_all "${out#skipped: }"
        die "cannot unpack the server: $out"
    }
    DS_GUEST_DRIVER=$(realpath \
        "${DS_GUEST_DRIVER:-$tests_dir/../build/tests/orchestrator/guest_driver}")
    export DS_SSHD DS_GUEST_DRIVER
fi
in_fake_namespace "$@"
begin ssh
need ssh ssh-keygen
mount=$(fs_make xfs 1G) || exit 1
fake_start

# -- the server ---------------------------------------------------------------

# /etc/passwd is the run's own here.
grep -q '^sshd:' /etc/passwd ||
    echo 'sshd:x:997:65534::/run/sshd:/usr/sbin/nologin' >>/etc/passwd
mkdir -p /run/sshd
echo 'root:*:19000:0:99999:7:::' >"$run/shadow"
chmod 600 "$run/shadow"
mount --bind "$run/shadow" /etc/shadow

for name in host host2 guest stranger cutter; do
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$run/$name"
done
# Who comes with this key is cut off when a file is sent.
cat >"$run/cut.sh" <<END
case \$SSH_ORIGINAL_COMMAND in
*cat*) head -c 1000 >/dev/null; kill -9 \$PPID; sleep 9 ;;
*) eval "\$SSH_ORIGINAL_COMMAND" ;;
esac
END
{
    cat "$run/guest.pub"
    echo "command=\"sh $run/cut.sh\" $(cat "$run/cutter.pub")"
} >"$run/authorized"
cat >"$run/sshd_config" <<END
ListenAddress 127.0.0.1:2222
HostKey $run/host
AuthorizedKeysFile $run/authorized
PidFile $run/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
END
# It writes its title over its environment, by which the watchdog would know it.
spawn setpriv --pdeathsig KILL "$DS_SSHD/sshd" -D -e -f "$run/sshd_config" 2>"$run/sshd.log"
disown "$spawned"
for ((i = 0; i < 100; i++)); do
    [[ -s $run/sshd.pid ]] && break
    sleep 0.1
done
[[ -s $run/sshd.pid ]] || die "the server does not start: $(cat "$run/sshd.log")"
known() {
    echo "[127.0.0.1]:2222 $(cut -d' ' -f1,2 "$run/$1.pub")"
}
known host >"$run/known"
known host2 >"$run/changed"
: >"$run/none"

# -- call by call -------------------------------------------------------------

key=guest hosts=known
guest() {
    "$DS_GUEST_DRIVER" root@127.0.0.1:2222 "$run/$key" "$run/$hosts" "$@"
}

# gives WHAT FILTER CALL...: its outcome is so, by jq
gives() {
    local what=$1 filter=$2
    shift 2
    guest "$@" >"$run/outcome"
    check "$what" jq -e "$filter" "$run/outcome"
    ((failures == 0)) || cut -c 1-200 "$run/outcome"
}

# The words that find the server's process of this very connection, and end it.
cut_off='kill -9 $(cat /proc/$(cat '$run'/sshd.pid)/task/*/children)'

gives "a key that it knows" '.open and .system == "linux"' system
key=stranger gives "a key that it does not" '(.open | not) and
    .errno == 113 and (.error | test("Permission denied .publickey"))' system
hosts=changed gives "a host key that has changed" '(.open | not) and
    (.error | test("IDENTIFICATION HAS CHANGED"))' system
hosts=none gives "a host key that nobody knows" '(.open | not) and
    (.error | test("Host key verification failed"))' system
gives "exit status 0" '.exit_status == 0 and .output == "out\n" and
    .errors == ""' run 20 echo out
gives "exit status 3, and what it said" '.exit_status == 3 and
    .output == "out\n" and (.errors | test("^no luck *$"))' \
    run 20 sh -c 'echo out; echo no luck >&2; exit 3'
gives "a command that is not there" '.exit_status == 127' run 20 /no/such
# shellcheck disable=SC2016
gives "words come as they are" \
    '.output == "<it'"'"'s> <a  b> <$HOME `id` \\> <*> <>\n"' \
    run 20 printf '<%s> <%s> <%s> <%s> <%s>\n' "it's" 'a  b' '$HOME `id` \' '*' ''
gives "3 MiB of output and 2 of errors: 1 MiB of each" '.exit_status == 5 and
    (.output | length) == 1048576 and (.errors | length) == 1048576' \
    run 60 sh -c 'head -c 3145728 /dev/zero | tr "\0" o
        head -c 2097152 /dev/zero | tr "\0" e >&2; exit 5'
gives "one that does not end" '.errno == 110 and .class == "system"' \
    run 2 sleep 30
gives "the connection is cut under it" '.open and .errno == 32 and
    (.error | test("connection was lost"))' \
    run 20 sh -c "echo begun; $cut_off; sleep 9"
gives "the server is there for the next" '.exit_status == 0' run 20 true

head -c 1500000 /dev/urandom >"$run/data"
gives "a file is sent" '.open and .error == null' put "$run/a file's" "$run/data"
check "byte for byte, with its mode" test \
    "$(stat -c %a "$run/a file's") $(digest <"$run/a file's")" = \
    "640 $(digest <"$run/data")"
gives "where none can be" '.class == "refused" and
    (.error | test("write /proc/none"))' put /proc/none "$run/data"
key=cutter gives "it is cut off while it is sent" '.open and .class == "system" and
    (.error | test("connection was lost"))' put "$run/half" "$run/data"

# -- whole moves --------------------------------------------------------------

# What a guest would do: change its disk, power itself off.
guest_does() {
    echo '#!/bin/sh'
    echo "printf 'changed in the guest' |"
    echo "    dd of='$mount/vm/web.img' bs=1 seek=65536 conv=notrunc status=none"
    printf '%s\n' "$@"
}
off="virsh -q -c '$LIBVIRT_DEFAULT_URI' destroy web"
script=$run/script.sh
by_ssh() {
    local name=$1
    shift
    move web --prepare online --guest-ssh root@127.0.0.1:2222 \
        --ssh-key "$run/$name" --known-hosts "$run/known" "$@"
}
moved_by_ssh() {
    vm_make web
    told mute-web
    guest_does "$@" >"$script"
}

moved_by_ssh "echo armed" "(sleep 0.5; $off) >/dev/null 2>&1 </dev/null &"
status "it moves by SSH" 0 by_ssh guest
check "it is there" is_moved web
check "what the script said is in the journal" jq -e '.steps[] |
    select(.name == "run-script") | .after.output == "armed\n"' \
    <(fake show web --json)
status "and back" 0 fake rollback web
check "the source is as before" is_untouched web
vm_drop web

moved_by_ssh "head -c 2000000 /dev/zero | tr '\\0' o" \
    "(sleep 0.5; $off) >/dev/null 2>&1 </dev/null &"
status "it moves, and its script prints 2 MB" 0 by_ssh guest
check "what is kept of that is said" bash -c \
    "grep -q 'first 1048576 bytes are kept' <<<'$(fake logs web)'"
vm_drop web

moved_by_ssh "$off" "$cut_off" "sleep 9"
status "the guest goes, and the connection with it" 0 by_ssh guest
check "it is there" is_moved web
check "which is said" bash -c "grep -q 'connection was lost' <<<'$(
    fake logs web)'"
vm_drop web

moved_by_ssh "$cut_off" "sleep 9"
status "the connection is cut, the guest stays" 0 by_ssh guest
said "it is powered off by force" "by force"
check "it is there" is_moved web
vm_drop web

moved_by_ssh "echo no luck >&2" "exit 3"
status "the script fails" 6 by_ssh guest
said "with its words" "exit status 3: no luck"
check "the source is as before" is_untouched web
vm_drop web

moved_by_ssh "$off"
status "the script does not arrive" 5 by_ssh cutter
said "it is said why" "connection was lost"
check "the source is as before" is_untouched web
vm_drop web

moved_by_ssh "$off"
status "its key is refused" 5\|6 by_ssh stranger --accept-warning guest-answers
said "it is said why" "cannot be reached: ssh 127.0.0.1: .*Permission denied"
check "the source is as before" is_untouched web
vm_drop web
finish
