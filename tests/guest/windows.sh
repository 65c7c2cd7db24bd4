#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The scripts for Windows guests. No PowerShell runs here. What does: a real
# parser over every script that the generator makes, and the scripts themselves,
# evaluated over its tree against a Windows of JSON (powershell.mjs,
# windows.mjs).
# What looks like the shell's own is PowerShell's and jq's.
# shellcheck disable=SC1003,SC2016
# shellcheck source=../lib/lib.bash
. "$(dirname "$0")/../lib/lib.bash"

here=$tests_dir/guest
begin windows

"$here/make_powershell" "$DS_TEST_DIR/../powershell" >"$run/made" 2>&1
case $? in
0) ;;
77)
    cat "$run/made"
    exit 77
    ;;
*) die "make_powershell: $(cat "$run/made")" ;;
esac
powershell=$(realpath "$DS_TEST_DIR/../powershell/powershell")
hypervisors=(any vmware hyperv kvm xen)
every_task=network,drivers,boot,tools-remove,tools-install,power-off
state='c:\\programdata\\diskshift'

generate() { "$DISKSHIFT" guest-script --guest windows "$@"; }

# guest WORLD SCRIPT [ARGUMENT...]: runs it; output in WORLD.out, and shown if
# it fails.
guest() {
    local world=$1 code=0
    shift
    node "$here/windows.mjs" "$powershell" "$world" "$@" >"$world.out" 2>&1 || {
        code=$?
        cat "$world.out"
    }
    return $code
}

# A world as it is written after a script that did nothing.
world() {
    jq "${2:-.}" "$here/windows.json" >"$1"
    : >"$run/nothing.ps1"
    guest "$1" "$run/nothing.ps1"
}

file_of() { jq -rj --arg f "$state\\$2" '.files[$f | gsub("\\\\\\\\"; "\\")]' "$1"; }
# truth WORLD FILTER: that the filter is true of it.
truth() {
    jq -e "$2" "$1" >/dev/null || {
        echo "not true: $2"
        return 1
    }
}

# -- what the generator makes -------------------------------------------------

# One line for each script: what it was asked for, and the steps of both halves.
steps_of() { sed -n "s/^    Invoke-Step '\([a-z0-9-]*\)'$/\1/p" "$1" | tr '\n' ' '; }

