#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the orchestrator at every record of its journal, one by one, before
# it is written (the step has acted) or after: resume ends where it would have
# ended, rollback leaves the source as it was. `full` does all four ways.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin killed
mount=$(fs_make xfs 1G) || exit 1
fake_start

# killed_at N COMMAND...: 0 when it was killed, 1 when it ended before.
killed_at() {
    local count=$1 have
    shift
    export "DS_STOP_${when}_RECORD=$count"
    "$@" >"$run/out" 2>"$run/err"
    have=$?
    unset "DS_STOP_${when}_RECORD"
    ((have == 137)) && return 0
    ((have == 0)) && return 1
    case_fail "record $count" "exit status $have" "$(tail -n 5 "$run/err")"
    return 1
}

# every WHAT OPTION...: all records of a move with these options.
every() {
    local what=$1 count bad=0
    shift
    for ((count = 1; ; count++)); do
        vm_make web
        killed_at "$count" move web "$@" || break
        # The last record of all says that it is done.
        { [[ $(journal_state web) == done ]] || fake resume web; } \
            >"$run/out" 2>"$run/err" && is_moved web >"$run/why" || {
            bad=1
            case_fail "$what: resume after record $count" \
                "$(cat "$run/err" "$run/why")"
        }
        fake rollback web >"$run/out" 2>"$run/err" &&
            is_untouched web >"$run/why" || {
            bad=1
            case_fail "$what: and rolled back, after record $count" \
                "$(cat "$run/err" "$run/why")"
        }
        vm_drop web
        vm_make web
        killed_at "$count" move web "$@"
        fake rollback web >"$run/out" 2>"$run/err" &&
            is_untouched web >"$run/why" || {
            bad=1
            case_fail "$what: rollback after record $count" \
                "$(cat "$run/err" "$run/why")"
        }
        vm_drop web
    done
    vm_drop web
    ((bad == 0 && count > 20)) && case_ok "$what: $((count - 1)) records"
}

# The restore is killed as well.
every_rollback() {
    local count bad=0
    for ((count = 1; ; count++)); do
        vm_make web
        move web >/dev/null 2>&1
        killed_at "$count" fake rollback web || break
        { [[ $(journal_state web) == undone ]] || fake rollback web; } \
            >"$run/out" 2>"$run/err" && is_untouched web >"$run/why" || {
            bad=1
            case_fail "rollback, again after record $count" \
                "$(cat "$run/err" "$run/why")"
        }
        vm_drop web
    done
    vm_drop web
    ((bad == 0 && count > 10)) && case_ok "rollback: $((count - 1)) records"
}

when=AFTER
every "by snapshot, after" --backup snapshot
every_rollback
when=BEFORE
every "by shutdown, before" --backup shutdown
[[ ${1:-} != full ]] || {
    every_rollback
    every "by snapshot, before" --backup snapshot
    when=AFTER
    every "by shutdown, after" --backup shutdown
}
finish
