# SPDX-License-Identifier: Apache-2.0
# Sourced by tests that run guests' scripts in a Debian of their own: a machine of
# namespaces (guest/machine) over what guest/make_debian made. The guest is $place.
# shellcheck shell=bash

not() {
    ! "$@"
}

# place_make NAME TREE: a guest over this tree
place_make() {
    place=$run/$1
    mkdir -p "$place/upper/var/lib"
    ln -s "$2" "$place/lower"
    echo 52:54:00:aa:bb:01 ens3 ens3 >"$place/nics"
}

# boot COMMANDS: their output in $place/out
boot() {
    "$guest/machine" "$place" "$place/nics" 1 sh -c "$1" >"$place/out" 2>&1
}

# What a source does: the first script, which leaves by itself and at last powers
# off, of which there is a time.
leave='sh /first.sh || exit 1
while [ ! -f /var/lib/diskshift/result-second-all.json ] ||
    [ -d /run/diskshift.lock ]; do sleep 0.1; done
tenths=0
until grep -qs poweroff /var/lib/called || [ $((tenths += 1)) -gt 300 ]; do
    sleep 0.1
done'
# And the target's first boot.
arrive='sh /var/lib/diskshift/second arrive
sh /var/lib/diskshift/second settle'

result() {
    jq -e "$2" "$place/upper/var/lib/diskshift/result-$1-all.json"
}

# said LEVEL WORDS [PART]: in the second script's record, or the first's
said() {
    jq -e --arg level "$1" --arg words "$2" '[.steps[].messages[] |
        select(.level == $level and (.text | contains($words)))] | length > 0' \
        "$place/upper/var/lib/diskshift/result-${3:-second}-all.json"
}

powered_off() {
    grep -q poweroff "$place/upper/var/lib/called"
}

not_armed() {
    [[ -z $(find "$place/upper/etc/systemd" -name 'diskshift-*') ]]
}