parse_combination() {
    local source=$1 target=$2 stage=$3 tasks=$4 script
    local -a options=(-o 'drivers=D:\')

    rm -rf "$run/one"
    mkdir "$run/one"
    [[ $tasks == standard ]] || options+=(--task "$every_task" -o 'tools_package=D:\tools.exe')
    [[ $tasks == standard || $source != any ]] || return 0
    [[ $target == kvm || $target == xen ]] || options=("${options[@]:2}")
    if [[ $stage == staged ]]; then
        generate --source "$source" --target "$target" --stage staged \
            "${options[@]}" --output "$run/one" || return 1
    else
        generate --source "$source" --target "$target" --stage "$stage" \
            "${options[@]}" >"$run/one/$stage.ps1" || return 1
    fi
    for script in "$run/one"/*.ps1; do
        [[ $(head -c 3 "$script" | xxd -p) == efbbbf ]] || return 1
        "$powershell" literal SecondText "$script" >"$script.second" || return 1
        mv "$script.second" "${script%.ps1}.second.ps1"
        [[ $stage == first || $stage$source$target == stagedvmwarekvm ]] || continue
        echo "$source $target $stage $tasks ${script##*/}: $(steps_of "$script")/" \
            "$(steps_of "${script%.ps1}.second.ps1")" >>"$run/steps"
    done
    "$powershell" check "$run/one"/*.ps1
}

combinations() {
    local source target stage tasks
    for source in "${hypervisors[@]}"; do
        for target in "${hypervisors[@]}"; do
            for stage in first staged offline; do
                for tasks in standard every; do
                    parse_combination "$source" "$target" "$stage" "$tasks" || {
                        echo "$source $target $stage $tasks"
                        return 1
                    }
                done
            done
        done
    done
}

golden() {
    if [[ -n ${DS_GUEST_RECORD:-} ]]; then
        cp "$2" "$here/golden/$1"
    fi
    diff -u "$here/golden/$1" "$2"
}

check "every script that can be made parses, both halves" combinations
check "steps of every script are those on record" golden steps "$run/steps"
refuses_broken() {
    local text
    for text in 'if ($a { "b" }' "\$a = 'b" 'function F { if ($a) {' "\$a = @'
'@ + " '$a = @{ b = 1'; do
        printf '%s\n' "$text" >"$run/broken.ps1"
        ! "$powershell" check "$run/broken.ps1" >/dev/null || return 1
    done
}
check "the parser refuses what is broken" refuses_broken

# -- values that want to be code ----------------------------------------------

# Quotes of every kind that PowerShell knows, what it expands between others,
# ends of here-strings, and what another shell would expand.
evil=(
    "'; Stop-Computer; '" "''" "a'b\"c" '$(Stop-Computer)' '$env:PATH' '`n`$x' $'a\nb'
    $'\n\'@\nStop-Computer\n@\'\n' '%PATH%' '@(1)' '@{a=1}' '#>' '<#' "--%" $'\ttab'
    '\' 'a\' '\"' "\\'" ';|&<>' '{0}{1}' '@DRIVERS@' '@JOB@'
    # U+2018 to U+201B, which PowerShell takes for the single quote; U+201C to
    # U+201E for the double one.
    $'\xe2\x80\x98; Stop-Computer; \xe2\x80\x99' $'x\xe2\x80\x99\xe2\x80\x99\xe2\x80\x99'
    $'\xe2\x80\x9a\xe2\x80\x9b\xe2\x80\x9c\xe2\x80\x9d\xe2\x80\x9e'
    $'Z\xc3\xbcrich \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x92\xbe' $'e\xcc\x81\xe2\x80\xae\xe2\x80\xa8'
)

# Every variable, in the half that has it, is one literal of exactly the value.
generated_literal() {
    local value=$1 name
    printf '%s' "$value" >"$run/value"
    generate --target kvm --source vmware --task "$every_task" -o "drivers=${value//,/}" \
        -o "tools_package=${value//,/}" -o "tools_arguments=${value//,/}" \
        -o "report=${value//,/}" -o "grace=${value//,/}" -o "same_machine=${value//,/}" \
        >"$run/evil.ps1" || return 1
    "$powershell" literal SecondText "$run/evil.ps1" >"$run/evil.second.ps1" || return 1
    "$powershell" check "$run/evil.ps1" "$run/evil.second.ps1" || return 1
    for name in Drivers ToolsPackage Report Grace; do
        "$powershell" literal "$name" "$run/evil.ps1" | cmp - "$run/value" || return 1
    done
    for name in ToolsArguments Report Grace SameMachine; do
        "$powershell" literal "$name" "$run/evil.second.ps1" | cmp - "$run/value" || return 1
    done
    cmp <(steps_of "$run/evil.ps1") <(steps_of "$run/first.ps1") &&
        cmp <(steps_of "$run/evil.second.ps1") <(steps_of "$run/second.ps1")
}

generated_literals() {
    local value
    for value in "${evil[@]}"; do
        generated_literal "$value" || {
            printf 'value: %q\n' "$value"
            return 1
        }
    done
}

# The same of what the first script finds in the guest: its own quoting.
collected_literal() {
    local values
    values=$(printf '%s\0' "${evil[@]}" | jq -Rs 'split("\u0000")[:-1]')
    jq --argjson evil "$values" '
        .computer.DNSHostName = ($evil | join(" ")) | .system.Caption = $evil[0]
        | .adapters = [$evil | to_entries[] | { index: (100 + .key),
            name: (.value | gsub("[\"\n\t]"; "_")), GUID: "{E0000000-0000-0000-0000-\(.key)}",
            MACAddress: "52:54:00:00:01:\(10 + .key)", device: "PCI\\\(.value)", driver: .value }]
        | reduce ($evil | to_entries[]) as $e (.;
            .registry["HKLM:\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters\\Interfaces\\{E0000000-0000-0000-0000-\($e.key)}"] =
                { EnableDHCP: ["DWord", 1], Domain: ["String", $e.value], NameServer: ["String", "10.0.0.1"] })
        ' "$here/windows.json" >"$run/evil.json"
    guest "$run/evil.json" "$run/first.ps1" || return 1
    file_of "$run/evil.json" 'second.d\\all.ps1' >"$run/evil.second.ps1"
    "$powershell" check "$run/evil.second.ps1" || return 1
    "$powershell" literal CollectedText "$run/evil.second.ps1" >"$run/collected" || return 1
    jq -e --argjson evil "$values" '([.nics[].dns_suffix] == $evil) and ([.nics[].driver] == $evil)
        and ([.nics[].path] == ($evil | map("PCI\\" + .)))
        and (.guest.hostname == ($evil | join(" ")))' "$run/collected" >/dev/null || {
        head -c 3000 "$run/collected"
        return 1
    }
}

# A script that is made of collected values still runs as itself.
collected_runs() {
    guest "$run/evil.json" "$run/evil.second.ps1" arrive -DryRun
}

generate --source vmware --target kvm --task "$every_task" -o 'drivers=D:\' \
    -o 'tools_package=D:\virtio-win-guest-tools.exe' -o report=COM2 >"$run/first.ps1"
"$powershell" literal SecondText "$run/first.ps1" >"$run/second.ps1"
check "options are literals, whatever they hold" generated_literals
check "what is found in the guest is a literal in the second script" collected_literal
check "the second script runs with such values" collected_runs

# -- vmware to kvm, evaluated ------------------------------------------------

world "$run/before.json"
cp "$run/before.json" "$run/vm.json"
status "first script: done, with a warning of a virtual switch" 0 guest "$run/vm.json" "$run/first.ps1"
file_of "$run/vm.json" guest.json >"$run/guest.json"
file_of "$run/vm.json" result-first-all.json >"$run/result-first.json"
check "its guest record is the one on record" golden guest.json "$run/guest.json"
check "its result record is the one on record" golden result-first.json "$run/result-first.json"

file_of "$run/vm.json" 'second.d\\all.ps1' >"$run/all.ps1"
check "what the orchestrator tells Hyper-V parses" "$powershell" check \
    "$tests_dir/../tools/orchestrator/hyperv/verbs.ps1"
check "the second script parses, with a byte order mark" "$powershell" check "$run/all.ps1"
check "boot from virtio: service, file, devices, drivers of this Windows" truth "$run/vm.json" '
    .registry["hklm:\\system\\currentcontrolset\\services\\viostor"].Start[1] == 0
    and .files["c:\\windows\\system32\\drivers\\viostor.sys"] == "viostor 2k19 driver"
    and .files["c:\\windows\\system32\\drivers\\vioscsi.sys"] == "vioscsi 2k16 driver"
    and .registry["hklm:\\system\\currentcontrolset\\control\\criticaldevicedatabase\\pci#ven_1af4&dev_1042"].Service[1] == "viostor"
    and ([.files | to_entries[] | select(.key | test("inf\\\\oem")) | .value] | sort)
        == ["balloon 2k19", "netkvm 2k19", "vioscsi 2k16", "viostor 2k19"]'
check "one task, at startup, as SYSTEM; detached work is asked for" truth "$run/vm.json" '
    (.task | test("BootTrigger.*S-1-5-18.*all.ps1&quot; arrive")) and (.started | length) == 1
    and (.started[0] | test("all.ps1\" leave 4711$"))
    and .directories["c:\\programdata\\diskshift"] == "O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"'

check "... and the task is XML" bash -c "jq -rj .task '$run/vm.json' | sed '1d' | xmllint --noout -"

cp "$run/vm.json" "$run/again.json"
guest "$run/again.json" "$run/first.ps1"
unlogged='del(.programs, .started, .files[(.files | keys[] | select(test("\\\\(log|result-[a-z-]*.json)$")))])'
check "told twice, nothing else happens" diff <(jq -S "$unlogged" "$run/vm.json") <(jq -S "$unlogged" "$run/again.json")

cp "$run/vm.json" "$run/left.json"
status "leave: done" 0 guest "$run/left.json" "$run/all.ps1" leave 4711
check "VMware Tools are gone, what only looks so is not; it powers off" truth "$run/left.json" '
    ([.registry | keys[] | select(test("uninstall"))] | length) == 1 and (.shutdown | test("^/s /f /t 10 "))'
cp "$run/left.json" "$run/same.json"
status "a boot that is still on the source: done" 0 guest "$run/same.json" "$run/all.ps1" arrive
check "... and the script stays armed" truth "$run/same.json" '.task != null'

jq -f "$here/moved.jq" "$run/left.json" >"$run/moved.json"
guest "$run/moved.json" "$run/nothing.ps1"
cp "$run/moved.json" "$run/vm.json"
status "arrive: done" 0 guest "$run/vm.json" "$run/all.ps1" arrive
file_of "$run/vm.json" result-second-all.json >"$run/result-second.json"
check "its result record is the one on record" golden result-second.json "$run/result-second.json"

# What the network is, by MAC address, whatever GUIDs and indexes are now.
network='def at($g): "hklm:\\system\\currentcontrolset\\services\\tcpip\\parameters\\interfaces\\" + ($g | ascii_downcase);
    . as $w | [.adapters[] | select(.device | startswith("PCI")) | .GUID as $g | at($g) as $k | {
        mac: (.permanent // (.MACAddress | gsub(":"; ""))) | ascii_downcase, name, metric6,
        ipv4: ($w.registry[$k] // {} | with_entries(select(.key != "EnableDHCP" or .value[1] == 0) | select(.value[1] != ""))),
        ipv6: [$w.ipv6[] | select(.guid == $g) | del(.guid)] | sort,
        routes: [$w.routes[] | select(.guid == $g) | del(.guid)] | sort,
        names6: ($w.registry[$k | sub("tcpip"; "tcpip6")].NameServer[1] // ""),
        wins: ($w.registry[$k | sub("tcpip\\\\parameters\\\\interfaces\\\\"; "netbt\\parameters\\interfaces\\tcpip_")] // {}) }]
    | map(select(.mac != "525400aabb04")) | sort_by(.mac)'
check "addresses, routes, DNS, WINS, metrics and names, by MAC address, are as before" \
    diff <(jq -S "$network" "$run/before.json") <(jq -S "$network" "$run/vm.json")
check "... which were others in between" test "$(jq -S "$network" "$run/before.json")" != "$(jq -S "$network" "$run/moved.json")"
letters='[.volumes[] | select(.DriveType == 3) | [.DeviceID, .DriveLetter]] | sort'
check "drive letters are as before" diff <(jq "$letters" "$run/before.json") <(jq "$letters" "$run/vm.json")
check "disks: online and writable, but the one that was offline; the policy as before" truth "$run/vm.json" '
    [.disks[] | .IsOffline] == [false, false, true] and .disks[1].IsReadOnly == false
    and .registry["hklm:\\system\\currentcontrolset\\services\\partmgr\\parameters"].SanPolicy[1] == 2'
check "the source's adapters are gone, the virtual switch is not" truth "$run/vm.json" '
    (.removed | length) == 3 and (.removed | all(test("VEN_15AD|VEN_8086")))
    and ([.registry | keys[] | select(test("aaaaaaaa-0000-0000-0000-000000000009.*connection"))] | length) == 1'
check "the task is gone, tools are installed, it powers off, the port has the result" truth "$run/vm.json" '
    .task == null and (.programs | any(test("virtio-win-guest-tools.exe /install /quiet"))) and (.shutdown | test("^/s "))
    and (.ports.com2 | rtrimstr("\n") | split("\n") | last | ltrimstr("diskshift-result ") | fromjson | .phase == "settle" and .part == "second")'
cp "$run/vm.json" "$run/after.json"
status "a later boot: nothing to do" 0 guest "$run/after.json" "$run/all.ps1" arrive
check "... and nothing was done" diff <(jq -S "$unlogged" "$run/vm.json") <(jq -S "$unlogged" "$run/after.json")

# -- dry, undone, failed --------------------------------------------------------

unchanged() { diff <(jq -S 'del(.programs, .clock)' "$1") <(jq -S 'del(.programs, .clock)' "$2"); }
cp "$run/before.json" "$run/dry.json"
status "first, dry: done" 0 guest "$run/dry.json" "$run/first.ps1" -DryRun
check "... nothing was changed" unchanged "$run/before.json" "$run/dry.json"
cp "$run/moved.json" "$run/dry.json"
status "arrive, dry: done" 0 guest "$run/dry.json" "$run/all.ps1" --dry-run arrive
check "... nothing was changed" unchanged "$run/moved.json" "$run/dry.json"

# But for our log and results; "" and nothing are the same list of servers.
bare='del(.programs, .started, .undone, .clock, .task, .guids, .shutdown, .ports,
    .files[(.files | keys[] | select(test("programdata")))],
    .directories[(.directories | keys[] | select(test("diskshift")))])
    | .registry |= (map_values(del(.NameServer | select(.[1] == ""))) | with_entries(select(.value != {} or (.key | test("adapters|interfaces") | not))))'
same_but_log() { diff <(jq -S "$bare" "$1") <(jq -S "$bare" "$2"); }
cp "$run/again.json" "$run/undone.json"
status "first, undone: done" 0 guest "$run/undone.json" "$run/first.ps1" -Undo
check "... all is as it was" same_but_log "$run/before.json" "$run/undone.json"
check "... no task, no second script" truth "$run/undone.json" '
    .task == null and ([.files | keys[] | select(test("second.d"))] | length) == 0'
for refused in pnputil.exe:1 schtasks.exe:1; do
    cp "$run/before.json" "$run/failed.json"
    DS_REFUSE=$refused status "first, $refused refused: failed" 1 \
        guest "$run/failed.json" "$run/first.ps1"
    check "... all is put back" same_but_log "$run/before.json" "$run/failed.json"
    check "... and told" truth "$run/failed.json" '.task == null and .started == []
        and (.files["c:\\programdata\\diskshift\\result-first-all.json"] | fromjson | .status == "failed")'
done
for refused in 'set-DriveLetter:1' 'EnableStatic' 'set-NetConnectionID:3' 'netsh.exe:3' 'netsh.exe:1'; do
    cp "$run/moved.json" "$run/failed.json"
    DS_REFUSE=$refused guest "$run/failed.json" "$run/all.ps1" arrive >/dev/null
    have=$?
    if [[ $refused == EnableStatic ]]; then # netsh can do that as well
        check "arrive, $refused refused: done another way" test "$have" = 0
        check "... and right" diff <(jq -S "$network" "$run/before.json") <(jq -S "$network" "$run/failed.json")
        continue
    fi
    check "arrive, $refused refused: failed" test "$have" = 1
    check "... all is put back" same_but_log "$run/moved.json" "$run/failed.json"
    check "... told, disarmed, powers off" truth "$run/failed.json" '.task == null and (.shutdown | test("^/s "))
        and (.files["c:\\programdata\\diskshift\\result-second-all.json"] | fromjson | .status == "failed")'
done

cp "$run/vm.json" "$run/undone.json"
status "second, undone after all went well: done" 0 guest "$run/undone.json" "$run/all.ps1" -Undo
# Adapters and tools that were removed stay so: README.md.
check "... the target's adapters are as they were found" \
    diff <(jq -S "[.adapters, .ipv6, .routes, .volumes, .disks]" "$run/moved.json") \
    <(jq -S "[.adapters, .ipv6, .routes, .volumes, .disks]" "$run/undone.json")

cp "$run/moved.json" "$run/loop.json"
jq '.files["c:\\programdata\\diskshift\\second.d\\all.armed"] = "3"' "$run/moved.json" >"$run/loop.json"
status "begun three times, and not ended: failed" 1 guest "$run/loop.json" "$run/all.ps1" arrive
check "... disarmed, powers off" truth "$run/loop.json" '.task == null and .shutdown != null'

jq '.adapters |= map(select(.MACAddress != "52:54:00:AA:BB:01"))' "$run/moved.json" >"$run/missing.json"
status "an adapter is missing: the others are done" 0 guest "$run/missing.json" "$run/all.ps1" arrive
check "... with a warning that has its addresses" truth "$run/missing.json" '
    .files["c:\\programdata\\diskshift\\result-second-all.json"] | fromjson
    | .status == "warned" and ([.steps[].messages[] | select(.level == "warned") | .text] | any(test("10.0.2.50/24")))'
jq '.adapters |= map(select(.MACAddress == "52:54:00:AA:BB:04"))' "$run/moved.json" >"$run/missing.json"
status "all adapters are missing: failed" 1 guest "$run/missing.json" "$run/all.ps1" arrive
check "... powers off, so that its mover need not wait" truth "$run/missing.json" '.shutdown != null'

# -- other ways -------------------------------------------------------------------

# Windows 7 and Server 2008 R2: no class beyond root/cimv2.
old() {
    jq '.old = true | .system.BuildNumber = "7601" | .system.Version = "6.1.7601"
        | .adapters |= map(.permanent as $p | if $p then .MACAddress = "52:54:00:AA:BB:02" else . end)
        | .files |= with_entries(.key |= sub("2k19"; "2k8R2"))' "$here/windows.json" >"$run/old.json"
    guest "$run/old.json" "$run/nothing.ps1"
    cp "$run/old.json" "$run/old.before.json"
    guest "$run/old.json" "$run/first.ps1" || return 1
    file_of "$run/old.json" 'second.d\\all.ps1' >"$run/old.ps1"
    jq -f "$here/moved.jq" "$run/old.json" >"$run/old.moved.json"
    guest "$run/old.moved.json" "$run/old.ps1" arrive || return 1
    diff <(jq -S "$network" "$run/old.before.json" | grep -v metric6) \
        <(jq -S "$network" "$run/old.moved.json" | grep -v metric6) &&
        truth "$run/old.moved.json" '.diskpart | test("select disk 1\r\nonline disk noerr\r\n")'
}
check "Windows Server 2008 R2: the same, disks by diskpart" old

# Staged: one after the other, the last powers off; one task, one action each.
staged() {
    local script name
    local -a names=(network drivers boot tools-remove tools-install power-off)
    generate --source vmware --target kvm --task "$every_task" --stage staged -o 'drivers=D:\' \
        -o 'tools_package=D:\virtio-win-guest-tools.exe' --output "$run/staged" || return 1
    cp "$run/before.json" "$run/staged.json"
    for script in "$run/staged"/*.ps1; do
        guest "$run/staged.json" "$script" || return 1
    done
    truth "$run/staged.json" '[.task | scan("second.d.([a-z-]+).ps1") | .[0]]
        == ["network", "drivers", "boot", "tools-remove", "tools-install", "power-off"]' || return 1
    for name in "${names[@]}"; do
        file_of "$run/staged.json" "second.d\\\\$name.ps1" >"$run/staged.$name.ps1"
        guest "$run/staged.json" "$run/staged.$name.ps1" leave 4711 || return 1
    done
    truth "$run/staged.json" '.shutdown != null' || return 1
    jq -f "$here/moved.jq" "$run/staged.json" >"$run/staged.moved.json"
    for name in "${names[@]}"; do
        truth "$run/staged.moved.json" '.task != null and .shutdown == null' || return 1
        guest "$run/staged.moved.json" "$run/staged.$name.ps1" arrive || return 1
    done
    truth "$run/staged.moved.json" '.task == null and .shutdown != null' || return 1
    diff <(jq -S "$network" "$run/before.json") <(jq -S "$network" "$run/staged.moved.json")
}
check "staged: the same, by six scripts" staged

# between SOURCE TARGET FILTER: leaves one hypervisor for the other.
between() {
    generate --source "$1" --target "$2" --task network,drivers,boot,tools-remove,power-off \
        "${@:4}" >"$run/between.ps1" || return 1
    cp "$run/before.json" "$run/between.json"
    guest "$run/between.json" "$run/between.ps1" || return 1
    file_of "$run/between.json" 'second.d\\all.ps1' >"$run/between.second.ps1"
    guest "$run/between.json" "$run/between.second.ps1" leave 1 || return 1
    truth "$run/between.json" "$3"
}
check "vmware to hyperv: storvsc starts at boot" between vmware hyperv '
    .registry["hklm:\\system\\currentcontrolset\\services\\storvsc"].Start[1] == 0'
check "hyperv to kvm: integration services are off" between hyperv kvm '
    .registry["hklm:\\system\\currentcontrolset\\services\\vmicheartbeat"].Start[1] == 4'
check "kvm to vmware: AHCI starts at boot, without its override" between kvm vmware '
    .registry["hklm:\\system\\currentcontrolset\\services\\storahci"].Start[1] == 0
    and .registry["hklm:\\system\\currentcontrolset\\services\\storahci\\startoverride"]["0"][1] == 0'
iso='.files |= (with_entries(.key |= sub("^d:"; "x:")) | .["e:\\virtio.iso"] = "iso")'
iso_drivers() {
    jq "$iso" "$run/before.json" >"$run/iso.json"
    generate --source vmware --target kvm -o 'drivers=E:\virtio.iso' >"$run/iso.ps1" &&
        guest "$run/iso.json" "$run/iso.ps1" && truth "$run/iso.json" '.mounted == null
            and .files["c:\\windows\\system32\\drivers\\viostor.sys"] == "viostor 2k19 driver"'
}
check "drivers from an ISO, which is unmounted again" iso_drivers
check "to kvm without drivers: a warning, no silence" between vmware kvm '
    .files["c:\\programdata\\diskshift\\result-first-all.json"] | fromjson | .status == "warned"
    and ([.steps[].messages[].text] | any(test("no virtio drivers were named")))'
DS_REFUSE=msiexec.exe check "tools that do not want to go hinder nobody, and are told" between vmware hyperv '
    (.shutdown != null) and (.files["c:\\programdata\\diskshift\\result-second-all.json"] | fromjson
    | .status == "warned" and ([.steps[].messages[].text] | any(test("exit status 1603"))))'

# refused WHAT FILTER PATTERN [OPTION...]: before anything was changed, with the way out.
refused() {
    local what=$1 filter=$2 pattern=$3
    shift 3
    generate --source vmware --target kvm -o 'drivers=D:\' "$@" >"$run/refused.ps1"
    jq "$filter" "$run/before.json" >"$run/refused.before.json"
    cp "$run/refused.before.json" "$run/refused.json"
    status "refused: $what" 1 guest "$run/refused.json" "$run/refused.ps1"
    check "... with the way out: $pattern" grep -qE "$pattern" "$run/refused.json.out"
    check "... nothing was changed" same_but_log "$run/refused.before.json" "$run/refused.json"
}
refused "constrained language mode" '.language = "ConstrainedLanguage"' 'AppLocker.*admit this file'
refused "AllSigned by policy" '.policy = {MachinePolicy: "AllSigned"}' 'Turn on Script Execution'
refused "Restricted by policy of the user" '.policy = {UserPolicy: "Restricted"}' 'gpupdate /force'
refused "PowerShell 4" '.powershell = "4.0"' 'Management Framework 5.1'
refused "a 32-bit process" '.wow64 = true' 'Sysnative'
refused "no administrator" '.account = "WEB1\\joe"' 'expect an elevated administrator'
refused "a folder that somebody else made" '.directories["c:\\programdata\\diskshift"] = "a user"' 'look into it, remove it'
refused "BitLocker" '.bitlocker = [{DriveLetter: "C:", ProtectionStatus: 1}]' 'manage-bde -protectors -disable C: -RebootCount 0'
refused "a grace that is no number" . 'grace: have 5 minutes expect seconds' -o 'grace=5 minutes'
refused "a report that is no port" . 'report: have /dev/ttyS0 expect' -o report=/dev/ttyS0
refused "drivers that are not there" . 'is not in this guest' -o 'drivers=E:\'
refused "an ISO where Windows mounts none" "$iso | .old = true" 'Unpack it' -o 'drivers=E:\virtio.iso'
refused "drivers of another Windows" '.files |= with_entries(.key |= sub("2k19"; "2k3"))' 'have no viostor.inf for 2k19 or 2k16 amd64' 
jq '.policy = {LocalMachine: "AllSigned", Process: "Bypass"}' "$run/before.json" >"$run/local.json"
status "AllSigned on this machine, which -ExecutionPolicy overrules: done" 0 guest "$run/local.json" "$run/first.ps1"
status "an argument that is not known" 2 guest "$run/local.json" "$run/first.ps1" -Wrong
status "help" 0 guest "$run/local.json" "$run/first.ps1" --help

finish
