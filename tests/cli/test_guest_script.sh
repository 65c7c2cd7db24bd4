#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest-script: what it makes, what it refuses, and that every script is sound
# for shellcheck, dash and busybox.
here=$(cd "$(dirname "$0")" && pwd)
source "$here/helpers.bash"
setup
need shellcheck dash busybox xorriso

run "without a guest" 2 guest-script
prefixed
run "an unknown guest" 2 guest-script --guest bsd
run "an operand" 2 guest-script --guest linux disk.qcow2
run "an option that nothing takes" 2 guest-script --guest linux -o colour=red
said "'colour', which no element" err
run "a task that nothing does" 2 guest-script --guest linux --task tools-remove
run "staged scripts without a place" 2 guest-script --guest linux --stage staged

run "the list" 0 guest-script --list --guest linux
said 'network-names' out
run "the list, JSON" 0 guest-script --list --json
json '[.elements[] | select(.guest == "linux")] | length > 20'
json '.elements[] | select(.name == "power")
    | .variables[] | select(.key == "grace") | .standard == "5"'

run "to a file" 0 guest-script --guest linux --output first.sh
silent out
check "that can be run" test -x first.sh
run "that is not replaced" 6 guest-script --guest linux --output first.sh
run "unless asked to" 0 guest-script --guest linux --output first.sh --force
run "JSON" 0 guest-script --guest linux --json
json '.scripts | length == 1 and (.[0].text | startswith("#!/bin/sh\n"))'
run "staged" 0 guest-script --guest linux --source vmware --target kvm \
    --task all --stage staged --output staged
check "six of them" test "$(ls staged | wc -l)" = 6
run "an ISO image" 0 guest-script --guest linux --stage offline --iso cd.iso
mkdir cd
check "holds the script" xorriso -osirrox on -indev cd.iso \
    -extract /offline.sh cd/offline.sh -extract /README.TXT cd/README.TXT
"$DISKSHIFT" guest-script --guest linux --stage offline >offline.sh
check "as it is" cmp cd/offline.sh offline.sh

# -- elements of an administrator ---------------------------------------------
mkdir -p mine/linux
element() {
    printf '%s\n' "# element: $1" '# task: cook' '# phase: prepare' \
        '# variable: PAN=iron -- what with' '# It cooks.' '' 'PAN=@PAN@' \
        "element_$1() {" '    did "cook with $PAN"' '}' >"mine/linux/$1.sh"
}
element soup
run "a task of one's own" 0 guest-script --guest linux --elements mine \
    --task cook -o "pan=it's \$(id)"
said "PAN='it'\\\\''s \$(id)'" out
sed -i 's/^PAN=@PAN@/PAN="@PAN@"/' mine/linux/soup.sh
run "a variable in quotes" 4 guest-script --guest linux --elements mine \
    --task cook
said 'mine/linux/soup.sh: element: line 7: @PAN@' err
element soup
sed -i 's/PAN=iron/PAN/' mine/linux/soup.sh
run "a variable that nobody gave" 4 guest-script --guest linux \
    --elements mine --task cook
said 'no standard' err
element soup
sed -i 's/^# It cooks/# needs: water\n&/' mine/linux/soup.sh
run "an element that is not there" 4 guest-script --guest linux \
    --elements mine --task cook
said "no element 'water'" err
rm mine/linux/soup.sh
sed 's/^    sync$/    sync; : mine/' \
    "$here/../../guestscripts/linux/power.sh" >mine/linux/power.sh
run "one that replaces ours" 0 guest-script --guest linux --elements mine
said 'sync; : mine' out

# -- soundness ----------------------------------------------------------------
# Words after the script are shellcheck's.
sound() {
    shellcheck -s sh "${@:2}" "$1" && dash -n "$1" && busybox sh -n "$1"
}
for move in vmware:kvm hyperv:xen kvm:hyperv xen:vmware any:any; do
    run "all of $move" 0 guest-script --guest linux --source "${move%:*}" \
        --target "${move#*:}" --task all
    cp out script.sh
    check "sound" sound script.sh
done
for script in staged/*.sh; do
    check "$script" sound "$script"
done

# -- what is given becomes data -----------------------------------------------
hostile="'; touch pwned; '\$(touch pwned)\`touch pwned\`
touch pwned #\" %s \\ ü"
: >"$hostile"
for shell in dash "busybox sh"; do
    run "hostile values" 0 guest-script --guest linux --source vmware \
        --target kvm --task all -o "report=${hostile//,/,,}" \
        -o "tools_package=$PWD/$hostile" -o "drivers=$hostile"
    cp out script.sh
    # SC2016: what looks as if it were to be expanded, and is not.
    check "sound" sound script.sh -e SC2016
    if ((EUID == 0)); then
        check "run by $shell" \
            eval "$shell script.sh --print-second >second.sh 2>log"
        check "its second is sound" sound second.sh -e SC2016
        # 1 where this machine has kernels, none with such drivers.
        check "a dry run by $shell" \
            eval "$shell script.sh --dry-run >result 2>log || (( \$? == 1 ))"
        check "finds the package" \
            eval "! grep -q 'the package of tools, is' log"
        check "its result is JSON" jq -e '.schema == 1' \
            <(sed -n 's/^diskshift-result //p' result)
    fi
    check "nothing was executed" test ! -e pwned
done
finish
