#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fifty VMs in one run, eight at once, one of which fails; orders; limits.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin many
mount=$(fs_make xfs 1G) || exit 1
fake_start

plan=$run/plan.yaml
cat >"$plan" <<END
diskshift: 1
jobs: 8
source: {uri: "$uri"}
target: {uri: "$uri", directory: "$mount/target"}
networks: {default: "bridge:br0"}
prepare: {script: "$orchestrator_dir/script.sh", guest_timeout: 0}
migrate: {retry_after: 0}
wait: {deadline: 10}
vms:
END
for ((i = 1; i <= 50; i++)); do
    vm_make "vm$i"
    printf -- '- {name: vm%d, target_name: vm%d-moved, order: %d}\n' \
        "$i" "$i" $((i > 40)) >>"$plan"
done
told fail-define-vm7-moved 99

status "fifty run, one fails" 6 fake run --plan "$plan" --json --progress=3 \
    3>"$run/progress"
check "49 are done" jq -e \
    '[.migrations[] | select(.state == "done")] | length == 49' "$run/out"
check "one is undone" jq -e \
    '[.migrations[] | select(.state == "undone") | .vm] == ["vm7"]' "$run/out"
check "that one runs on" state_is vm7 running
moved() {
    local i
    for ((i = 1; i <= 50; i++)); do
        ((i == 7)) || is_moved "vm$i" || return 1
    done
}
check "all others are there" moved
check "progress is JSON lines" jq -es \
    'map(select(.event == "step" and .done)) | length > 500' "$run/progress"
check "higher orders begin when lower ones are over" jq -es '
    def times(f): [.[] | select(.vm | ltrimstr("vm") | tonumber | f) | .time |
        values];
    (times(. <= 40) | max) <= (times(. > 40) | min)' "$run/progress"
check "rollback of all" fake rollback --jobs 8 vm{1,2,3}
check "they are as before" bash -c "cmp '$mount/template' '$mount/vm/vm2.img'"
finish
